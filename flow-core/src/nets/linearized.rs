//! What nets keep on a GPU of a point where their Jacobian is used.

use flow_cuda::kernels::rows::bend;
use flow_cuda::kernels::tangents::{add_bent, bend_twice, multiply_each};
use flow_cuda::{Op, Slot};

use super::Activation;
use crate::cuda::Lowering;
use crate::Scalar;

/// Where [`Differentiable::lower_at`](super::Differentiable::lower_at) keeps what it needs.
#[derive(Clone, Debug)]
pub struct Linearized {
    /// What each layer read.
    pub(super) read: Vec<Slot>,
    /// What each activation left.
    pub(super) bends: Vec<Bend>,
}

/// Tangents and cotangents on a GPU: `count` of either for each row.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// How many.
    pub count: usize,
    /// Vectors of the net's inputs.
    pub tangents: Slot,
    /// Vectors of its outputs.
    pub cotangents: Slot,
}

/// What an activation leaves: its slopes, and its second derivatives where a product follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bend {
    pub(super) slopes: Slot,
    curvatures: Slot,
}

impl Bend {
    /// Room for what an activation of so many numbers leaves.
    pub(super) fn room<E: Scalar>(to: &mut Lowering<E>, len: usize) -> Self {
        let slopes = to.keep(len);
        let curvatures = if to.keeping() { to.keep(len) } else { Slot::NONE };
        Self { slopes, curvatures }
    }

    /// Records the activation of `raw`, and what it leaves.
    pub(super) fn record<E: Scalar>(
        self,
        to: &mut Lowering<E>,
        activation: Activation,
        [raw, above]: [Slot; 2],
    ) {
        let function = activation.lowered();
        to.record(match self.curvatures.len {
            0 => bend(above, raw, function, Some(self.slopes)),
            _ => bend_twice(above, raw, function, self.slopes, self.curvatures),
        });
    }

    /// `count` tangents or cotangents of each row times the slopes.
    pub(super) fn apply(self, into: Slot, from: Slot, width: usize, count: usize) -> Op {
        multiply_each(into, from, self.slopes, width, count)
    }

    /// Carries gradients back through the activation: that by its value was multiplied with the slopes
    /// already, and gets the part of the tangents, of which the activation read `raw`; that by the
    /// tangents becomes that by `raw`.
    pub(super) fn back(
        self,
        [by_value, by_tangent]: [Slot; 2],
        raw: Slot,
        width: usize,
        count: usize,
    ) -> [Op; 2] {
        [
            add_bent(by_value, self.curvatures, [raw, by_tangent], width, count),
            self.apply(by_tangent, by_tangent, width, count),
        ]
    }
}
