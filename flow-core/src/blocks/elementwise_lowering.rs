//! One fixed function on every number as kernels for a GPU.

use flow_cuda::kernels::affine::Left;
use flow_cuda::kernels::contraction::STATUS;
use flow_cuda::kernels::curves::{curve, curve_product, find_outside, Bent, Curve as Kernel};
use flow_cuda::Op;

use super::{outside, Curve, Elementwise};
use crate::cuda::{Failure, Lowering};
use crate::transforms::lowering::{logs, sum_logs};
use crate::{Result, Scalar};

impl<C: Curve> Elementwise<C> {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let kernel = self.curve.lowered();
        let entries = to.table(entries.iter().copied());
        let bent = Bent { rows: to.rows(), entries, inverse: backwards };
        if let (true, Some(image)) = (backwards, image(kernel)) {
            let status = to.recording().frame(STATUS);
            let look = find_outside(bent, to.x(), status, image);
            let (path, image) = (self.path.clone(), self.curve.image());
            let said =
                move |Failure { row, place, value }| outside::<C>(&path, image, row, place, value);
            to.look(look, status, said);
        }
        let count = to.rows() * entries.len;
        let kept = to.keeping().then(|| to.keep(count));
        let logs = logs(to, count);
        to.record(curve(kernel, bent, to.x(), Left { kept, logs }));
        sum_logs(to, logs);
        let Some(kept) = kept else { return Ok(Vec::new()) };
        Ok(vec![curve_product(kernel, bent, to.gradient(), kept, to.by_log_det())])
    }
}

/// What a function takes in its inverse direction, where that is not every number.
fn image(kernel: Kernel) -> Option<[f64; 2]> {
    match kernel {
        Kernel::Tanh => Some([-1.0, 1.0]),
        Kernel::Sigmoid | Kernel::NormalCdf => Some([0.0, 1.0]),
        Kernel::Softplus => Some([0.0, f64::INFINITY]),
        Kernel::Logit { .. } | Kernel::LeakyRelu { .. } | Kernel::Scale { .. } => None,
    }
}
