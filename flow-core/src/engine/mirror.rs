//! The flow's numbers as two dfdx tensors: what dfdx's optimisers update, and what is only saved.

use std::ops::Range;

use dfdx::nn::tensor_collection::{ModuleVisitor, TensorCollection, TensorOptions};
use dfdx::prelude::{
    Axis, ConstShape, Cpu, Device, Dtype, HasAxes, HasShape, ReduceShape, ReduceShapeTo, Shape,
    Tensor, TensorFromVec,
};

use crate::{Scalar, Values};

/// A vector whose length is known when the flow is built.
///
/// dfdx lists only tensors of constant shape; it reads their lengths from the tensors themselves,
/// and `NUMEL` only where it would make such a tensor on its own, which it never does here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flat(usize);

impl HasAxes<Axis<0>> for Flat {
    fn size(&self) -> usize {
        self.0
    }
}
impl ReduceShapeTo<(), Axis<0>> for Flat {}
impl ReduceShape<Axis<0>> for Flat {
    type Reduced = ();
}
impl Shape for Flat {
    const NUM_DIMS: usize = 1;
    type Concrete = [usize; 1];
    type AllAxes = Axis<0>;
    type LastAxis = Axis<0>;

    fn concrete(&self) -> Self::Concrete {
        [self.0]
    }

    fn from_concrete(concrete: &Self::Concrete) -> Option<Self> {
        Some(Self(concrete[0]))
    }
}
impl ConstShape for Flat {
    const NUMEL: usize = 0;
}

/// A flow's numbers as dfdx sees them.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<E: Scalar> {
    /// The trainable parameters.
    pub(crate) tensor: Tensor<Flat, E, Cpu>,
    /// What no optimiser sees, but what is saved: frozen parameters, then buffers.
    pub(crate) kept: Tensor<Flat, E, Cpu>,
    /// The trainable parts of the flat parameter vector, in order.
    pub(crate) trainable: Vec<Range<usize>>,
    frozen: Vec<Range<usize>>,
}

impl<E: Scalar> Mirror<E> {
    pub(crate) fn new(values: &Values<E>, trainable: Vec<Range<usize>>) -> Self {
        let ends = trainable.iter().map(|range| range.start).chain([values.parameters.len()]);
        let starts = [0].into_iter().chain(trainable.iter().map(|range| range.end));
        let frozen: Vec<_> = starts.zip(ends).map(|(start, end)| start..end).collect();
        let tensor = flat(gather(&values.parameters, &trainable));
        Self { tensor, kept: flat(kept(values, &frozen)), trainable, frozen }
    }

    /// Brings the tensors up to date.
    pub(crate) fn show(&mut self, values: &Values<E>) {
        self.tensor.copy_from(&gather(&values.parameters, &self.trainable));
        self.kept.copy_from(&kept(values, &self.frozen));
    }

    /// Copies the trainable parameters back.
    pub(crate) fn read(&self, parameters: &mut [E]) {
        scatter(&numbers(&self.tensor), &self.trainable, parameters);
    }

    /// The numbers with what is not trained copied back, where that was changed.
    pub(crate) fn read_kept(&self, values: &Values<E>) -> Option<Values<E>> {
        let changed = numbers(&self.kept);
        if changed == kept(values, &self.frozen) {
            return None;
        }
        let mut values = values.clone();
        let buffers = scatter(&changed, &self.frozen, &mut values.parameters);
        values.buffers.copy_from_slice(buffers);
        Some(values)
    }

    /// Adds a gradient by all parameters to a gradient by the tensor.
    pub(crate) fn add(trainable: &[Range<usize>], gradient: &[E], to: &mut [E]) {
        let parts = trainable.iter().flat_map(|range| &gradient[range.clone()]);
        to.iter_mut().zip(parts).for_each(|(a, &b)| *a += b);
    }
}

fn gather<E: Scalar>(parameters: &[E], trainable: &[Range<usize>]) -> Vec<E> {
    trainable.iter().flat_map(|range| &parameters[range.clone()]).copied().collect()
}

fn kept<E: Scalar>(values: &Values<E>, frozen: &[Range<usize>]) -> Vec<E> {
    let mut all = gather(&values.parameters, frozen);
    all.extend_from_slice(&values.buffers);
    all
}

/// Copies numbers to their places, and returns those that are left.
fn scatter<'v, E: Scalar>(mut values: &'v [E], ranges: &[Range<usize>], to: &mut [E]) -> &'v [E] {
    for range in ranges {
        let (part, rest) = values.split_at(range.len());
        to[range.clone()].copy_from_slice(part);
        values = rest;
    }
    values
}

/// As dfdx's `as_vec`, which cannot read an empty tensor.
fn numbers<E: Scalar>(tensor: &Tensor<Flat, E, Cpu>) -> Vec<E> {
    let mut numbers = vec![E::zero(); tensor.shape().0];
    tensor.copy_into(&mut numbers);
    numbers
}

fn flat<E: Scalar>(values: Vec<E>) -> Tensor<Flat, E, Cpu> {
    let shape = Flat(values.len());
    Cpu::default().tensor_from_vec(values, shape)
}

/// A field without tensors, visited after the mirror: there the optimiser's work is read back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AfterStep;

impl<E: Dtype, D: Device<E>> TensorCollection<E, D> for AfterStep {
    type To<E2: Dtype, D2: Device<E2>> = Self;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(_: &mut V) -> Result<Option<Self>, V::Err> {
        Ok(Some(Self))
    }
}

/// How dfdx treats the mirror: optimisers update what is trainable, and a reset leaves it alone.
pub(crate) fn options<E: Scalar>(trainable: bool) -> TensorOptions<Flat, E, Cpu>
where
    Cpu: Device<E>,
{
    let keep = |_: &mut Tensor<Flat, E, Cpu>| Ok(());
    if trainable {
        TensorOptions::reset_with(keep)
    } else {
        TensorOptions::detached(keep)
    }
}
