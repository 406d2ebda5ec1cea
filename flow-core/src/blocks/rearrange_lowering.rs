//! Pixels in another order on a GPU: numbers stay where they are, and blocks after it read elsewhere.

use flow_cuda::Op;

use super::Rearrange;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Rearrange {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let _ = to;
        let from = if backwards { &self.back } else { &self.there };
        let before = entries.to_vec();
        entries.iter_mut().zip(from).for_each(|(entry, &from)| *entry = before[from]);
        Ok(Vec::new())
    }
}
