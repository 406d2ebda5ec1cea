//! Affine maps as kernels for a GPU.

use flow_cuda::kernels::affine::{affine, affine_product, Left, Scale as Kernel};
use flow_cuda::Op;

use super::{Affine, Scale};
use crate::cuda::{Lowering, Steered};
use crate::transforms::lowering::{logs, sum_logs};
use crate::Scalar;

impl Affine {
    /// Records the map, and returns its product.
    pub(super) fn record<E: Scalar>(&self, to: &mut Lowering<E>, steered: Steered) -> Vec<Op> {
        let scale = match self.scale {
            Scale::Exp => Kernel::Exp,
            Scale::Tanh { limit } => Kernel::Tanh { limit },
            Scale::Sigmoid { low, high, shift } => Kernel::Sigmoid { low, high, shift },
        };
        let Steered { moved, x, gradient, parameters, by_parameters } = steered;
        let count = moved.count();
        let kept = to.keeping().then(|| to.keep(count));
        let logs = logs(to, count);
        to.record(affine(scale, moved, x, parameters, Left { kept, logs }));
        sum_logs(to, logs);
        let Some(kept) = kept else { return Vec::new() };
        let by_log_det = to.by_log_det();
        vec![affine_product(moved, gradient, kept, parameters, by_parameters, by_log_det)]
    }
}
