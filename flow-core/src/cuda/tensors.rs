//! dfdx's tensors on a card, in and out of a flow there without a copy to the CPU.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use dfdx::prelude::{
    Axis, Const, Cuda, Dim, HasShape, NoneTape, PutTape, Tape, Tensor, ZerosTensor,
};
use dfdx::tensor_ops::{BroadcastTo, ReshapeTo};
use flow_cuda::Gpu;

use super::flow::OnDevice;
use super::on_card::{failed, flat, of_dfdx, pass, Address, Flat, Operation, Row};
use crate::engine::{second_tape, Direction, JoinTape};
use crate::{Architecture, Context, Event, FlowError, Invertible, Result, Vector};

/// A batch of rows on a card.
type Batch<V, N, T = NoneTape> = Tensor<<V as Event>::Batch<N>, f32, Cuda, T>;
/// A context there.
type Conditions<const C: usize, M, T> = Tensor<(M, Const<C>), f32, Cuda, T>;
/// The leaf of the weights, from its first use on.
pub(super) type Leaf = Arc<Mutex<Option<Flat>>>;

/// Passes of batches on the card that dfdx has there. Where one has a tape, the backward pass gives the
/// gradients by the batch, by the context and by [`weights_on_card`](Self::weights_on_card). Numbers are
/// not looked at: what is not finite stays so.
impl<A: Architecture<f32>> OnDevice<A, Gpu> {
    /// [`forward`](Self::forward) of a batch on the card.
    ///
    /// # Errors
    /// A conditional flow; a batch without rows or on another card, and what either device reports.
    pub fn forward_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<(Batch<A::Latent, N, T>, Row<N, T>)> {
        let (x, tape, rows) = self.alone::<A::Event, N, T>(x)?;
        self.map_on_card::<A::Latent, N, T>(Direction::Forward, (x, None), tape, rows)
    }

    /// [`inverse`](Self::inverse) of a batch on the card.
    ///
    /// # Errors
    /// As [`forward_on_card`](Self::forward_on_card), and a block whose inverse has no kernels.
    pub fn inverse_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        z: Batch<A::Latent, N, T>,
    ) -> Result<(Batch<A::Event, N, T>, Row<N, T>)>
    where
        A: Invertible,
    {
        let (z, tape, rows) = self.alone::<A::Latent, N, T>(z)?;
        self.map_on_card::<A::Event, N, T>(Direction::Inverse, (z, None), tape, rows)
    }

    /// [`log_prob`](Self::log_prob) of a batch on the card.
    ///
    /// # Errors
    /// As [`forward_on_card`](Self::forward_on_card).
    pub fn log_prob_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<Row<N, T>> {
        let (x, tape, rows) = self.alone::<A::Event, N, T>(x)?;
        self.density_on_card((x, None), tape, rows)
    }

    /// [`forward_given`](Self::forward_given) of a batch and a context on the card.
    ///
    /// # Errors
    /// As [`forward_on_card`](Self::forward_on_card), and another number of context rows.
    pub fn forward_given_on_card<const C: usize, N: Dim, M: Dim, T, U>(
        &self,
        x: Batch<A::Event, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<(Batch<A::Latent, N, T::Output>, Row<N, T::Output>)>
    where
        A: Architecture<f32, Context = Vector<C>>,
        T: JoinTape<f32, U, Cuda>,
        U: Tape<f32, Cuda>,
    {
        let (from, tape, rows) = self.beside::<A::Event, C, N, M, T, U>(x, context)?;
        self.map_on_card::<A::Latent, N, _>(Direction::Forward, from, tape, rows)
    }

    /// [`inverse_given`](Self::inverse_given) of a batch and a context on the card.
    ///
    /// # Errors
    /// As [`forward_given_on_card`](Self::forward_given_on_card).
    pub fn inverse_given_on_card<const C: usize, N: Dim, M: Dim, T, U>(
        &self,
        z: Batch<A::Latent, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<(Batch<A::Event, N, T::Output>, Row<N, T::Output>)>
    where
        A: Architecture<f32, Context = Vector<C>> + Invertible,
        T: JoinTape<f32, U, Cuda>,
        U: Tape<f32, Cuda>,
    {
        let (from, tape, rows) = self.beside::<A::Latent, C, N, M, T, U>(z, context)?;
        self.map_on_card::<A::Event, N, _>(Direction::Inverse, from, tape, rows)
    }

    /// [`log_prob_given`](Self::log_prob_given) of a batch and a context on the card.
    ///
    /// # Errors
    /// As [`forward_given_on_card`](Self::forward_given_on_card).
    pub fn log_prob_given_on_card<const C: usize, N: Dim, M: Dim, T, U>(
        &self,
        x: Batch<A::Event, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<Row<N, T::Output>>
    where
        A: Architecture<f32, Context = Vector<C>>,
        T: JoinTape<f32, U, Cuda>,
        U: Tape<f32, Cuda>,
    {
        let (from, tape, rows) = self.beside::<A::Event, C, N, M, T, U>(x, context)?;
        self.density_on_card(from, tape, rows)
    }

    /// The tensor that gradients of weights on a card's tape are by: `gradients.get(&weights)` has them in
    /// the order of [`Flow::parameters`](crate::Flow::parameters) without the frozen ones. Its own
    /// numbers are zeros, and stay so.
    ///
    /// # Errors
    /// Where dfdx runs out of memory.
    pub fn weights_on_card(&self, card: &Cuda) -> Result<Flat> {
        let mut leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = &*leaf {
            return Ok(leaf.clone());
        }
        let len = self.trainable.iter().map(std::ops::Range::len).sum();
        let new: Flat = card.try_zeros_like(&(len,)).map_err(of_dfdx)?;
        Ok(leaf.insert(new).clone())
    }

    /// A batch of an unconditional flow as one run of numbers.
    fn alone<From: Event, N: Dim, T: Tape<f32, Cuda>>(
        &self,
        x: Batch<From, N, T>,
    ) -> Result<(Flat, T, N)> {
        if A::Context::SIZE > 0 {
            return Err(FlowError::MissingContext {
                flow: A::NAME.into(),
                expected: A::Context::SIZE,
            });
        }
        let rows = From::rows(x.shape());
        let (x, tape) = flat(x)?;
        Ok((x, tape, rows))
    }

    /// A batch with its context, one row of it for each, as runs of numbers.
    fn beside<From: Event, const C: usize, N: Dim, M: Dim, T, U>(
        &self,
        x: Batch<From, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<((Flat, Option<Flat>), T::Output, N)>
    where
        T: JoinTape<f32, U, Cuda>,
        U: Tape<f32, Cuda>,
    {
        let rows = From::rows(x.shape());
        let (x, tape) = flat(x)?;
        let context_rows = context.shape().0.size();
        let (context, its) = match context_rows {
            found if found == rows.size() => flat(context)?,
            1 => {
                let row = context.try_reshape_like(&(C,)).map_err(of_dfdx)?;
                let all = row.try_broadcast_like::<_, Axis<0>>(&(rows.size(), C));
                flat(all.map_err(of_dfdx)?)?
            }
            _ => return Err(FlowError::ContextRows { rows: rows.size(), context_rows }),
        };
        Ok(((x, Some(context)), tape.join(its), rows))
    }

    fn map_on_card<Out: Event, N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        direction: Direction,
        from: (Flat, Option<Flat>),
        mut tape: T,
        rows: N,
    ) -> Result<(Batch<Out, N, T>, Row<N, T>)> {
        let operation = self.operation::<T>(direction, rows.size(), from)?;
        let y = operation.output(Out::batch(rows))?;
        let log_det = operation.number((rows,))?;
        let last_error = self.last_error.clone();
        let (check, done) =
            second_tape::<f32, Cuda, T>(move || failed(&last_error, FlowError::TapeDropped));
        let (by_y, by_log_det) = (y.ghost(), log_det.ghost());
        tape.add_backward_op(move |gradients| {
            done.store(true, Ordering::Release);
            let by_y = Address::of(gradients.get_or_alloc_mut(&by_y)?);
            let by_number = Address::of(gradients.get_or_alloc_mut(&by_log_det)?);
            operation.backward(gradients, Some(by_y), by_number)
        });
        Ok((y.put_tape(tape), log_det.put_tape(check)))
    }

    fn density_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        from: (Flat, Option<Flat>),
        mut tape: T,
        rows: N,
    ) -> Result<Row<N, T>> {
        let operation = self.operation::<T>(Direction::LogProb, rows.size(), from)?;
        let log_prob = operation.number((rows,))?;
        let by_log_prob = log_prob.ghost();
        tape.add_backward_op(move |gradients| {
            let by_number = Address::of(gradients.get_or_alloc_mut(&by_log_prob)?);
            operation.backward(gradients, None, by_number)
        });
        Ok(log_prob.put_tape(tape))
    }

    /// Runs the pass.
    fn operation<T: Tape<f32, Cuda>>(
        &self,
        direction: Direction,
        rows: usize,
        (x, context): (Flat, Option<Flat>),
    ) -> Result<Operation<A>> {
        let leaf = match T::OWNS_TAPE {
            true => Some(self.weights_on_card(x.device())?),
            false => None,
        };
        let stamp = self.with(direction, rows, (T::OWNS_TAPE, false), |store, key| {
            pass(store, key, &x, context.as_ref())?;
            Ok((key, store.stamp(key)?))
        })?;
        Ok(Operation {
            machine: self.machine.clone(),
            store: self.store.clone(),
            last_error: self.last_error.clone(),
            trainable: self.trainable.clone(),
            leaf,
            memory: self.memory,
            update: self.update.clone(),
            key: stamp.0,
            stamp: stamp.1,
            x,
            context,
        })
    }
}
