//! The flow's trainable weights as one dfdx tensor, for dfdx's optimisers.

use std::ops::Range;

use dfdx::nn::tensor_collection::{ModuleVisitor, TensorCollection, TensorOptions};
use dfdx::prelude::{
    Axis, ConstShape, Cpu, Device, Dtype, HasAxes, ReduceShape, ReduceShapeTo, Shape, Tensor,
    TensorFromVec,
};

use crate::Scalar;

/// A vector whose length is known when the flow is built.
///
/// dfdx lists only tensors of constant shape; it reads their lengths from the tensors themselves,
/// and `NUMEL` only where it would make such a tensor on its own, which it never does here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flat(usize);

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

/// The tensor, and which parameters stand in it.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<E: Scalar> {
    pub(crate) tensor: Tensor<Flat, E, Cpu>,
    /// The trainable parts of the flat parameter vector, in order.
    pub(crate) trainable: Vec<Range<usize>>,
}

impl<E: Scalar> Mirror<E> {
    pub(crate) fn new(parameters: &[E], trainable: Vec<Range<usize>>) -> Self {
        let values = gather(parameters, &trainable);
        let shape = Flat(values.len());
        Self { tensor: Cpu::default().tensor_from_vec(values, shape), trainable }
    }

    /// Brings the tensor up to date.
    pub(crate) fn show(&mut self, parameters: &[E]) {
        self.tensor.copy_from(&gather(parameters, &self.trainable));
    }

    /// Copies the tensor into the parameters.
    pub(crate) fn read(&self, parameters: &mut [E]) {
        let values = self.tensor.as_vec();
        let mut from = 0;
        for range in &self.trainable {
            parameters[range.clone()].copy_from_slice(&values[from..from + range.len()]);
            from += range.len();
        }
    }

    /// Adds a gradient by all parameters to a gradient by the tensor.
    pub(crate) fn add(trainable: &[Range<usize>], gradient: &[E], to: &mut [E]) {
        let parts = trainable.iter().flat_map(|range| &gradient[range.clone()]);
        to.iter_mut().zip(parts).for_each(|(a, &b)| *a = *a + b);
    }
}

fn gather<E: Scalar>(parameters: &[E], trainable: &[Range<usize>]) -> Vec<E> {
    trainable.iter().flat_map(|range| &parameters[range.clone()]).copied().collect()
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

/// How dfdx treats the mirror: optimisers update it, and a reset leaves it alone.
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
