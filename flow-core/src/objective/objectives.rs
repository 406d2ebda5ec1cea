//! Sums of objectives.

use dfdx::prelude::{Cpu, Gradients, OwnedTape};

use super::tape::{weighted, Loss};
use super::BatchPass;
use crate::engine::JoinTape;
use crate::train::Step;
use crate::{Architecture, Data, FlowError, NormalizingFlow, Result, Scalar};

/// A loss of a batch and a flow.
///
/// Any closure `|pass: &BatchPass<'_, _, _>| -> Result<Loss<_>>` is one.
pub trait Objective<A: Architecture<E>, E: Scalar> {
    /// The loss, whose tape begins with that of what it was made of: of
    /// [`BatchPass::forward`], or of a pass of [`BatchPass::flow`].
    ///
    /// # Errors
    /// Those of the flow's passes, and the objective's own.
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>>;
}

impl<A, E, F> Objective<A, E> for F
where
    A: Architecture<E>,
    E: Scalar,
    F: Fn(&BatchPass<'_, A, E>) -> Result<Loss<E>>,
{
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        self(pass)
    }
}

/// Objectives, each at a weight and once every so many steps: their loss is the weighted sum of
/// those that are due. Nothing makes up for the steps in which one is left out.
pub struct Objectives<'o, A: Architecture<E>, E: Scalar> {
    terms: Vec<Term<'o, A, E>>,
}

struct Term<'o, A, E> {
    every: u64,
    weight: f64,
    objective: Box<dyn Objective<A, E> + 'o>,
}

impl<A: Architecture<E>, E: Scalar> Default for Objectives<'_, A, E> {
    fn default() -> Self {
        Self { terms: Vec::new() }
    }
}

impl<'o, A: Architecture<E>, E: Scalar> Objectives<'o, A, E> {
    /// None: a loss of 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an objective, in every step.
    #[must_use]
    pub fn plus(self, weight: f64, objective: impl Objective<A, E> + 'o) -> Self {
        self.plus_every(1, weight, objective)
    }

    /// Adds an objective in the first step and then once every so many.
    #[must_use]
    pub fn plus_every(
        mut self,
        steps: u64,
        weight: f64,
        objective: impl Objective<A, E> + 'o,
    ) -> Self {
        self.terms.push(Term { every: steps, weight, objective: Box::new(objective) });
        self
    }

    /// The loss of a batch under a flow, or a view of one, with `gradients` on its tape. A context
    /// with a tape gets gradients too, from all objectives that pass through the flow.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::objective::{FiniteDifferences, Likelihood, Objectives};
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Posterior: Vector<2> given Vector<3> {
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// // A net makes the context of an observation.
    /// let cpu = Cpu::default();
    /// let net = cpu.build_module::<(Linear<5, 3>, Tanh), f64>();
    /// let mut models = (net, Posterior::<f64>::build(&cpu, 0)?);
    /// let data = Rows::new(vec![0.5; 2 * 20], 2)?.given(vec![1.0; 5 * 20], 5)?;
    /// let objectives = Objectives::new()
    ///     .plus(1.0, Likelihood)
    ///     .plus_every(10, 1e-3, FiniteDifferences::default());
    /// let trainer = Trainer::default().steps(12).silent();
    /// trainer.fit_steps(&mut models, &data, |(net, flow), batch, gradients, step| {
    ///     let context = net.forward(batch.context::<5>()?.leaky_trace());
    ///     objectives.loss(&flow.given(context), batch.x::<Vector<2>>()?, step, gradients)
    /// })?;
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// A weight that is not finite or a period of 0, and those of the objectives that are due.
    pub fn loss<F>(
        &self,
        flow: &F,
        x: Data<F, usize>,
        step: &Step,
        gradients: Gradients<E, Cpu>,
    ) -> Result<Loss<E>>
    where
        F: NormalizingFlow<Scalar = E, Architecture = A>,
        OwnedTape<E, Cpu>: JoinTape<E, F::Tape, Output = OwnedTape<E, Cpu>>,
    {
        let pass = BatchPass::new(flow.view()?, x, step, gradients);
        let loss = Objective::loss(self, &pass)?;
        pass.finish(loss)
    }

    /// [`loss`](Self::loss) plus a loss of one's own of the same forward pass.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::objective::{FiniteDifferences, Objectives};
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Features: Vector<4> {
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// // A regression on the flow's latents.
    /// let cpu = Cpu::default();
    /// let head = cpu.build_module::<Linear<4, 1>, f32>();
    /// let mut models = (Features::<f32>::build(&cpu, 0)?, head);
    /// let data = Rows::new(vec![0.5; 4 * 20], 4)?.given(vec![1.0; 20], 1)?;
    /// let objectives = Objectives::new().plus_every(10, 1e-3, FiniteDifferences::default());
    /// let trainer = Trainer::default().steps(12).silent();
    /// trainer.fit_steps(&mut models, &data, |models, batch, gradients, step| {
    ///     let (flow, head) = models;
    ///     let target = batch.context::<1>()?;
    ///     objectives.loss_beside(&**flow, batch.x::<Vector<4>>()?, step, gradients, |pass| {
    ///         let (z, _) = pass.forward()?;
    ///         Ok(mse_loss(head.forward(z), target))
    ///     })
    /// })?;
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`loss`](Self::loss), and those of `own`.
    pub fn loss_beside<F>(
        &self,
        flow: &F,
        x: Data<F, usize>,
        step: &Step,
        gradients: Gradients<E, Cpu>,
        own: impl FnOnce(&BatchPass<'_, A, E>) -> Result<Loss<E>>,
    ) -> Result<Loss<E>>
    where
        F: NormalizingFlow<Scalar = E, Architecture = A>,
        OwnedTape<E, Cpu>: JoinTape<E, F::Tape, Output = OwnedTape<E, Cpu>>,
    {
        let pass = BatchPass::new(flow.view()?, x, step, gradients);
        let both = vec![(1.0, own(&pass)?), (1.0, Objective::loss(self, &pass)?)];
        pass.finish(weighted(both)?)
    }
}

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for Objectives<'_, A, E> {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        let mut losses = Vec::with_capacity(self.terms.len());
        for Term { every, weight, objective } in &self.terms {
            if *every == 0 {
                let option = "the steps from one use of an objective to the next";
                return Err(FlowError::option(option, every, "at least 1"));
            }
            if !weight.is_finite() {
                let option = "the weight of an objective";
                return Err(FlowError::option(option, weight, "a finite number"));
            }
            if pass.step().is_due(*every) {
                losses.push((*weight, objective.loss(pass)?));
            }
        }
        weighted(losses)
    }
}
