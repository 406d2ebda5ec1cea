//! A shift and scale from data as kernels for a GPU.

use flow_cuda::Op;

use super::ActNorm;
use crate::cuda::Lowering;
use crate::{FlowError, Result, Scalar};

impl ActNorm {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if to.state().values.buffer(&self.initialized)[0] == E::zero() {
            return Err(FlowError::NotInitialized { block: "actnorm", path: self.path.clone() });
        }
        Ok(self.scale.record(to, entries, backwards, Some(&self.shift)))
    }

    /// Records what depends on its weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        self.scale.record_weights(to);
    }
}
