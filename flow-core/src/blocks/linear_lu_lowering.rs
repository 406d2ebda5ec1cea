//! `linear(lu)` as kernels for a GPU.

use flow_cuda::kernels::linear::{solve_lu, Factors};
use flow_cuda::kernels::product::{add_product, Matrix};
use flow_cuda::kernels::rows::{gather, scaled_copy, scatter, Rows};
use flow_cuda::kernels::weights::{exponential, lu_finish, lu_weight};
use flow_cuda::{Op, Slot};

use super::LinearLu;
use crate::blocks::dense::{self, Side, Weight};
use crate::blocks::permutation::index;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl LinearLu {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let logs = to.parameter(&self.log_diagonal);
        let by_logs = to.parameter_gradient(&self.log_diagonal);
        let pixels = self.shape.pixels() as f64;
        if !backwards {
            let weight = Weight::Derived(&self.weight);
            let mut ops = dense::record(to, weight, self.shape.features(), Side::Plain, entries);
            ops.extend(to.constant_log_det(logs, by_logs, pixels));
            return Ok(ops);
        }
        let mut ops = self.solve(to, entries);
        ops.extend(to.constant_log_det(logs, by_logs, -pixels));
        Ok(ops)
    }

    /// The inverse: both triangular systems for each vector.
    fn solve<E: Scalar>(&self, to: &mut Lowering<E>, entries: &[usize]) -> Vec<Op> {
        let (d, rows, len) = (self.shape.features(), to.rows(), to.rows() * entries.len());
        let factors = self.lowered(to);
        let unpermutation = self.unpermutation.of(&to.state().derived);
        let order: Vec<usize> = unpermutation.iter().map(|&p| index(p)).collect();
        let each = (0..entries.len()).map(|i| entries[i / d * d + order[i % d]]);
        let permuted = to.table(each);
        let entries = to.table(entries.iter().copied());
        let none = Rows::new(Slot::NONE, 0);
        let x = to.keep(len);
        to.record(gather(rows, to.x(), none, permuted, x));
        to.record(solve_lu(x, factors, d, false));
        to.record(scatter(rows, to.x(), entries, x));
        if !to.keeping() {
            return Vec::new();
        }
        // d(W⁻¹ z) = −W⁻¹ dW x, so the gradient by W is −(W⁻ᵀ g) xᵀ.
        let [by, by_input, minus] = [to.scratch(len), to.scratch(len), to.scratch(len)];
        let by_weight = to.derived_gradient(&self.weight);
        let gradient = to.gradient();
        let mut ops = vec![
            gather(rows, gradient, none, entries, by),
            solve_lu(by, factors, d, true),
            scatter(rows, gradient, permuted, by),
            gather(rows, gradient, none, entries, by_input),
            scaled_copy(minus, x, -1.0),
        ];
        let [g, x] = [by_input, minus].map(|slot| Matrix::new(slot, len / d, d));
        ops.extend(add_product(to.recording(), by_weight, g.t(), x));
        ops
    }

    /// Records how `W` comes of its factors, and its gradient's way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let factors = self.lowered(to);
        let (logs, sign) = (to.parameter(&self.log_diagonal), to.buffer(&self.sign));
        let permutation = to.state().values.buffer(&self.permutation);
        let order: Vec<usize> = permutation.iter().map(|&p| index(p)).collect();
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &r)| place[r] = i);
        let (order, place) = (to.table(order), to.table(place));
        to.prepare(exponential(factors.diagonal, logs, Some(sign)));
        let weight = to.derived(&self.weight);
        to.prepare(lu_weight(weight, factors, order));
        let by = [&self.lower, &self.upper, &self.log_diagonal];
        let by = by.map(|slot| to.parameter_gradient(slot));
        let by_weight = to.derived_gradient(&self.weight);
        to.finish_weights(lu_finish(by_weight, factors, by, order, place));
    }

    fn lowered<E: Scalar>(&self, to: &Lowering<E>) -> Factors {
        Factors {
            lower: to.parameter(&self.lower),
            upper: to.parameter(&self.upper),
            diagonal: to.derived(&self.diagonal),
        }
    }
}
