//! A residual block as kernels for a GPU.

use flow_cuda::kernels::rows::{add_repeated, fill, gather, scaled_copy, scatter, Rows};
use flow_cuda::kernels::square::times_own_matrix;
use flow_cuda::{Op, Slot};

use super::{Complaint, Contraction, Residual};
use crate::cuda::Lowering;
use crate::nets::{Differentiable, Linearized};
use crate::{Result, Scalar};

impl<N> Residual<N> {
    /// Records what depends on the net's weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>)
    where
        N: Differentiable<E>,
    {
        self.field.net().lower_weights(to);
    }

    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>>
    where
        N: Differentiable<E>,
    {
        let (rows, len) = (to.rows(), to.rows() * self.field.size());
        let none = Rows::new(Slot::NONE, 0);
        let entries = to.table(entries.iter().copied());
        let x = to.keep(len);
        to.record(gather(rows, to.x(), none, entries, x));
        if backwards {
            let net = |to: &mut Lowering<E>, places| to.apart(|to| self.field.record(to, places));
            let said = self.complaint(Complaint::INVERSE);
            let solve =
                self.contraction.ops(to, x, net, move |stuck| said.error(stuck.row, stuck))?;
            solve.into_iter().for_each(|op| to.record(op));
        }
        let output = to.scratch(len);
        let linear = if to.keeping() || to.wants_log_det() {
            let at = self.field.record_at(to, [x, output])?;
            let sign = if backwards { -1.0 } else { 1.0 };
            let inverses = self.determinant.record(to, &self.field, &at, sign);
            Some((at, inverses))
        } else {
            if !backwards {
                self.field.record(to, [x, output])?;
            }
            None
        };
        if backwards {
            to.record(scatter(rows, to.x(), entries, x));
        } else {
            to.record(add_repeated(output, x, 1.0));
            to.record(scatter(rows, to.x(), entries, output));
        }
        let Some((at, inverses)) = linear.filter(|_| to.keeping()) else { return Ok(Vec::new()) };
        let gradient = to.scratch(len);
        let mut ops = vec![gather(rows, to.gradient(), none, entries, gradient)];
        ops.extend(if backwards {
            self.inverse_product(to, &at, inverses, gradient)?
        } else {
            let (by_log_det, by_x) = (to.by_log_det(), to.scratch(len));
            let (field, places) = (&self.field, [gradient, by_x]);
            let mut ops =
                self.determinant.gradient_ops(to, field, &at, inverses, by_log_det, places);
            ops.push(add_repeated(gradient, by_x, 1.0));
            ops
        });
        ops.push(scatter(rows, to.gradient(), entries, gradient));
        Ok(ops)
    }

    /// The gradient by x becomes that by z, as in `product_of_part`.
    fn inverse_product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        inverses: Option<Slot>,
        gradient: Slot,
    ) -> Result<Vec<Op>>
    where
        N: Differentiable<E>,
    {
        let (field, len) = (&self.field, gradient.len);
        let [by_x, other] = [to.scratch(len), to.scratch(len)];
        let scale = to.scratch(to.rows());
        let mut ops = vec![scaled_copy(scale, to.by_log_det(), -1.0), fill(other, 0.0)];
        let places = [other, by_x];
        ops.extend(self.determinant.gradient_ops(to, field, at, inverses, scale, places));
        ops.push(add_repeated(gradient, by_x, 1.0));
        if let Some(inverses) = inverses {
            ops.push(times_own_matrix(other, gradient, inverses, field.size()));
            ops.push(scaled_copy(gradient, other, 1.0));
        } else {
            let linear = Contraction { tolerance: 0.0, unit: 0.0, ..self.contraction };
            let pull = |to: &mut Lowering<E>, places| Ok(field.pull_ops(to, at, 1, places));
            let said = self.complaint(Complaint::GRADIENT);
            ops.extend(linear.ops(to, gradient, pull, move |stuck| said.error(stuck.row, stuck))?);
        }
        ops.push(scaled_copy(other, gradient, -1.0));
        ops.extend(field.gradient_ops(to, at, places, None));
        Ok(ops)
    }
}
