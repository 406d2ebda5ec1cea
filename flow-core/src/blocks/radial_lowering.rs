//! `y = x + β·(x − center)/(α + r)` as kernels for a GPU.

use flow_cuda::kernels::bounded::{radial_finish, radial_weights};
use flow_cuda::kernels::folds::{radial, radial_product};
use flow_cuda::kernels::rows::{add_column_products, gather, scaled_copy, scatter, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::Radial;
use crate::blocks::no_inverse;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Radial {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if backwards {
            no_inverse("radial", &self.path)?;
        }
        let (rows, d) = (to.rows(), entries.len());
        let none = Rows::new(Slot::NONE, 0);
        let entries = to.table(entries.iter().copied());
        let places = [to.parameter(&self.center), to.derived(&self.numbers)];
        let [center, numbers] = places;
        let (x, y) = (to.keep(rows * d), to.scratch(rows * d));
        to.record(gather(rows, to.x(), none, entries, x));
        to.record(scaled_copy(y, x, 1.0));
        to.record(radial(y, center, numbers, to.log_det()));
        to.record(scatter(rows, to.x(), entries, y));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let [gradient, by_center] = [0; 2].map(|_| to.scratch(rows * d));
        let by_numbers = to.scratch(2 * rows);
        let by = [by_center, by_numbers];
        let mut ops = vec![
            gather(rows, to.gradient(), none, entries, gradient),
            radial_product(gradient, x, places, to.by_log_det(), by),
        ];
        let into = [to.parameter_gradient(&self.center), to.derived_gradient(&self.numbers)];
        for ((into, from), features) in into.into_iter().zip(by).zip([d, 2]) {
            let vectors = Vectors { count: rows, features, pixels: 1 };
            let (recording, from) = (to.recording(), Rows::new(from, features));
            ops.extend(add_column_products(recording, into, vectors, from, None, None, 1.0));
        }
        ops.push(scatter(rows, to.gradient(), entries, gradient));
        Ok(ops)
    }

    /// Records how α and κ come of the parameters, and their gradients' way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let [log_alpha, beta] = [&self.log_alpha, &self.beta].map(|slot| to.parameter(slot));
        let by = [&self.log_alpha, &self.beta].map(|slot| to.parameter_gradient(slot));
        let numbers = to.derived(&self.numbers);
        let by_numbers = to.derived_gradient(&self.numbers);
        to.prepare(radial_weights(numbers, log_alpha, beta));
        to.finish_weights(radial_finish(by, by_numbers, numbers, beta));
    }
}
