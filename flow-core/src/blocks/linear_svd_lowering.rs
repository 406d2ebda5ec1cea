//! `W = U·diag(exp(log_singular))·Vᵀ` on a GPU.

use flow_cuda::kernels::inverses::scale_columns;
use flow_cuda::kernels::product::{product, Epilogue, Matrix};
use flow_cuda::kernels::rows::{add_column_products, scaled_copy, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::LinearSvd;
use crate::blocks::dense::{self, record_by_inverse, Side, Weight};
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl LinearSvd {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let weight = if backwards { &self.inverse } else { &self.weight };
        let d = self.shape.features();
        let mut ops = dense::record(to, Weight::Derived(weight), d, Side::Plain, entries);
        let logs = to.parameter(&self.log_singular);
        let by_logs = to.parameter_gradient(&self.log_singular);
        let factor = self.pixels::<f64>() * if backwards { -1.0 } else { 1.0 };
        ops.extend(to.constant_log_det(logs, by_logs, factor));
        Ok(ops)
    }

    /// Records how `W` and its inverse come of the reflections and the singular values, and their
    /// gradients' way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let d = self.shape.features();
        let square = |slot| Matrix::new(slot, d, d);
        let plain = Epilogue::default();
        self.left.record(to);
        self.right.record(to);
        let logs = to.parameter(&self.log_singular);
        let [u, v] = [&self.left, &self.right].map(|side| to.derived(&side.product));
        let [weight, inverse] = [&self.weight, &self.inverse].map(|slot| to.derived(slot));
        for (into, outer, inner, sign) in [(weight, u, v, 1.0), (inverse, v, u, -1.0)] {
            let scaled = to.scratch(d * d);
            to.prepare(scale_columns(scaled, outer, logs, sign));
            to.prepare(product(into, square(scaled), square(inner).t(), plain));
        }

        // With G the gradient by W: that by U is G V S, that by V is Gᵀ U S, and that by S the
        // diagonal of Uᵀ G V.
        let [by, turned, by_left, by_right]: [Slot; 4] = [0; 4].map(|_| to.scratch(d * d));
        let [by_weight, by_inverse] =
            [&self.weight, &self.inverse].map(|slot| to.derived_gradient(slot));
        to.finish_weights(scaled_copy(by, by_weight, 1.0));
        record_by_inverse(to, by, [inverse, by_inverse], d);
        to.finish_weights(product(turned, square(by), square(v), plain));
        to.finish_weights(scale_columns(by_left, turned, logs, 1.0));
        let by_logs = to.parameter_gradient(&self.log_singular);
        let all = Vectors { count: d, features: d, pixels: 1 };
        let (recording, rows) = (to.recording(), Rows::new(u, d));
        let ops = add_column_products(recording, by_logs, all, rows, None, Some(by_left), 1.0);
        to.finish_all(ops);
        self.left.record_finish(to, by_left);
        to.finish_weights(product(turned, square(by).t(), square(u), plain));
        to.finish_weights(scale_columns(by_right, turned, logs, 1.0));
        self.right.record_finish(to, by_right);
    }
}
