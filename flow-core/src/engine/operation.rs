//! A flow as one operation on dfdx's tape.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dfdx::prelude::{
    Cpu, Dim, Gradients, HasErr, HasShape, Merge, NoneTape, OwnedTape, PutTape, Shape as _,
    SplitTape, Storage, Tape, Tensor, TensorFromVec,
};
use dfdx::tensor_ops::ReshapeTo;

use super::machine::{Direction, Machine};
use super::mirror::{Flat, Mirror};
use crate::{Architecture, Context, Event, FlowError, Memory, Result, Scalar};

type Failure = <Cpu as HasErr>::Err;

/// Joins the tapes of two inputs of one operation.
///
/// dfdx's own `Merge` cannot put an owned tape where there was none.
pub trait JoinTape<E: Scalar, Other, D: Storage<E> = Cpu>: Tape<E, D> {
    /// An owned tape where either is one.
    type Output: Tape<E, D> + 'static;

    /// Both tapes' operations.
    fn join(self, other: Other) -> Self::Output;
}

impl<E: Scalar, D: Storage<E>> JoinTape<E, NoneTape, D> for NoneTape {
    type Output = NoneTape;

    fn join(self, _: NoneTape) -> NoneTape {
        self
    }
}

impl<E: Scalar, D: Storage<E>> JoinTape<E, OwnedTape<E, D>, D> for NoneTape {
    type Output = OwnedTape<E, D>;

    fn join(self, other: OwnedTape<E, D>) -> Self::Output {
        other
    }
}

impl<E: Scalar, D: Storage<E>> JoinTape<E, NoneTape, D> for OwnedTape<E, D> {
    type Output = Self;

    fn join(self, _: NoneTape) -> Self {
        self
    }
}

impl<E: Scalar, D: Storage<E>> JoinTape<E, Self, D> for OwnedTape<E, D> {
    type Output = Self;

    fn join(self, other: Self) -> Self {
        self.merge(other)
    }
}

/// Adds a gradient to that of some tensor, whatever its shape.
pub(crate) type AddGradient<E> =
    Arc<dyn Fn(&mut Gradients<E, Cpu>, &[E]) -> Result<(), Failure> + Send + Sync>;

/// A function that adds to the gradient of `tensor`, whose numbers are in the order of its shape.
pub(crate) fn adds_to<S: dfdx::prelude::Shape, E: Scalar>(
    tensor: &Tensor<S, E, Cpu>,
) -> AddGradient<E> {
    let ghost = tensor.ghost();
    Arc::new(move |gradients, part| {
        let gradient = E::slice(gradients.get_or_alloc_mut(&ghost)?);
        gradient.iter_mut().zip(part).for_each(|(a, &b)| *a += b);
        Ok(())
    })
}

/// What the rows of a pass are conditioned on.
#[derive(Clone)]
pub(crate) struct Given<E: Scalar> {
    /// One row for all, or one for each.
    pub(crate) rows: Arc<Vec<E>>,
    pub(crate) width: usize,
    /// Where the gradient goes, if anywhere.
    pub(crate) gradient: Option<AddGradient<E>>,
}

impl<E: Scalar> Given<E> {
    pub(crate) fn none() -> Self {
        Self { rows: Arc::new(Vec::new()), width: 0, gradient: None }
    }

    /// The context of each of `rows` rows.
    pub(crate) fn spread(&self, flow: &str, expected: usize, rows: usize) -> Result<Vec<E>> {
        if self.width != expected {
            return Err(FlowError::MissingContext { flow: flow.into(), expected });
        }
        if self.width == 0 {
            return Ok(Vec::new());
        }
        match self.rows.len() / self.width {
            count if count == rows => Ok(self.rows.to_vec()),
            1 => Ok(self.rows.repeat(rows)),
            context_rows => Err(FlowError::ContextRows { rows, context_rows }),
        }
    }

    /// A gradient by each row's context as one by the context that was given.
    pub(crate) fn gather(&self, mut gradient: Vec<E>) -> Vec<E> {
        if gradient.len() > self.rows.len() {
            let (first, others) = gradient.split_at_mut(self.width);
            for other in others.chunks_exact(self.width) {
                first.iter_mut().zip(other).for_each(|(a, &b)| *a += b);
            }
            gradient.truncate(self.width);
        }
        gradient
    }
}

/// Everything of a flow that an operation needs.
pub(crate) struct Operator<'f, A: Architecture<E>, E: Scalar> {
    pub(crate) machine: Machine<A, E>,
    pub(crate) mirror: &'f Mirror<E>,
    pub(crate) last_error: &'f Arc<Mutex<Option<FlowError>>>,
    pub(crate) given: &'f Given<E>,
    pub(crate) memory: Memory,
}

impl<A: Architecture<E>, E: Scalar> Operator<'_, A, E> {
    /// Maps a batch, giving the mapped batch, which carries the tape, and each row's
    /// log-determinant, whose tape only checks that the first one's comes back with it.
    pub(crate) fn map<In: Event, Out: Event, N: Dim, T: Tape<E, Cpu> + 'static>(
        &self,
        direction: Direction,
        x: Tensor<In::Batch<N>, E, Cpu>,
        mut tape: T,
    ) -> Result<(Tensor<Out::Batch<N>, E, Cpu, T>, Tensor<(N,), E, Cpu, T>)> {
        let rows = In::rows(x.shape());
        let add_x = adds_to(&x);
        let mut batch = read::<_, E>(x, "batch", In::SHAPE.size())?;
        let context = self.given.spread(A::NAME, A::Context::SIZE, rows.size())?;
        let keep = T::OWNS_TAPE.then_some(self.memory);
        let (numbers, kept) = self.machine.run(direction, &mut batch, &context, keep)?;
        let y = tensor(batch, Out::batch(rows))?;
        let log_det = tensor(numbers, (rows,))?;
        let Some(kept) = kept else {
            return Ok((y.put_tape(tape), log_det.put_tape(T::default())));
        };

        let last_error = self.last_error.clone();
        let (check, done) = second_tape::<E, Cpu, T>(move || {
            remember(&last_error, FlowError::TapeDropped);
            Failure::WrongNumElements
        });
        let backward = self.backward(direction, kept, context, add_x);
        let (by_y, by_log_det) = (y.ghost(), log_det.ghost());
        tape.add_backward_op(move |gradients| {
            done.store(true, Ordering::Release);
            let gradient = E::slice(gradients.get_or_alloc_mut(&by_y)?).to_vec();
            let by_number = E::slice(gradients.get_or_alloc_mut(&by_log_det)?).to_vec();
            backward(gradients, gradient, by_number)
        });
        Ok((y.put_tape(tape), log_det.put_tape(check)))
    }

    /// Each row's log-probability.
    pub(crate) fn log_prob<N: Dim, T: Tape<E, Cpu> + 'static>(
        &self,
        x: Tensor<<A::Event as Event>::Batch<N>, E, Cpu>,
        mut tape: T,
    ) -> Result<Tensor<(N,), E, Cpu, T>> {
        let rows = A::Event::rows(x.shape());
        let add_x = adds_to(&x);
        let size = A::Event::SHAPE.size();
        let mut batch = read::<_, E>(x, "batch", size)?;
        let context = self.given.spread(A::NAME, A::Context::SIZE, rows.size())?;
        let keep = T::OWNS_TAPE.then_some(self.memory);
        let (numbers, kept) = self.machine.run(Direction::LogProb, &mut batch, &context, keep)?;
        let log_prob = tensor(numbers, (rows,))?;
        if let Some(kept) = kept {
            let backward = self.backward(Direction::LogProb, kept, context, add_x);
            let by_log_prob = log_prob.ghost();
            tape.add_backward_op(move |gradients| {
                let by_number = E::slice(gradients.get_or_alloc_mut(&by_log_prob)?).to_vec();
                backward(gradients, vec![E::zero(); by_number.len() * size], by_number)
            });
        }
        Ok(log_prob.put_tape(tape))
    }

    /// Each row's log-probability from its latent and log-determinant.
    pub(crate) fn log_prob_of_latents<N: Dim, T: Tape<E, Cpu> + 'static>(
        &self,
        z: Tensor<<A::Latent as Event>::Batch<N>, E, Cpu, T>,
        log_det: Tensor<(N,), E, Cpu, T>,
    ) -> Result<Tensor<(N,), E, Cpu, T>> {
        let rows = A::Latent::rows(z.shape());
        let ((z, tape), (log_det, other)) = (ordered(z)?, ordered(log_det)?);
        let mut tape = tape.merge(other);
        let (add_z, add_log_det) = (adds_to(&z), adds_to(&log_det));
        let mut latents = vec![E::zero(); z.shape().num_elements()];
        z.copy_into(&mut latents);
        let mut numbers = vec![E::zero(); rows.size()];
        log_det.copy_into(&mut numbers);
        self.machine.base_log_prob(&latents, &mut numbers);
        let log_prob = tensor(numbers, (rows,))?;
        let (machine, by_log_prob) = (self.machine.clone(), log_prob.ghost());
        let (trainable, weights) = (self.mirror.trainable.clone(), self.mirror.tensor.ghost());
        tape.add_backward_op(move |gradients| {
            let by_number = E::slice(gradients.get_or_alloc_mut(&by_log_prob)?).to_vec();
            let (by_z, parameters) = machine.base_log_prob_vjp(&latents, &by_number);
            add_log_det(gradients, &by_number)?;
            add_z(gradients, &by_z)?;
            if !trainable.is_empty() {
                let weights = gradients.get_or_alloc_mut::<Flat>(&weights)?;
                Mirror::add(&trainable, &parameters, E::slice(weights));
            }
            Ok(())
        });
        Ok(log_prob.put_tape(tape))
    }

    fn backward(
        &self,
        direction: Direction,
        kept: super::machine::Kept<E>,
        context: Vec<E>,
        add_x: AddGradient<E>,
    ) -> impl FnOnce(&mut Gradients<E, Cpu>, Vec<E>, Vec<E>) -> Result<(), Failure> + 'static {
        let machine = self.machine.clone();
        let given = self.given.clone();
        let last_error = self.last_error.clone();
        let trainable = self.mirror.trainable.clone();
        let weights = self.mirror.tensor.ghost();
        move |gradients, mut gradient, by_number| {
            let total = machine.vjp(direction, kept, &mut gradient, &by_number, &context);
            let (parameters, by_context, failed) = match total {
                Ok(total) => (total.parameters, given.gather(total.context), false),
                Err(error) => {
                    remember(&last_error, error);
                    gradient.fill(E::nan());
                    let parameters = machine.state().values.parameters.len();
                    (vec![E::nan(); parameters], vec![E::nan(); given.rows.len()], true)
                }
            };
            add_x(gradients, &gradient)?;
            if let Some(add_context) = &given.gradient {
                add_context(gradients, &by_context)?;
            }
            if !trainable.is_empty() {
                let weights: &mut <Cpu as Storage<E>>::Vec =
                    gradients.get_or_alloc_mut::<Flat>(&weights)?;
                Mirror::add(&trainable, &parameters, E::slice(weights));
            }
            if failed {
                return Err(Failure::WrongNumElements);
            }
            Ok(())
        }
    }
}

/// The tape of a pass's second output, and what its first output's backward pass sets: an error where
/// that one did not run before. In reverse order the check runs after the operation itself.
pub(crate) fn second_tape<E, D: Storage<E>, T: Tape<E, D>>(
    dropped: impl FnOnce() -> D::Err + 'static,
) -> (T, Arc<AtomicBool>) {
    let done = Arc::new(AtomicBool::new(false));
    let (ran, mut check) = (done.clone(), T::default());
    check.add_backward_op(move |_| match ran.load(Ordering::Acquire) {
        true => Ok(()),
        false => Err(dropped()),
    });
    (check, done)
}

/// A tensor's numbers, row after row, where all are finite.
pub(crate) fn read<S: dfdx::prelude::Shape, E: Scalar>(
    x: Tensor<S, E, Cpu>,
    what: &str,
    width: usize,
) -> Result<Vec<E>> {
    let mut numbers = vec![E::zero(); x.shape().num_elements()];
    let x = x.try_contiguous()?;
    x.copy_into(&mut numbers);
    check(&numbers, what, width)?;
    Ok(numbers)
}

/// An error for a batch without rows, or the first row that is not finite.
pub(crate) fn check<E: Scalar>(numbers: &[E], what: &str, width: usize) -> Result<()> {
    if numbers.is_empty() {
        return Err(FlowError::EmptyBatch { what: what.into() });
    }
    match numbers.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(FlowError::NonFinite {
            what: what.into(),
            row: at / width,
            entry: at % width,
            value: numbers[at].as_f64(),
        }),
    }
}

/// Numbers, row after row, as a tensor.
pub(crate) fn tensor<S: dfdx::prelude::Shape, E: Scalar>(
    numbers: Vec<E>,
    shape: S,
) -> Result<Tensor<S, E, Cpu>> {
    Ok(Cpu::default().try_tensor_from_vec(numbers, shape)?)
}

/// Keeps an error for [`Flow::last_error`](crate::Flow::last_error): dfdx's own have no words for it.
pub(crate) fn remember(last_error: &Mutex<Option<FlowError>>, error: FlowError) {
    *last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
}

/// Splits a tensor from its tape, with its numbers in the order of its shape.
///
/// dfdx permutes and broadcasts without copying, and the gradient of such a tensor lies as the
/// numbers it looks at do; the copy has a gradient of its own, which dfdx brings back.
pub(crate) fn ordered<S: dfdx::prelude::Shape, E: Scalar, T: Tape<E, Cpu>>(
    x: Tensor<S, E, Cpu, T>,
) -> Result<(Tensor<S, E, Cpu>, T)> {
    let x = x.try_contiguous()?;
    Ok(x.split_tape())
}

/// Splits a tensor from its tape.
pub(crate) fn split<S: dfdx::prelude::Shape, E: Scalar, T>(
    x: Tensor<S, E, Cpu, T>,
) -> (Tensor<S, E, Cpu>, T) {
    x.split_tape()
}
