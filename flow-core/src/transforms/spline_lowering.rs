//! Splines as kernels for a GPU.

use flow_cuda::kernels::affine::Left;
use flow_cuda::kernels::spline::{spline, spline_product, Spline as Kernel};
use flow_cuda::Op;

use super::{Spline, LEAST};
use crate::cuda::{Lowering, Steered};
use crate::transforms::lowering::{logs, sum_logs};
use crate::Scalar;

impl Spline {
    /// Records the spline, and returns its product.
    pub(super) fn record<E: Scalar>(&self, to: &mut Lowering<E>, steered: Steered) -> Vec<Op> {
        let kernel = Kernel { bins: self.bins, bound: self.bound, least: LEAST };
        let Steered { moved, x, gradient, parameters, by_parameters } = steered;
        let count = moved.count();
        let kept = to.keeping().then(|| to.keep(count));
        let logs = logs(to, count);
        to.record(spline(kernel, moved, x, parameters, Left { kept, logs }));
        sum_logs(to, logs);
        let Some(kept) = kept else { return Vec::new() };
        let by_log_det = to.by_log_det();
        let by = by_parameters;
        vec![spline_product(kernel, moved, gradient, kept, parameters, by, by_log_det)]
    }
}
