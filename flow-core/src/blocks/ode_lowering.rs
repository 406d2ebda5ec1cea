//! A continuous block as kernels for a GPU.

use flow_cuda::kernels::contraction::STATUS;
use flow_cuda::kernels::rows::{add_repeated, fill, gather, scaled_copy, scatter, Rows};
use flow_cuda::kernels::steps::{
    advance, combine, count_back, count_ways, recall, set_out, Journey, Travellers, COUNT, WAY,
};
use flow_cuda::{Op, Slot};

use super::adaptive::{first_step, shortest_step, tolerance_of, MOST_STEPS};
use super::{Ode, Solver};
use crate::cuda::{Failure, Lowering};
use crate::nets::Differentiable;
use crate::{FlowError, Result, Scalar};

impl<N> Ode<N> {
    /// Records what depends on the net's weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>)
    where
        N: Differentiable<E>,
    {
        self.field.net().lower_weights(to);
    }

    /// Records the block, and returns its product.
    pub(super) fn record_block<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>>
    where
        N: Differentiable<E>,
    {
        let rows = to.rows();
        let none = Rows::new(Slot::NONE, 0);
        let entries = to.table(entries.iter().copied());
        let [x, integral] = [to.scratch(rows * self.field.size()), to.scratch(rows)];
        to.record(gather(rows, to.x(), none, entries, x));
        to.record(fill(integral, 0.0));
        let way = if backwards { (self.time, -self.time) } else { (0.0, self.time) };
        let (gradient, product) = match self.solver {
            Solver::Rk4 { steps } => self.record_equal(to, [x, integral], way, steps)?,
            Solver::Dopri5 { tolerance } => {
                self.record_adaptive(to, [x, integral], way, tolerance)?
            }
        };
        to.record(scatter(rows, to.x(), entries, x));
        to.record(add_repeated(to.log_det(), integral, 1.0));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let mut ops = vec![gather(rows, to.gradient(), none, entries, gradient)];
        ops.extend(product);
        ops.push(scatter(rows, to.gradient(), entries, gradient));
        Ok(ops)
    }

    /// Records equal steps, one after the other, and returns their product with the place of the
    /// gradient that it changes.
    fn record_equal<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [x, integral]: [Slot; 2],
        (start, span): (f64, f64),
        steps: usize,
    ) -> Result<(Slot, Vec<Op>)>
    where
        N: Differentiable<E>,
    {
        let (rows, stepper) = (to.rows(), self.stepper());
        let step = span / steps as f64;
        let now = to.scratch(2 * rows);
        let [t, h] = [now.part(0, rows), now.part(rows, rows)];
        let begins = |index: usize| fill(t, start + step * index as f64);
        let (slopes, first) = stepper.slopes_in(to);
        let b = stepper.method.b;
        first.into_iter().chain([fill(h, step)]).for_each(|op| to.record(op));
        let mut starts = Vec::new();
        for index in 0..steps {
            if to.keeping() {
                let kept = to.keep(x.len);
                to.record(scaled_copy(kept, x, 1.0));
                starts.push(kept);
            }
            to.record(begins(index));
            let ops = stepper.slopes_ops(to, [x, now], slopes)?;
            ops.into_iter().for_each(|op| to.record(op));
            to.record(combine(x, Some(x), Some(h), slopes.x, b));
            to.record(combine(integral, Some(integral), Some(h), slopes.trace, b));
        }
        if starts.is_empty() {
            return Ok((Slot::NONE, Vec::new()));
        }
        let gradients = stepper.gradients_in(to);
        let mut ops = vec![fill(h, step)];
        for (index, start) in starts.into_iter().enumerate().rev() {
            ops.push(begins(index));
            ops.extend(stepper.product_ops(to, [start, now], gradients)?);
        }
        Ok((gradients.get(0), ops))
    }

    /// Records steps that each row chooses, as a loop, and likewise their product.
    fn record_adaptive<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [x, integral]: [Slot; 2],
        (start, span): (f64, f64),
        tolerance: f64,
    ) -> Result<(Slot, Vec<Op>)>
    where
        N: Differentiable<E>,
    {
        let (rows, stepper) = (to.rows(), self.stepper());
        let tolerance = tolerance_of::<E>(tolerance);
        let journey = Journey {
            start,
            span,
            first: first_step(span.abs(), tolerance),
            tolerance,
            least: shortest_step::<E>(span.abs()),
            most: MOST_STEPS,
        };
        let record = if to.keeping() { x.len + 2 * rows } else { 0 };
        let records = to.keep(to.room() * record);
        let counts = to.keep(rows);
        let at = Travellers {
            ways: to.scratch(rows * WAY),
            now: to.scratch(2 * rows),
            x,
            integral,
            next: to.scratch(2 * x.len),
            next_integral: to.scratch(2 * rows),
            records,
        };
        let (slopes, first) = stepper.slopes_in(to);
        let status = to.recording().frame(STATUS);
        let mut turn = stepper.slopes_ops(to, [x, at.now], slopes)?;
        let (h, method) = (Some(at.h()), stepper.method);
        for ((from, [next, error]), slopes) in
            [x, integral].into_iter().zip(at.leads()).zip([slopes.x, slopes.trace])
        {
            turn.push(combine(next, Some(from), h, slopes, method.b));
            turn.push(combine(error, None, h, slopes, method.error));
        }
        turn.extend([advance(at, journey), count_ways(status, at)]);
        let lost = self.lost();
        let turn = to.repeat(turn, status, move |failure| {
            let Failure { row, place: tried, value: reached } = failure;
            lost.error(row, tried, reached)
        });
        first.into_iter().chain([set_out(at, journey)]).chain(turn).for_each(|op| to.record(op));
        if !to.keeping() {
            return Ok((Slot::NONE, Vec::new()));
        }
        let (ways, none) = (Rows::new(at.ways, WAY), Rows::new(Slot::NONE, 0));
        let count = to.table([COUNT]);
        to.record(gather(rows, ways, none, count, counts));

        let gradients = stepper.gradients_in(to);
        let left = to.scratch(rows);
        let status = to.recording().frame(STATUS);
        let mut turn = vec![recall([x, at.now], records, left)];
        turn.extend(stepper.product_ops(to, [x, at.now], gradients)?);
        turn.push(count_back(status, left));
        let mut ops = vec![scaled_copy(left, counts, 1.0)];
        let endless = |_| FlowError::Device("steps without a first one".into());
        ops.extend(to.repeat(turn, status, endless));
        Ok((gradients.get(0), ops))
    }
}
