//! Products of reflections on a GPU.

use flow_cuda::{kernels, Slot};

use super::Reflections;
use crate::cuda::Lowering;
use crate::Scalar;

impl Reflections {
    /// Records how the product comes of the vectors.
    pub(in crate::blocks) fn record<E: Scalar>(&self, to: &mut Lowering<E>) {
        let product = to.derived(&self.product);
        let ops = self.lowered(to).multiply(to.recording(), product);
        to.prepare_all(ops);
    }

    /// Records the way back of a gradient by the product.
    pub(in crate::blocks) fn record_finish<E: Scalar>(&self, to: &mut Lowering<E>, by: Slot) {
        let (product, by_vectors) =
            (to.derived(&self.product), to.parameter_gradient(&self.vectors));
        let ops = self.lowered(to).finish(to.recording(), product, by, by_vectors);
        to.finish_all(ops);
    }

    fn lowered<E: Scalar>(&self, to: &Lowering<E>) -> kernels::reflections::Reflections {
        let vectors = to.parameter(&self.vectors);
        kernels::reflections::Reflections { vectors, features: self.features }
    }
}
