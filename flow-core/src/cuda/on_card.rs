//! One pass of a batch on the card that dfdx has there, and its backward pass.
//!
//! dfdx tells nobody where a tensor lies, but where a gradient does: that of `Σ l·x` by `l` is `x`, and
//! a gradient that was written can be taken for a tensor.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use cudarc_of_dfdx::driver::{CudaSlice, DevicePtr, DeviceSlice};
use dfdx::prelude::{
    Backward, CpuError, Cuda, CudaError, Dim, Gradients, HasShape, NoneTape, SplitTape,
    Synchronize, Tape, Tensor, TensorFromVec, Trace, TryAdd, TryMul, ZerosTensor,
};
use dfdx::tensor_ops::{ReshapeTo, SumTo};
use flow_cuda::{Area, Gpu, Slot};

use super::flow::{finished, with_plan};
use super::plans::{PASS, PRODUCT};
use super::store::{Key, Stamp, Store};
use super::training::Update;
use crate::engine::{remember, Machine};
use crate::{Architecture, FlowError, Memory, Result};

/// A number for each row.
pub(super) type Row<N, T = NoneTape> = Tensor<(N,), f32, Cuda, T>;
/// Numbers in a run.
pub(super) type Flat<T = NoneTape> = Tensor<(usize,), f32, Cuda, T>;

/// A batch as one run of numbers in order.
pub(super) fn flat<S: dfdx::prelude::Shape, T: Tape<f32, Cuda>>(
    x: Tensor<S, f32, Cuda, T>,
) -> Result<(Flat, T)> {
    let len = x.shape().num_elements();
    if len == 0 {
        return Err(FlowError::EmptyBatch { what: "batch".into() });
    }
    let x = x.try_contiguous().map_err(of_dfdx)?;
    Ok(x.try_reshape_like(&(len,)).map_err(of_dfdx)?.split_tape())
}

/// Brings a batch and its context to their places, and runs the pass.
pub(super) fn pass(
    store: &mut Store<Gpu>,
    key: Key,
    x: &Flat,
    context: Option<&Flat>,
) -> Result<()> {
    let places = store.recorded(key)?.places;
    let operands = [(places.x.slot, Some(x)), (places.context.slot, context)];
    for (place, tensor) in operands {
        let Some(tensor) = tensor else { continue };
        let (mut gradients, leaf) = reveal(tensor)?;
        let from = Address::of(gradients.get_or_alloc_mut(&leaf).map_err(of_dfdx)?);
        done(tensor)?;
        store.copy_in(key, place, from)?;
    }
    store.run(key, &[PASS])
}

/// Waits until dfdx has written what it was asked to.
fn done(tensor: &Flat) -> Result<()> {
    tensor.device().try_synchronize().map_err(of_dfdx)
}

/// A pass of a flow over a batch on the card.
pub(super) struct Operation<A: Architecture<f32>> {
    pub(super) machine: Machine<A, f32>,
    pub(super) store: Arc<Mutex<Store<Gpu>>>,
    pub(super) last_error: Arc<Mutex<Option<FlowError>>>,
    pub(super) trainable: Vec<std::ops::Range<usize>>,
    pub(super) leaf: Option<Flat>,
    pub(super) memory: Memory,
    pub(super) update: Option<Update>,
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) x: Flat,
    pub(super) context: Option<Flat>,
}

impl<A: Architecture<f32>> Operation<A> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Store<Gpu>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn output<S: dfdx::prelude::Shape>(&self, shape: S) -> Result<Tensor<S, f32, Cuda>> {
        let slot = self.lock().recorded(self.key)?.output;
        self.tensor(&[slot])?.try_reshape_like(&shape).map_err(of_dfdx)
    }

    pub(super) fn number<N: Dim>(&self, shape: (N,)) -> Result<Row<N>> {
        let slot = self.lock().recorded(self.key)?.places.log_det;
        self.tensor(&[slot])?.try_reshape_like(&shape).map_err(of_dfdx)
    }

    /// What stands at some places of the device, one after the other, as a tensor of dfdx's.
    fn tensor(&self, slots: &[Slot]) -> Result<Flat> {
        let len = slots.iter().map(|slot| slot.len).sum();
        let leaf: Flat = self.x.device().try_zeros_like(&(len,)).map_err(of_dfdx)?;
        let mut gradients = Gradients::leaky();
        let to = Address::of(gradients.get_or_alloc_mut(&leaf).map_err(of_dfdx)?);
        done(&self.x)?;
        let mut start = 0;
        for slot in slots {
            self.lock().copy_out(self.key, *slot, to.part(start, slot.len))?;
            start += slot.len;
        }
        Ok(gradients.get(&leaf))
    }

    /// Adds the gradients by batch, context and weights.
    pub(super) fn backward(
        self,
        gradients: &mut Gradients<f32, Cuda>,
        by_output: Option<Address>,
        by_number: Address,
    ) -> std::result::Result<(), CudaError> {
        self.back(gradients, by_output, by_number).map_err(|error| failed(&self.last_error, error))
    }

    fn back(
        &self,
        gradients: &mut Gradients<f32, Cuda>,
        by_output: Option<Address>,
        by_number: Address,
    ) -> Result<()> {
        let from = (self.memory, self.update.as_ref());
        let mut store = self.lock();
        store.unchanged(self.stamp)?;
        let ran = with_plan(&self.machine, &mut store, from, self.key, |store, key| {
            if store.stamp(key)? != self.stamp {
                pass(store, key, &self.x, self.context.as_ref())?;
            }
            let recorded = store.recorded(key)?;
            let (output, places) = (recorded.by_output, recorded.places);
            let there = recorded.on_cpu.is_empty();
            done(&self.x)?;
            if let Some(by_output) = by_output {
                store.copy_in(key, output, by_output)?;
            }
            store.copy_in(key, places.by_log_det, by_number)?;
            store.run(key, &[PRODUCT])?;
            Ok((places, there))
        });
        drop(store);
        let (places, finished_there) = ran?;
        add(gradients, &self.x, self.tensor(&[places.gradient.slot])?)?;
        if let Some(context) = &self.context {
            add(gradients, context, self.tensor(&[places.context_gradient.slot])?)?;
        }
        match &self.leaf {
            Some(leaf) if !self.trainable.is_empty() => {
                add(gradients, leaf, self.by_weights(finished_there)?)
            }
            _ => Ok(()),
        }
    }

    /// The gradient by the trainable weights: from the card, or by way of the CPU where a block carries
    /// that by derived values on to them there.
    fn by_weights(&self, finished_there: bool) -> Result<Flat> {
        if finished_there {
            let slots = self.trainable.iter();
            let slots = slots.map(|range| Slot::new(Area::Gradient, range.start, range.len()));
            return self.tensor(&slots.collect::<Vec<_>>());
        }
        let all = finished(&self.machine, &self.lock(), self.key)?;
        let parts = self.trainable.iter().flat_map(|range| &all[range.clone()]);
        let parts: Vec<f32> = parts.copied().collect();
        let len = parts.len();
        self.x.device().try_tensor_from_vec(parts, (len,)).map_err(of_dfdx)
    }
}

/// Adds to the gradient by a tensor.
fn add(gradients: &mut Gradients<f32, Cuda>, to: &Flat, part: Flat) -> Result<()> {
    gradients.try_alloc_for(to).map_err(of_dfdx)?;
    let sum = gradients.get(to).try_add(part).map_err(of_dfdx)?;
    let (mut moved, leaf) = reveal(&sum)?;
    let from = moved.get_or_alloc_mut(&leaf).map_err(of_dfdx)?;
    let to = gradients.get_or_alloc_mut(to).map_err(of_dfdx)?;
    let device = to.device();
    let copied = device.dtod_copy::<f32, _, _>(from, to);
    copied.map_err(|error| of_dfdx(CudaError::Driver(error)))
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
    pub(super) fn of(slice: &CudaSlice<f32>) -> Self {
        Self { at: *slice.device_ptr(), len: slice.len(), card: slice.device().ordinal() }
    }

    /// `len` of its numbers from `start` on.
    fn part(self, start: usize, len: usize) -> Self {
        assert!(start + len <= self.len, "{start} + {len} numbers of {}", self.len);
        Self { at: self.at + 4 * start as u64, len, ..self }
    }
}

impl Store<Gpu> {
    /// Brings numbers of dfdx's to a place.
    fn copy_in(&mut self, key: Key, slot: Slot, from: Address) -> Result<()> {
        self.check(slot, from)?;
        let (device, memory) = self.place(key, slot.area)?;
        // SAFETY: a gradient on this card of as many numbers, held by the caller, who has waited for
        // dfdx to write it.
        Ok(unsafe { device.copy_from(memory, slot.offset, (from.at, slot.len)) }?)
    }

    /// Brings numbers of a place to dfdx.
    fn copy_out(&mut self, key: Key, slot: Slot, to: Address) -> Result<()> {
        self.check(slot, to)?;
        let (device, memory) = self.place(key, slot.area)?;
        // SAFETY: a gradient on this card of as many numbers, which was made for this copy: the caller
        // holds it, dfdx has finished making it, and nobody else knows of it yet.
        Ok(unsafe { device.copy_to(memory, slot.offset, (to.at, slot.len)) }?)
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

pub(super) fn of_dfdx(error: CudaError) -> FlowError {
    FlowError::Tensor(error.to_string())
}

/// Keeps an error for [`OnDevice::last_error`], and gives dfdx one of its own.
pub(super) fn failed(last: &Mutex<Option<FlowError>>, error: FlowError) -> CudaError {
    remember(last, error);
    CudaError::Cpu(CpuError::WrongNumElements)
}
