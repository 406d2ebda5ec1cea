//! Scales, and shifts beside them, as kernels for a GPU.

use flow_cuda::kernels::diagonal::{scale_and_shift, scale_gradient, Features};
use flow_cuda::kernels::rows::{add_column_products, Vectors};
use flow_cuda::kernels::weights::exponential;
use flow_cuda::Op;

use super::Diagonal;
use crate::cuda::Lowering;
use crate::engine::Parameter;
use crate::{Result, Scalar};

impl Diagonal {
    /// Records the block without a shift, and returns its product.
    pub(super) fn record_alone<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        Ok(self.record(to, entries, backwards, None))
    }

    /// Records how the scales come of their logarithms.
    pub(in crate::blocks) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let (scale, logs) = (to.derived(&self.scale), to.parameter(&self.log_scale));
        to.prepare(exponential(scale, logs, None));
    }

    /// Records the block, with a shift after the scale where there is one, and returns its product.
    pub(in crate::blocks) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
        shift: Option<&Parameter>,
    ) -> Vec<Op> {
        let (rows, pixels, count) = (to.rows(), self.shape.pixels(), self.shape.features());
        let sign = if backwards { -1.0 } else { 1.0 };
        let entries = to.table(entries.iter().copied());
        let features = Features { rows, entries, features: count, inverse: backwards };
        let (logs, scale) = (to.parameter(&self.log_scale), to.derived(&self.scale));
        let kept = to.keeping().then(|| to.keep(rows * self.shape.size()));
        let shifts = shift.map(|shift| to.parameter(shift));
        to.record(scale_and_shift(features, to.x(), scale, shifts, kept));
        let by_logs = to.parameter_gradient(&self.log_scale);
        let total = to.constant_log_det(logs, by_logs, sign * pixels as f64);
        let Some(kept) = kept else { return Vec::new() };

        let gradient = to.gradient();
        let by_shift = shift.map(|shift| to.parameter_gradient(shift));
        let vectors = Vectors { count: rows * pixels, features: count, pixels };
        let recording = to.recording();
        let sums = |recording: &mut _, right, into, factor| {
            add_column_products(recording, into, vectors, gradient, Some(entries), right, factor)
        };
        let mut shifts = Vec::new();
        if let Some(by_shift) = by_shift {
            shifts = sums(recording, None, by_shift, sign);
        }
        let mut ops = total;
        ops.extend(sums(recording, Some(kept), by_logs, sign));
        let scaled = scale_gradient(features, gradient, scale);
        // A shift comes after the scale, so its gradient is that by what comes out there.
        if backwards {
            ops.push(scaled);
            ops.extend(shifts);
        } else {
            ops.extend(shifts);
            ops.push(scaled);
        }
        ops
    }
}
