//! The Haar transform as kernels for a GPU.

use flow_cuda::kernels::linear::haar;
use flow_cuda::Op;

use super::Haar;
use crate::cuda::Lowering;
use crate::{Block, Result, Scalar};

impl Haar {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let (rows, x, gradient) = (to.rows(), to.x(), to.gradient());
        if !backwards {
            self.squeeze.lower(to, entries, false)?;
        }
        let squares = to.table(entries.iter().copied());
        to.record(haar(rows, x, squares));
        if backwards {
            self.squeeze.lower(to, entries, true)?;
        }
        Ok(if to.keeping() { vec![haar(rows, gradient, squares)] } else { Vec::new() })
    }
}
