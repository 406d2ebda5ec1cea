//! Steps of a Runge-Kutta method as kernels for a GPU.

use flow_cuda::kernels::rows::{fill, Rows};
use flow_cuda::kernels::steps::{combine, stage, Stack};
use flow_cuda::kernels::tangents::{add_trace, scale_rows, Terms};
use flow_cuda::{Op, Slot};

use super::Stepper;
use crate::cuda::Lowering;
use crate::nets::{Differentiable, Linearized};
use crate::{Result, Scalar};

/// Where the slopes of a step stand: of x, and of the integrated trace.
#[derive(Clone, Copy)]
pub(in crate::blocks) struct LoweredSlopes {
    pub(in crate::blocks) x: Stack,
    pub(in crate::blocks) trace: Stack,
    /// A trace is the first term of a series, which every row has.
    terms: Terms,
}

impl<N> Stepper<'_, N> {
    /// Room for the slopes of a step, and what is recorded once for all steps.
    pub(in crate::blocks) fn slopes_in<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
    ) -> (LoweredSlopes, [Op; 2]) {
        let (rows, stages) = (to.rows(), self.method.a.len());
        let x = Stack::new(to.recording(), stages, rows * self.field.size());
        let trace = Stack::new(to.recording(), stages, rows);
        let [number, counts] = [to.scratch(1), to.scratch(rows)];
        let terms = Terms { number, counts, exact: 1, per_term: 1.0 };
        (LoweredSlopes { x, trace, terms }, [fill(number, 1.0), fill(counts, 1.0)])
    }

    /// The field at a stage, from the slopes of those before, with what its Jacobian needs.
    fn stage_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        index: usize,
        [x, now]: [Slot; 2],
        slopes: Stack,
        (output, keeping): (Slot, bool),
    ) -> Result<(Linearized, Vec<Op>)>
    where
        N: Differentiable<E>,
    {
        let from = self.field.entries_in_time(to);
        let input = to.scratch(to.rows() * from.len);
        let (x, now) = (Rows::new(x, self.field.size()), Rows::new(now, 1));
        let shares = (self.method.c[index], self.method.a[index]);
        let mut ops = vec![stage(input, x, slopes, [to.context(), now], from, shares)];
        let (at, net) = to.aside(keeping, |to| self.field.record_in_time(to, [input, output]))?;
        ops.extend(net);
        Ok((at, ops))
    }

    /// The slopes of a step of each row from x at the times and by the lengths in `now`.
    pub(in crate::blocks) fn slopes_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        places: [Slot; 2],
        slopes: LoweredSlopes,
    ) -> Result<Vec<Op>>
    where
        N: Differentiable<E>,
    {
        let (rows, size) = (to.rows(), self.field.size());
        let mut ops = Vec::new();
        for index in 0..self.method.a.len() {
            let mark = to.recording().mark();
            let output = (slopes.x.get(index), false);
            let (at, stage) = self.stage_ops(to, index, places, slopes.x, output)?;
            ops.extend(stage);
            let trace = slopes.trace.get(index);
            ops.push(fill(trace, 0.0));
            for (first, count) in self.field.chunks(self.trace, rows) {
                let mark = to.recording().mark();
                let [probes, pushed] = [0; 2].map(|_| to.scratch(rows * count * size));
                ops.push(self.field.probes(to, self.trace, first, probes));
                ops.extend(self.field.push_ops(to, &at, count, [probes, pushed]));
                ops.push(add_trace(trace, probes, pushed, slopes.terms, 1.0));
                to.recording().reuse(mark);
            }
            to.recording().reuse(mark);
        }
        Ok(ops)
    }

    /// Room for the gradients of a step: the first is that by its end, which
    /// [`product_ops`](Self::product_ops) makes that by its start.
    pub(in crate::blocks) fn gradients_in<E: Scalar>(&self, to: &mut Lowering<E>) -> Stack {
        let len = to.rows() * self.field.size();
        Stack::new(to.recording(), 1 + self.method.b.len(), len)
    }

    /// The product of a step. Stages are computed once more, and all are kept until it is done.
    pub(in crate::blocks) fn product_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [x, now]: [Slot; 2],
        gradients: Stack,
    ) -> Result<Vec<Op>>
    where
        N: Differentiable<E>,
    {
        let mark = to.recording().mark();
        let (rows, by_trace) = (to.rows(), Stack::of(to.by_log_det()));
        let (b, h) = (self.method.b, Some(now.part(rows, rows)));
        let slopes = Stack::new(to.recording(), b.len(), gradients.len);
        let (mut ops, mut stages) = (Vec::new(), Vec::new());
        for index in 0..b.len() {
            let output = (slopes.get(index), true);
            let (at, stage) = self.stage_ops(to, index, [x, now], slopes, output)?;
            ops.extend(stage);
            stages.push(at);
        }
        // The gradients by the stages' places, the last stage first: later stages stand on its slope.
        for (index, at) in stages.iter().enumerate().rev() {
            let mark = to.recording().mark();
            let later = self.method.a[..b.len()].iter();
            let later = later.map(|row| row.get(index).copied().unwrap_or(0.0));
            let weights: Vec<f64> = [b[index]].into_iter().chain(later).collect();
            let by_slope = to.scratch(gradients.len);
            ops.push(combine(by_slope, None, h, gradients, &weights));
            let places = [by_slope, gradients.get(1 + index)];
            if b[index] == 0.0 {
                ops.extend(self.field.gradient_ops(to, at, places, None));
            } else {
                let scale = to.scratch(rows);
                ops.push(combine(scale, None, h, by_trace, &b[index..=index]));
                let trace = self.trace;
                ops.extend(self.field.gradient_ops_in_chunks(
                    to,
                    at,
                    trace,
                    places,
                    |_, _, [probes, into]| vec![scale_rows(into, probes, scale)],
                ));
            }
            to.recording().reuse(mark);
        }
        let by_end = gradients.get(0);
        ops.push(combine(by_end, Some(by_end), None, gradients.rest(1), &vec![1.0; b.len()]));
        to.recording().reuse(mark);
        Ok(ops)
    }
}
