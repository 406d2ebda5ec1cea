//! A learned spline on every number as kernels for a GPU.

use flow_cuda::kernels::affine::Left;
use flow_cuda::kernels::curves::Bent;
use flow_cuda::kernels::knots::{raise_to, Limits, Trained};
use flow_cuda::kernels::rows::{add_column_products, Rows, Vectors};
use flow_cuda::kernels::spline::Knots;
use flow_cuda::{Op, Slot};

use super::{SplineActivation, LEAST_EXTENT, LEAST_SHARE};
use crate::cuda::Lowering;
use crate::engine::Parameter;
use crate::transforms::lowering::{logs, sum_logs};
use crate::{Result, Scalar};

impl SplineActivation {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let (rows, count) = (to.rows(), to.rows() * entries.len());
        let entries = to.table(entries.iter().copied());
        let bent = Bent { rows, entries, inverse: backwards };
        let knots = Knots { slot: to.derived(&self.knots), features: self.features };
        let kept = to.keeping().then(|| to.keep(count));
        let logs = logs(to, count);
        to.record(knots.spline(bent, to.x(), Left { kept, logs }));
        sum_logs(to, logs);
        let Some(kept) = kept else { return Ok(Vec::new()) };
        let by_knots = to.scratch(count * self.stride());
        let mut ops = vec![knots.product(bent, to.gradient(), kept, by_knots, to.by_log_det())];
        let width = self.features * self.stride();
        let vectors = Vectors { count: count / self.features, features: width, pixels: 1 };
        let (into, by_knots) = (to.derived_gradient(&self.knots), Rows::new(by_knots, width));
        ops.extend(add_column_products(to.recording(), into, vectors, by_knots, None, None, 1.0));
        Ok(ops)
    }

    /// Records how the knots come of the parameters, after the extents were brought into their domain,
    /// and their gradients' way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let least = LEAST_SHARE * E::epsilon().as_f64();
        let (low, high) = (self.low, self.high);
        let limits = Limits { low, high, least, least_rise: least * high };
        let of = |place: &dyn Fn(&Parameter) -> Slot| Trained {
            widths: place(&self.widths),
            heights: place(&self.heights),
            slopes: place(&self.slopes),
            extent: place(&self.extent),
        };
        let trained = of(&|slot| to.parameter(slot));
        let by = of(&|slot| to.parameter_gradient(slot));
        let (knots, by_knots) = (to.derived(&self.knots), to.derived_gradient(&self.knots));
        to.prepare(raise_to(trained.extent, LEAST_EXTENT));
        to.prepare(trained.knots(limits, knots));
        to.finish_all(trained.finish(limits, by, knots, by_knots));
    }
}
