//! Modules of dfdx, whose tensors live in a flow's flat vectors.
//!
//! The flat vectors are the truth. dfdx computes with tensors, so a mirror of the weights is kept
//! as a module of its own for each of the last two versions of them, and brought up to date when a
//! pass asks for another one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use dfdx::nn::tensor_collection::{
    RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut, ViewTensorName,
    ViewTensorRef,
};
use dfdx::prelude::{Gradients, HasErr, HasShape, Rank0, Shape as TensorShape, Tensor};
use dfdx::tensor::{CpuError, OwnedTape};
use dfdx::tensor_ops::{Backward, SumTo, TryAdd, TryMul};

use crate::engine::{Buffer, BufferKind, Builder, Parameter, Pass, Start, State, Values};
use crate::{Result, Scalar};

/// Mirrors that are kept: the weights in training, and those of one clone such as an average.
const KEPT: usize = 2;

/// Tensors of a dfdx module `M` in the flow's vectors, with mirrors of them.
pub(crate) struct Mirrors<M, E: Scalar> {
    slots: Vec<Slot>,
    device: E::Device,
    /// By version, the one used last at the end.
    models: Mutex<Vec<(u64, Arc<M>)>>,
}

/// Where a tensor lies.
enum Slot {
    Parameter(Parameter),
    Buffer(Buffer),
}

impl<M, E> Mirrors<M, E>
where
    M: TensorCollection<E, E::Device>,
    E: Scalar,
{
    /// Enters the tensors of a module as `make` starts them: under dfdx's own names, trained ones
    /// as parameters and the others as buffers.
    pub(crate) fn new(
        builder: &mut Builder<E>,
        make: impl FnOnce(&E::Device) -> Result<M, CpuError>,
    ) -> Result<Self> {
        let [seed, high, ..] = builder.noise("module").words(0);
        let device = E::device(u64::from(seed) | u64::from(high) << 32);
        let model = make(&device)?;
        let mut enter = Enter { builder, slots: Vec::new() };
        let Ok(_) =
            M::iter_tensors(&mut RecursiveWalker { m: (&model, String::new()), f: &mut enter });
        let slots = enter.slots;
        // No version is 0, so that the first pass writes its weights here.
        Ok(Self { slots, device, models: Mutex::new(vec![(0, Arc::new(model))]) })
    }

    /// The device of the module's tensors.
    pub(crate) fn device(&self) -> &E::Device {
        &self.device
    }

    /// The module with these weights. `make` makes another one where all are in use.
    pub(crate) fn at(
        &self,
        state: &State<E>,
        make: impl FnOnce(&E::Device) -> Result<M, CpuError>,
    ) -> Result<Arc<M>> {
        // A thread that panicked had written no more than its own mirror, which is not in the list.
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.version != 0;
        if let Some(i) = models.iter().position(|(version, _)| known && *version == state.version) {
            let found = models.remove(i);
            let model = found.1.clone();
            models.push(found);
            return Ok(model);
        }
        let idle = |(_, model): &(u64, Arc<M>)| Arc::strong_count(model) == 1;
        let fresh = models.first().is_some_and(|(version, _)| *version == 0);
        let reused =
            if fresh || models.len() >= KEPT { models.iter().position(idle) } else { None };
        let mut model = match reused {
            Some(i) => models.remove(i).1,
            None => Arc::new(make(&self.device)?),
        };
        let target = Arc::get_mut(&mut model).expect("an idle mirror has one owner");
        let mut write = Write { slots: self.slots.iter(), values: &state.values };
        let Ok(_) = M::iter_tensors(&mut RecursiveWalker { m: target, f: &mut write });
        models.push((state.version, model.clone()));
        if models.len() > KEPT {
            models.remove(0);
        }
        Ok(model)
    }

    /// Adds the gradients of `model`'s tensors to those of the pass.
    pub(crate) fn add_gradients(
        &self,
        pass: &mut Pass<'_, E>,
        model: &M,
        gradients: &mut Gradients<E, E::Device>,
    ) -> Result<()> {
        if !pass.learning() {
            return Ok(());
        }
        let mut read = Read { slots: self.slots.iter(), pass, gradients };
        M::iter_tensors(&mut RecursiveWalker { m: model, f: &mut read })?;
        Ok(())
    }
}

/// A batch as a tensor.
pub(crate) fn tensor<E: Scalar, S: TensorShape>(
    device: &E::Device,
    numbers: &[E],
    shape: S,
) -> Result<Tensor<S, E, E::Device>> {
    use dfdx::tensor::TensorFromVec;
    Ok(device.try_tensor_from_vec(numbers.to_vec(), shape)?)
}

/// Copies a tensor's numbers out, row-major.
pub(crate) fn numbers<E: Scalar, S: TensorShape>(
    tensor: Tensor<S, E, E::Device>,
    out: &mut [E],
) -> Result<()> {
    use dfdx::tensor_ops::ReshapeTo;
    tensor.try_contiguous()?.copy_into(out);
    Ok(())
}

/// The gradient by a tensor, zeros where nothing depended on it.
pub(crate) fn gradient<E: Scalar, S: TensorShape>(
    gradients: &mut Gradients<E, E::Device>,
    tensor: &Tensor<S, E, E::Device>,
    out: &mut [E],
) -> Result<(), CpuError> {
    gradients.try_alloc_for(tensor)?;
    gradients.get(tensor).copy_into(out);
    Ok(())
}

/// A tensor on a tape.
type Taped<S, E> = Tensor<S, E, <E as Scalar>::Device, OwnedTape<E, <E as Scalar>::Device>>;

/// `Σ output · cotangent`: its gradients are the vector-Jacobian product.
pub(crate) fn dot<E: Scalar, S: TensorShape>(
    output: Taped<S, E>,
    cotangent: Tensor<S, E, E::Device>,
) -> Result<Taped<Rank0, E>> {
    Ok(output.try_mul(cotangent)?.try_sum::<Rank0, S::AllAxes>()?)
}

/// The sum of two such, and the gradients by everything on their tapes.
pub(crate) fn backward<E: Scalar>(
    loss: Taped<Rank0, E>,
    other: Option<Taped<Rank0, E>>,
) -> Result<Gradients<E, E::Device>> {
    let loss = match other {
        Some(other) => loss.try_add(other)?,
        None => loss,
    };
    Ok(loss.try_backward()?)
}

/// Enters each tensor into the layout.
struct Enter<'a, E> {
    builder: &'a mut Builder<E>,
    slots: Vec<Slot>,
}

impl<E: Scalar> TensorVisitor<E, E::Device> for Enter<'_, E> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = Infallible;
    type E2 = E;
    type D2 = E::Device;

    fn visit<S: TensorShape>(
        &mut self,
        options: TensorOptions<S, E, E::Device>,
        (tensor, name): (&Tensor<S, E, E::Device>, String),
    ) -> Result<Option<Tensor<S, E, E::Device>>, Infallible> {
        let shape: Vec<usize> = tensor.shape().concrete().into();
        let mut values = vec![E::zero(); tensor.shape().num_elements()];
        tensor.copy_into(&mut values);
        // A bare tensor, alone or in a tuple, adds an empty part to its path.
        let name = match name.trim_end_matches('.') {
            "" => "weight",
            name => name,
        };
        self.slots.push(if options.do_gradient_update {
            Slot::Parameter(self.builder.parameter(name, &shape, Start::Values(values)))
        } else {
            Slot::Buffer(self.builder.buffer(name, &shape, BufferKind::Float, values))
        });
        Ok(None)
    }
}

/// Writes the weights into a mirror.
struct Write<'a, E> {
    slots: std::slice::Iter<'a, Slot>,
    values: &'a Values<E>,
}

impl<E: Scalar> TensorVisitor<E, E::Device> for Write<'_, E> {
    type Viewer = ViewTensorMut;
    type Err = Infallible;
    type E2 = E;
    type D2 = E::Device;

    fn visit<S: TensorShape>(
        &mut self,
        _: TensorOptions<S, E, E::Device>,
        tensor: &mut Tensor<S, E, E::Device>,
    ) -> Result<Option<Tensor<S, E, E::Device>>, Infallible> {
        match self.slots.next() {
            Some(Slot::Parameter(slot)) => tensor.copy_from(self.values.parameter(slot)),
            Some(Slot::Buffer(slot)) => tensor.copy_from(self.values.buffer(slot)),
            None => unreachable!("a module has as many tensors as when it was entered"),
        }
        Ok(None)
    }
}

/// Adds the gradients of a mirror's tensors to those of the pass.
struct Read<'a, 'p, E: Scalar> {
    slots: std::slice::Iter<'a, Slot>,
    pass: &'a mut Pass<'p, E>,
    gradients: &'a mut Gradients<E, E::Device>,
}

impl<E: Scalar> TensorVisitor<E, E::Device> for Read<'_, '_, E> {
    type Viewer = ViewTensorRef;
    type Err = <E::Device as HasErr>::Err;
    type E2 = E;
    type D2 = E::Device;

    fn visit<S: TensorShape>(
        &mut self,
        _: TensorOptions<S, E, E::Device>,
        tensor: &Tensor<S, E, E::Device>,
    ) -> Result<Option<Tensor<S, E, E::Device>>, Self::Err> {
        if let Some(Slot::Parameter(slot)) = self.slots.next() {
            let mut by_tensor = self.pass.take(slot.len());
            gradient(self.gradients, tensor, &mut by_tensor)?;
            crate::backend::cpu::elementwise::add(self.pass.gradient(slot), &by_tensor);
            self.pass.give(by_tensor);
        }
        Ok(None)
    }
}
