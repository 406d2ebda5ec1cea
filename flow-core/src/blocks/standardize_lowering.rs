//! A fixed shift and scale as kernels for a GPU.

use flow_cuda::kernels::diagonal::{scale_and_shift, scale_gradient, Features};
use flow_cuda::Op;

use super::Standardize;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Standardize {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let entries = to.table(entries.iter().copied());
        // `(x − mean)/std` is the inverse of `x·std + mean`.
        let inverse = !backwards;
        let features = Features { rows: to.rows(), entries, features: self.mean.len(), inverse };
        let (mean, std) = (to.buffer(&self.mean), to.buffer(&self.std));
        to.record(scale_and_shift(features, to.x(), std, Some(mean), None));
        let log_det = to.derived(&self.log_det);
        let sign = if backwards { -1.0 } else { 1.0 };
        to.record(flow_cuda::kernels::rows::add_total(to.log_det(), log_det, sign));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        Ok(vec![scale_gradient(features, to.gradient(), std)])
    }
}
