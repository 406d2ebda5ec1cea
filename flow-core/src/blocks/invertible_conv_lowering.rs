//! Convolutions on squares that do not overlap as kernels for a GPU.

use flow_cuda::Op;

use super::InvertibleConv;
use crate::cuda::Lowering;
use crate::{Block, Result, Scalar};

impl InvertibleConv {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if !backwards {
            self.squeeze.lower(to, entries, false)?;
            return self.weight.lower(to, entries, false);
        }
        let ops = self.weight.lower(to, entries, true)?;
        self.squeeze.lower(to, entries, true)?;
        Ok(ops)
    }

    /// Records what depends on its weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        self.weight.lower_weights(to);
    }
}
