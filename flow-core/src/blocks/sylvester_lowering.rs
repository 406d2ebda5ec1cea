//! `y = x + Q·R·tanh(R̃·Qᵀx + b)` as kernels for a GPU.

use flow_cuda::kernels::bounded::{bounded_stretches, bounded_triangle, triangle_finish};
use flow_cuda::kernels::folds::{add_stretches, stretch_product};
use flow_cuda::kernels::product::{add_into, add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{add_column_products, gather, scaled_copy, scatter, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::Sylvester;
use crate::blocks::no_inverse;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Sylvester {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if backwards {
            no_inverse("sylvester", &self.path)?;
        }
        let (rows, d, m) = (to.rows(), self.features, self.rank);
        let none = Rows::new(Slot::NONE, 0);
        let entries = to.table(entries.iter().copied());
        let [frame, left, right, kappa] =
            [&self.frame, &self.left, &self.right, &self.kappa].map(|slot| to.derived(slot));
        let [frame, left, right] =
            [Matrix::new(frame, d, m), Matrix::new(left, m, m), Matrix::new(right, m, m)];
        let x = to.keep(rows * d);
        let [turned, t, h] = [0; 3].map(|_| to.keep(rows * m));
        let y = to.scratch(rows * d);
        let of = |slot, width| Matrix::new(slot, rows, width);
        let plain = Epilogue::default();
        let bent =
            Epilogue { bias: Some(to.parameter(&self.b)), function: Some(Function::Tanh), ..plain };
        to.record(gather(rows, to.x(), none, entries, x));
        to.record(product(turned, of(x, d), frame, plain));
        to.record(product(t, of(turned, m), right.t(), bent));
        to.record(product(h, of(t, m), left.t(), plain));
        to.record(scaled_copy(y, x, 1.0));
        to.record(add_into(y, of(h, m), frame.t()));
        to.record(add_stretches(to.log_det(), t, kappa));
        to.record(scatter(rows, to.x(), entries, y));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let gradient = to.scratch(rows * d);
        let [by_h, by_a, by_kappa] = [0; 3].map(|_| to.scratch(rows * m));
        let by_parameter = to.parameter_gradient(&self.b);
        let [by_frame, by_left, by_right, by_kappas] =
            [&self.frame, &self.left, &self.right, &self.kappa].map(|s| to.derived_gradient(s));
        let vectors = Vectors { count: rows, features: m, pixels: 1 };
        let sums = |to: &mut Lowering<E>, into, from| {
            let from = Rows::new(from, m);
            add_column_products(to.recording(), into, vectors, from, None, None, 1.0)
        };
        let mut ops = vec![
            gather(rows, to.gradient(), none, entries, gradient),
            // By h, and so by Q's part of Q·h and by R.
            product(by_h, of(gradient, d), frame, plain),
        ];
        ops.extend(add_product(to.recording(), by_frame, of(gradient, d).t(), of(h, m)));
        ops.extend(add_product(to.recording(), by_left, of(by_h, m).t(), of(t, m)));
        // By A = R̃·p + b with p = Qᵀx.
        ops.push(product(by_a, of(by_h, m), left, plain));
        ops.push(stretch_product(by_a, t, kappa, to.by_log_det(), by_kappa));
        ops.extend(sums(to, by_kappas, by_kappa));
        ops.extend(sums(to, by_parameter, by_a));
        ops.extend(add_product(to.recording(), by_right, of(by_a, m).t(), of(turned, m)));
        // By p, and so by x and by Q's part of Qᵀx.
        ops.push(product(by_h, of(by_a, m), right, plain));
        ops.extend(add_product(to.recording(), by_frame, of(x, d).t(), of(by_h, m)));
        ops.push(add_into(gradient, of(by_h, m), frame.t()));
        ops.push(scatter(rows, to.gradient(), entries, gradient));
        Ok(ops)
    }

    /// Records how `Q` and the triangles come of the parameters, and their gradients' way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let (d, m) = (self.features, self.rank);
        let none = Rows::new(Slot::NONE, 0);
        let square = |slot| Rows::new(slot, d * d);
        let (frame, by_frame) = (to.derived(&self.frame), to.derived_gradient(&self.frame));
        let product = to.derived(&self.turn.product);
        self.turn.record(to);
        let columns = to.table((0..d * m).map(|i| i / m * d + i % m));
        to.prepare(gather(1, square(product), none, columns, frame));
        let raw = [&self.outer, &self.inner].map(|slot| to.parameter(slot));
        let triangles = [&self.left, &self.right];
        for (triangle, raw) in triangles.into_iter().zip(raw) {
            to.prepare(bounded_triangle(to.derived(triangle), raw));
        }
        let stretches = [to.derived_gradient(&self.kappa), to.derived(&self.kappa)];
        to.prepare(bounded_stretches(stretches[1], raw));

        let [outer, inner] = raw;
        for (triangle, slot, both) in
            [(&self.left, &self.outer, [outer, inner]), (&self.right, &self.inner, [inner, outer])]
        {
            let (by_raw, by) = (to.parameter_gradient(slot), to.derived_gradient(triangle));
            to.finish_weights(triangle_finish(by_raw, by, both, stretches));
        }
        let by_product = to.scratch(d * d);
        let spread = (0..d * d).map(|i| if i % d < m { (i / d * m + i % d) as isize } else { -1 });
        let spread = to.recording().table(spread);
        let columns = Rows::new(by_frame, d * m);
        to.finish_weights(gather(1, columns, none, spread, by_product));
        self.turn.record_finish(to, by_product);
    }
}
