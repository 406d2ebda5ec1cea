//! Products of reflections as kernels for a GPU.

use flow_cuda::Op;

use super::Householder;
use crate::blocks::dense::{self, Side};
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Householder {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let side = if backwards { Side::Transposed } else { Side::Plain };
        Ok(dense::record(to, self.weight(), self.features, side, entries))
    }

    /// Records what depends on its weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        self.reflections.record(to);
        let by_product = to.derived_gradient(&self.reflections.product);
        self.reflections.record_finish(to, by_product);
    }
}
