//! dfdx's tensors on a card, in and out of a flow there without a copy to the CPU.
//!
//! dfdx tells nobody where a tensor lies, but where a gradient does: that of `Σ l·x` by `l` is `x`, and
//! a gradient that was written can be taken for a tensor.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc_of_dfdx::driver::{CudaSlice, DevicePtr, DeviceSlice};
use dfdx::prelude::{
    Backward, CpuError, Cuda, CudaError, Dim, Gradients, HasShape, NoneTape, PutTape, SplitTape,
    Synchronize, Tape, Tensor, Trace, TryAdd, TryMul, ZerosTensor,
};
use dfdx::tensor_ops::{ReshapeTo, SumTo};
use flow_cuda::{Gpu, Slot};

use super::flow::OnDevice;
use super::plans::{PASS, PRODUCT};
use super::store::{Key, Store};
use crate::engine::Direction;
use crate::{Architecture, Event, FlowError, Invertible, Result, Unconditional};

/// A batch of rows on a card.
type Batch<V, N, T = NoneTape> = Tensor<<V as Event>::Batch<N>, f32, Cuda, T>;
/// A number for each row there.
type Row<N, T = NoneTape> = Tensor<(N,), f32, Cuda, T>;
type Flat<T = NoneTape> = Tensor<(usize,), f32, Cuda, T>;

impl<A: Architecture<f32, Context = Unconditional>> OnDevice<A, Gpu> {
    /// [`forward`](Self::forward) of a batch on the card that dfdx has there, with the gradient by it
    /// on dfdx's tape. Numbers are not looked at: what is not finite stays so. The backward pass does
    /// the forward one again, with the weights of then; the gradient by the flow's own weights is not
    /// kept, [`train`](Self::train) has a training of its own.
    ///
    /// # Errors
    /// A batch without rows or on another card, and what either device reports.
    pub fn forward_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<(Batch<A::Latent, N, T>, Row<N, T>)> {
        self.map_on_card::<A::Event, A::Latent, N, T>(Direction::Forward, x)
    }

    /// [`inverse`](Self::inverse) likewise.
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
        self.map_on_card::<A::Latent, A::Event, N, T>(Direction::Inverse, z)
    }

    /// [`log_prob`](Self::log_prob) likewise.
    ///
    /// # Errors
    /// As [`forward_on_card`](Self::forward_on_card).
    pub fn log_prob_on_card<N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<Row<N, T>> {
        let rows = A::Event::rows(x.shape());
        let (x, mut tape) = self.flat(x)?;
        let key = key(Direction::LogProb, rows.size(), T::OWNS_TAPE);
        let operation = self.operation(key, x)?;
        let log_prob = operation.number((rows,))?;
        if T::OWNS_TAPE {
            let by_log_prob = log_prob.ghost();
            tape.add_backward_op(move |gradients| {
                let by_number = gradients.get_or_alloc_mut(&by_log_prob)?;
                let by_number = Address::of(by_number);
                operation.backward(gradients, None, by_number)
            });
        }
        Ok(log_prob.put_tape(tape))
    }

    /// Why dfdx's last backward pass through this flow failed: dfdx's own errors have no words for it.
    pub fn take_error(&self) -> Option<FlowError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn map_on_card<In: Event, Out: Event, N: Dim, T: Tape<f32, Cuda> + 'static>(
        &self,
        direction: Direction,
        x: Batch<In, N, T>,
    ) -> Result<(Batch<Out, N, T>, Row<N, T>)> {
        let rows = In::rows(x.shape());
        let (x, mut tape) = self.flat(x)?;
        let key = key(direction, rows.size(), T::OWNS_TAPE);
        let operation = self.operation(key, x)?;
        let y = operation.output(Out::batch(rows))?;
        let log_det = operation.number((rows,))?;
        let mut check = T::default();
        if T::OWNS_TAPE {
            // In reverse order, the check on the log-determinant's tape runs after the operation.
            let done = Arc::new(AtomicBool::new(false));
            let (ran, last_error) = (done.clone(), self.last_error.clone());
            check.add_backward_op(move |_| match ran.load(Ordering::Acquire) {
                true => Ok(()),
                false => Err(remember(&last_error, FlowError::TapeDropped)),
            });
            let (by_y, by_log_det) = (y.ghost(), log_det.ghost());
            tape.add_backward_op(move |gradients| {
                done.store(true, Ordering::Release);
                let by_y = Address::of(gradients.get_or_alloc_mut(&by_y)?);
                let by_number = Address::of(gradients.get_or_alloc_mut(&by_log_det)?);
                operation.backward(gradients, Some(by_y), by_number)
            });
        }
        Ok((y.put_tape(tape), log_det.put_tape(check)))
    }

    /// A batch as one run of numbers in order, where it is on this flow's card.
    fn flat<S: dfdx::prelude::Shape, T: Tape<f32, Cuda>>(
        &self,
        x: Tensor<S, f32, Cuda, T>,
    ) -> Result<(Flat, T)> {
        let len = x.shape().num_elements();
        if len == 0 {
            return Err(FlowError::EmptyBatch { what: "batch".into() });
        }
        let x = x.try_contiguous().map_err(of_dfdx)?;
        Ok(x.try_reshape_like(&(len,)).map_err(of_dfdx)?.split_tape())
    }

    /// Runs the pass.
    fn operation(&self, key: Key, x: Flat) -> Result<Operation> {
        self.with(key.direction, key.rows, (key.keeping, false), |_, _| Ok(()))?;
        let (store, last_error) = (self.store.clone(), self.last_error.clone());
        let operation = Operation { store, last_error, key, x };
        operation.pass(&mut operation.lock())?;
        Ok(operation)
    }
}

fn key(direction: Direction, rows: usize, keeping: bool) -> Key {
    Key { direction, rows, keeping, drawing: false }
}

/// A pass of a flow over a batch on the card.
struct Operation {
    store: Arc<Mutex<Store<Gpu>>>,
    last_error: Arc<Mutex<Option<FlowError>>>,
    key: Key,
    x: Flat,
}

impl Operation {
    fn lock(&self) -> std::sync::MutexGuard<'_, Store<Gpu>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, store: &mut Store<Gpu>) -> Result<()> {
        let place = store.known(self.key)?.places.x.slot;
        let (mut gradients, leaf) = reveal(&self.x)?;
        let from = Address::of(gradients.get_or_alloc_mut(&leaf).map_err(of_dfdx)?);
        self.done()?;
        store.copy_in(self.key, place, from)?;
        store.run(self.key, &[PASS])
    }

    /// Waits until dfdx has written what it was asked to.
    fn done(&self) -> Result<()> {
        self.x.device().try_synchronize().map_err(of_dfdx)
    }

    fn output<S: dfdx::prelude::Shape>(&self, shape: S) -> Result<Tensor<S, f32, Cuda>> {
        let slot = self.lock().known(self.key)?.output;
        self.tensor(slot, shape)
    }

    fn number<N: Dim>(&self, shape: (N,)) -> Result<Row<N>> {
        let slot = self.lock().known(self.key)?.places.log_det;
        self.tensor(slot, shape)
    }

    /// What stands in the frame as a tensor of dfdx's.
    fn tensor<S: dfdx::prelude::Shape>(
        &self,
        slot: Slot,
        shape: S,
    ) -> Result<Tensor<S, f32, Cuda>> {
        let leaf: Flat = self.x.device().try_zeros_like(&(slot.len,)).map_err(of_dfdx)?;
        let mut gradients = Gradients::leaky();
        let to = Address::of(gradients.get_or_alloc_mut(&leaf).map_err(of_dfdx)?);
        self.done()?;
        self.lock().copy_out(self.key, slot, to)?;
        gradients.get(&leaf).try_reshape_like(&shape).map_err(of_dfdx)
    }

    /// Adds the gradient by the batch.
    fn backward(
        &self,
        gradients: &mut Gradients<f32, Cuda>,
        by_output: Option<Address>,
        by_number: Address,
    ) -> std::result::Result<(), CudaError> {
        self.back(gradients, by_output, by_number)
            .map_err(|error| remember(&self.last_error, error))
    }

    fn back(
        &self,
        gradients: &mut Gradients<f32, Cuda>,
        by_output: Option<Address>,
        by_number: Address,
    ) -> Result<()> {
        let slot = {
            let mut store = self.lock();
            self.pass(&mut store)?;
            let recorded = store.known(self.key)?;
            let (output, number) = (recorded.by_output, recorded.places.by_log_det);
            let slot = recorded.places.gradient.slot;
            self.done()?;
            if let Some(by_output) = by_output {
                store.copy_in(self.key, output, by_output)?;
            }
            store.copy_in(self.key, number, by_number)?;
            store.run(self.key, &[PRODUCT])?;
            slot
        };
        let part = self.tensor(slot, (slot.len,))?;
        gradients.try_alloc_for(&self.x).map_err(of_dfdx)?;
        let sum = gradients.get(&self.x).try_add(part).map_err(of_dfdx)?;
        let (mut moved, leaf) = reveal(&sum)?;
        let from = moved.get_or_alloc_mut(&leaf).map_err(of_dfdx)?;
        let to = gradients.get_or_alloc_mut(&self.x).map_err(of_dfdx)?;
        let device = to.device();
        let copied = device.dtod_copy::<f32, _, _>(from, to);
        copied.map_err(|error| of_dfdx(CudaError::Driver(error)))
    }
}

/// A gradient that holds the numbers of `x`, and the tensor that it is of.
fn reveal(x: &Flat) -> Result<(Gradients<f32, Cuda>, Flat)> {
    let leaf: Flat = x.device().try_zeros_like(x.shape()).map_err(of_dfdx)?;
    let product = leaf.leaky_trace().try_mul(x.clone()).map_err(of_dfdx)?;
    let sum = product.try_sum::<(), _>().map_err(of_dfdx)?;
    Ok((sum.try_backward().map_err(of_dfdx)?, leaf))
}

/// Where a gradient of dfdx's lies, for as long as it is there.
#[derive(Clone, Copy)]
pub(super) struct Address {
    at: u64,
    len: usize,
    card: usize,
}

impl Address {
    fn of(slice: &CudaSlice<f32>) -> Self {
        Self { at: *slice.device_ptr(), len: slice.len(), card: slice.device().ordinal() }
    }
}

impl Store<Gpu> {
    /// Brings numbers of dfdx's to a place.
    fn copy_in(&mut self, key: Key, slot: Slot, from: Address) -> Result<()> {
        self.check(slot, from)?;
        let (device, frame) = self.frame(key)?;
        // SAFETY: a gradient on this card of as many numbers, held by the caller, who has waited for
        // dfdx to write it.
        Ok(unsafe { device.copy_from(frame, slot.offset, (from.at, slot.len)) }?)
    }

    /// Brings numbers of a place to dfdx.
    fn copy_out(&mut self, key: Key, slot: Slot, to: Address) -> Result<()> {
        self.check(slot, to)?;
        let (device, frame) = self.frame(key)?;
        // SAFETY: as above; nobody else knows of that gradient yet.
        Ok(unsafe { device.copy_to(frame, slot.offset, (to.at, slot.len)) }?)
    }

    fn check(&self, slot: Slot, other: Address) -> Result<()> {
        if other.len != slot.len {
            let (what, found, expected) = ("a tensor on the card".into(), other.len, slot.len);
            return Err(FlowError::Length { what, found, expected });
        }
        let own = self.device().ordinal();
        if other.card != own {
            return Err(FlowError::option("the card of a tensor", other.card, own));
        }
        Ok(())
    }
}

fn of_dfdx(error: CudaError) -> FlowError {
    FlowError::Gradient(error.to_string())
}

/// Keeps an error for [`OnDevice::take_error`], and gives dfdx one of its own.
fn remember(last: &Mutex<Option<FlowError>>, error: FlowError) -> CudaError {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    CudaError::Cpu(CpuError::WrongNumElements)
}
