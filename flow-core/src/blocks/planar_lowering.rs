//! `y = x + û·tanh(wᵀx + b)` as kernels for a GPU.

use flow_cuda::kernels::bounded::{planar_finish, planar_weights};
use flow_cuda::kernels::folds::{add_stretches, stretch_product};
use flow_cuda::kernels::product::{add_into, add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{add_column_products, gather, scaled_copy, scatter, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::Planar;
use crate::blocks::no_inverse;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Planar {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if backwards {
            no_inverse("planar", &self.path)?;
        }
        let (rows, d) = (to.rows(), entries.len());
        let none = Rows::new(Slot::NONE, 0);
        let entries = to.table(entries.iter().copied());
        let moved = to.derived(&self.moved);
        let kappa = moved.part(d, 1);
        let [w, u] = [to.parameter(&self.w), moved.part(0, d)].map(|slot| Matrix::new(slot, 1, d));
        let (x, t) = (to.keep(rows * d), to.keep(rows));
        let y = to.scratch(rows * d);
        let of = |slot, width| Matrix::new(slot, rows, width);
        let plain = Epilogue::default();
        let bent =
            Epilogue { bias: Some(to.parameter(&self.b)), function: Some(Function::Tanh), ..plain };
        to.record(gather(rows, to.x(), none, entries, x));
        to.record(product(t, of(x, d), w.t(), bent));
        to.record(scaled_copy(y, x, 1.0));
        to.record(add_into(y, of(t, 1), u));
        to.record(add_stretches(to.log_det(), t, kappa));
        to.record(scatter(rows, to.x(), entries, y));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let gradient = to.scratch(rows * d);
        let [by_t, by_kappa] = [0; 2].map(|_| to.scratch(rows));
        let [by_w, by_b] = [&self.w, &self.b].map(|slot| to.parameter_gradient(slot));
        let by_moved = to.derived_gradient(&self.moved);
        let vectors = Vectors { count: rows, features: 1, pixels: 1 };
        let sums = |to: &mut Lowering<E>, into, from| {
            let from = Rows::new(from, 1);
            add_column_products(to.recording(), into, vectors, from, None, None, 1.0)
        };
        let mut ops = vec![
            gather(rows, to.gradient(), none, entries, gradient),
            product(by_t, of(gradient, d), u.t(), plain),
        ];
        let by_u = by_moved.part(0, d);
        ops.extend(add_product(to.recording(), by_u, of(t, 1).t(), of(gradient, d)));
        ops.push(stretch_product(by_t, t, kappa, to.by_log_det(), by_kappa));
        ops.extend(sums(to, by_moved.part(d, 1), by_kappa));
        ops.extend(sums(to, by_b, by_t));
        ops.extend(add_product(to.recording(), by_w, of(by_t, 1).t(), of(x, d)));
        ops.push(add_into(gradient, of(by_t, 1), w));
        ops.push(scatter(rows, to.gradient(), entries, gradient));
        Ok(ops)
    }

    /// Records how `u` is moved, and its gradient's way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let [u, w] = [&self.u, &self.w].map(|slot| to.parameter(slot));
        let by = [&self.u, &self.w].map(|slot| to.parameter_gradient(slot));
        to.prepare(planar_weights(to.derived(&self.moved), u, w));
        to.finish_weights(planar_finish(by, to.derived_gradient(&self.moved), u, w));
    }
}
