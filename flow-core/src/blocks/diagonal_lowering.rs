//! Scales, and shifts beside them, as kernels for a GPU.

use flow_cuda::kernels::diagonal::{scale_and_shift, scale_gradient, Features};
use flow_cuda::kernels::rows::{add_column_products, add_repeated, add_total, fill, Rows, Vectors};
use flow_cuda::Op;

use super::Diagonal;
use crate::cuda::Lowering;
use crate::engine::Parameter;
use crate::Scalar;

impl Diagonal {
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
        to.record(add_total(to.log_det(), logs, sign * pixels as f64));
        let Some(kept) = kept else { return Vec::new() };

        let (gradient, by_log_det) = (to.gradient(), Rows::new(to.by_log_det(), 1));
        let by_logs = to.parameter_gradient(&self.log_scale);
        let by_shift = shift.map(|shift| to.parameter_gradient(shift));
        let vectors = Vectors { count: rows * pixels, features: count, pixels };
        let total = to.scratch(1);
        let one = Vectors { count: rows, features: 1, pixels: 1 };
        let factor = sign * pixels as f64;
        let recording = to.recording();
        let sums = |recording: &mut _, right, into, factor| {
            add_column_products(recording, into, vectors, gradient, Some(entries), right, factor)
        };
        let mut shifts = Vec::new();
        if let Some(by_shift) = by_shift {
            shifts = sums(recording, None, by_shift, sign);
        }
        let mut ops = sums(recording, Some(kept), by_logs, sign);
        ops.push(fill(total, 0.0));
        ops.extend(add_column_products(recording, total, one, by_log_det, None, None, factor));
        ops.push(add_repeated(by_logs, total, 1.0));
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
