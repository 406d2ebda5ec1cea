//! What an objective sees.

use std::cell::{OnceCell, RefCell};

use dfdx::prelude::{Cpu, Gradients, Merge, OwnedTape, PutTape, SplitTape, Tensor, Trace};

use super::tape::{weighted, Loss};
use crate::engine::JoinTape;
use crate::train::Step;
use crate::{Architecture, Data, Latents, NormalizingFlow, Numbers, Result, Scalar, View};

/// A batch in one step of a training: the flow with its context, the rows, and their latents, which
/// are computed once for all objectives that ask for them.
pub struct BatchPass<'f, A: Architecture<E>, E: Scalar> {
    flow: View<'f, A, E>,
    x: Data<View<'f, A, E>, usize>,
    step: Step,
    forward: OnceCell<Forward<'f, A, E>>,
    tape: RefCell<OwnedTape<E, Cpu>>,
}

struct Forward<'f, A: Architecture<E>, E: Scalar> {
    z: Latents<View<'f, A, E>, usize>,
    log_det: Numbers<View<'f, A, E>, usize>,
}

type Tape<E> = OwnedTape<E, Cpu>;

impl<'f, A: Architecture<E>, E: Scalar> BatchPass<'f, A, E> {
    pub(super) fn new<T>(
        flow: View<'f, A, E, T>,
        x: Data<View<'f, A, E>, usize>,
        step: &Step,
        gradients: Gradients<E, Cpu>,
    ) -> Self
    where
        T: dfdx::prelude::Tape<E, Cpu>,
        Tape<E>: JoinTape<E, T, Output = Tape<E>>,
    {
        let (x, tape) = x.trace(gradients).split_tape();
        // What the context was made of comes last on the way back.
        let (flow, of_context) = flow.apart();
        let tape = RefCell::new(tape.join(of_context));
        Self { flow, x, step: step.clone(), forward: OnceCell::new(), tape }
    }

    /// The flow, conditioned on the batch's context where it has one.
    pub fn flow(&self) -> &View<'f, A, E> {
        &self.flow
    }

    /// The step.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The rows, with an empty tape of their own: they get no gradient.
    pub fn x(&self) -> Data<View<'f, A, E>, usize, Tape<E>> {
        self.x.clone().put_tape(Tape::default())
    }

    /// Latents and log-determinants, each with an empty tape of its own: what is made of them gets
    /// its gradient through the flow, whichever is used, and however often.
    ///
    /// # Errors
    /// Those of [`NormalizingFlow::forward`].
    pub fn forward(
        &self,
    ) -> Result<(Latents<View<'f, A, E>, usize, Tape<E>>, Numbers<View<'f, A, E>, usize, Tape<E>>)>
    {
        if self.forward.get().is_none() {
            let (z, log_det) = self.flow.forward(self.x())?;
            let ((z, tape), (log_det, _)) = (z.split_tape(), log_det.split_tape());
            let before = self.tape.take();
            self.tape.replace(before.merge(tape));
            let _ = self.forward.set(Forward { z, log_det });
        }
        let Some(Forward { z, log_det }) = self.forward.get() else { unreachable!("set above") };
        Ok((z.clone().put_tape(Tape::default()), log_det.clone().put_tape(Tape::default())))
    }

    /// A loss made of this pass, with the way back through the flow.
    pub(super) fn finish(self, loss: Loss<E>) -> Result<Loss<E>> {
        let (loss, tape): (Tensor<_, E, Cpu>, _) = loss.split_tape();
        weighted(vec![(1.0, loss.put_tape(self.tape.into_inner().merge(tape)))])
    }
}
