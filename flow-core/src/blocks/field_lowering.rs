//! A vector field as kernels for a GPU.

use flow_cuda::kernels::rows::{add_repeated, fill, gather, Rows};
use flow_cuda::{Op, Slot, Table};

use super::Field;
use crate::blocks::probe::Trace;
use crate::cuda::Lowering;
use crate::nets::{Differentiable, Linearized, Pairs};
use crate::{Result, Scalar};

/// Numbers of one kind that are worked on at once.
const AT_ONCE: usize = 1 << 22;

impl<N> Field<N> {
    /// Records what the net reads, of points and the context.
    fn input_ops<E: Scalar>(&self, to: &mut Lowering<E>, x: Slot) -> Slot {
        if self.beside() == 0 {
            return x;
        }
        let (each, features) = (self.each(), self.shape.features());
        let numbers = (0..each * self.shape.pixels()).map(|i| match i % each {
            k if k < features => (i / each * features + k) as isize,
            k => -2 - (k - features) as isize,
        });
        let from = to.recording().table(numbers);
        let input = to.keep(to.rows() * from.len);
        let x = Rows::new(x, self.size());
        to.record(gather(to.rows(), x, to.context(), from, input));
        input
    }

    /// Which entry of a row each number is that the net reads where there is a time: -1 for that, and
    /// -2 - c for number c of the context.
    pub(in crate::blocks) fn entries_in_time<E: Scalar>(&self, to: &mut Lowering<E>) -> Table {
        let (each, features) = (self.each(), self.shape.features());
        let numbers = (0..each * self.shape.pixels()).map(|i| match i % each {
            k if k < features => (i / each * features + k) as isize,
            k if k == features + self.context => -1,
            k => -2 - (k - features) as isize,
        });
        to.recording().table(numbers)
    }

    /// Records the field at what its net reads, with what its Jacobian needs.
    pub(in crate::blocks) fn record_in_time<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        places: [Slot; 2],
    ) -> Result<Linearized>
    where
        N: Differentiable<E>,
    {
        self.net.lower_at(to, places)
    }

    /// Vectors as long as a sample as the net reads them, with zeros beside the features.
    fn widened<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        count: usize,
        from: Slot,
    ) -> (Vec<Op>, Slot) {
        if self.beside() == 0 {
            return (Vec::new(), from);
        }
        let (each, features) = (self.each(), self.shape.features());
        let numbers = (0..each * self.shape.pixels()).map(|i| match i % each {
            k if k < features => (i / each * features + k) as isize,
            _ => -1,
        });
        let table = to.recording().table(numbers);
        let rows = to.rows() * count;
        let wide = to.scratch(rows * table.len);
        let none = Rows::new(Slot::NONE, 0);
        (vec![gather(rows, Rows::new(from, self.size()), none, table, wide)], wide)
    }

    /// Room for what the net reads of `count` vectors a row, which is `narrow` itself where it reads
    /// nothing else.
    fn wide<E: Scalar>(&self, to: &mut Lowering<E>, count: usize, narrow: Slot) -> Slot {
        if self.beside() == 0 {
            return narrow;
        }
        to.scratch(to.rows() * count * self.each() * self.shape.pixels())
    }

    /// The part of what the net reads that is the sample.
    fn narrowed<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        count: usize,
        wide: Slot,
        into: Slot,
    ) -> Vec<Op> {
        if self.beside() == 0 {
            return Vec::new();
        }
        let (each, features) = (self.each(), self.shape.features());
        let table = to.table((0..self.size()).map(|i| i / features * each + i % features));
        let none = Rows::new(Slot::NONE, 0);
        let wide = Rows::new(wide, each * self.shape.pixels());
        vec![gather(to.rows() * count, wide, none, table, into)]
    }

    /// Adds what a gradient by the net's input says of the context.
    fn context_product<E: Scalar>(&self, to: &mut Lowering<E>, wide: Slot) -> Vec<Op> {
        if self.context == 0 {
            return Vec::new();
        }
        let (each, features) = (self.each(), self.shape.features());
        let places = |c| (0..self.shape.pixels()).map(|p| p * each + features + c).collect();
        let pairs: Vec<(usize, Vec<usize>)> = (0..self.context).map(|c| (c, places(c))).collect();
        let wide = Rows::new(wide, each * self.shape.pixels());
        vec![to.accumulate(to.context_gradient(), wide, &pairs)]
    }

    /// Records the field at points, without anything kept.
    pub(in crate::blocks) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [x, output]: [Slot; 2],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let input = self.input_ops(to, x);
        self.net.lower(to, [input, output], [Slot::NONE; 2]).map(drop)
    }

    /// Records the field at points, with what its Jacobian needs.
    pub(in crate::blocks) fn record_at<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [x, output]: [Slot; 2],
    ) -> Result<Linearized>
    where
        N: Differentiable<E>,
    {
        let input = self.input_ops(to, x);
        self.net.lower_at(to, [input, output])
    }

    /// `output = J·tangent` for `count` tangents of each row.
    pub(in crate::blocks) fn push_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        count: usize,
        [tangents, output]: [Slot; 2],
    ) -> Vec<Op>
    where
        N: Differentiable<E>,
    {
        let mark = to.recording().mark();
        let (mut ops, wide) = self.widened(to, count, tangents);
        ops.extend(self.net.lower_push(to, at, count, [wide, output]));
        to.recording().reuse(mark);
        ops
    }

    /// `output = Jᵀ·cotangent` for `count` cotangents of each row.
    pub(in crate::blocks) fn pull_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        count: usize,
        [cotangents, output]: [Slot; 2],
    ) -> Vec<Op>
    where
        N: Differentiable<E>,
    {
        let mark = to.recording().mark();
        let wide = self.wide(to, count, output);
        let mut ops = self.net.lower_pull(to, at, count, [cotangents, wide]);
        ops.extend(self.narrowed(to, count, wide, output));
        to.recording().reuse(mark);
        ops
    }

    /// The gradient of `⟨by_output, field(x)⟩ + Σ ⟨cotangent, J·tangent⟩`, or of the former alone:
    /// overwrites `by_x`, and adds those of parameters and context.
    pub(in crate::blocks) fn gradient_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        [by_output, by_x]: [Slot; 2],
        pairs: Option<Pairs>,
    ) -> Vec<Op>
    where
        N: Differentiable<E>,
    {
        let mark = to.recording().mark();
        let mut ops = Vec::new();
        let pairs = pairs.map(|pairs| {
            let (widened, tangents) = self.widened(to, pairs.count, pairs.tangents);
            ops.extend(widened);
            Pairs { tangents, ..pairs }
        });
        let wide = self.wide(to, 1, by_x);
        ops.extend(self.net.lower_gradient(to, at, [by_output, wide], pairs));
        ops.extend(self.narrowed(to, 1, wide, by_x));
        ops.extend(self.context_product(to, wide));
        to.recording().reuse(mark);
        ops
    }

    /// As [`gradient_ops`](Self::gradient_ops) with the probes of a trace as tangents, chunk by chunk;
    /// `cotangents(to, first, probes, into)` makes what belongs to them.
    pub(in crate::blocks) fn gradient_ops_in_chunks<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        trace: Trace,
        [by_output, by_x]: [Slot; 2],
        mut cotangents: impl FnMut(&mut Lowering<E>, usize, [Slot; 2]) -> Vec<Op>,
    ) -> Vec<Op>
    where
        N: Differentiable<E>,
    {
        let mark = to.recording().mark();
        let (rows, size) = (to.rows(), self.size());
        let [zeros, part] = [to.scratch(rows * size), to.scratch(rows * size)];
        let mut ops = vec![fill(by_x, 0.0), fill(zeros, 0.0)];
        for (first, count) in self.chunks(trace, rows) {
            let mark = to.recording().mark();
            let [tangents, own] = [0; 2].map(|_| to.scratch(rows * count * size));
            ops.push(self.probes(to, trace, first, tangents));
            ops.extend(cotangents(to, first, [tangents, own]));
            let by_output = if first == 0 { by_output } else { zeros };
            let pairs = Some(Pairs { count, tangents, cotangents: own });
            ops.extend(self.gradient_ops(to, at, [by_output, part], pairs));
            ops.push(add_repeated(by_x, part, 1.0));
            to.recording().reuse(mark);
        }
        to.recording().reuse(mark);
        ops
    }

    /// The first and the number of the vectors that a trace takes at once.
    pub(in crate::blocks) fn chunks(
        &self,
        trace: Trace,
        rows: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let size = self.size();
        let (all, each) = match trace {
            Trace::Exact => (size, (AT_ONCE / (rows * size)).clamp(1, size)),
            Trace::Hutchinson => (1, 1),
        };
        (0..all).step_by(each).map(move |first| (first, each.min(all - first)))
    }

    /// The vectors of a trace from the first of a chunk on.
    pub(in crate::blocks) fn probes<E: Scalar>(
        &self,
        to: &Lowering<E>,
        trace: Trace,
        first: usize,
        into: Slot,
    ) -> Op {
        let count = into.len / (to.rows() * self.size());
        match trace {
            Trace::Exact => {
                flow_cuda::kernels::tangents::unit_vectors(into, self.size(), first, count)
            }
            Trace::Hutchinson => to.signs(into),
        }
    }
}
