//! The Jacobian of a residual net as kernels for a GPU.

use flow_cuda::kernels::product::Epilogue;
use flow_cuda::kernels::rows::add_repeated;
use flow_cuda::{Op, Slot};

use super::ResNet;
use crate::cuda::Lowering;
use crate::nets::linearized::{Bend, Linearized, Pairs};
use crate::Scalar;

/// What the layers of a block read of tangents, and what its activations did.
struct Tangents {
    read: [Slot; 2],
    raw: [Slot; 2],
}

impl ResNet {
    /// Records the net at a point. What layers read: the first, the two of each block, the last.
    pub(super) fn record_at<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
    ) -> Linearized {
        let (weights, none) = (&self.weights, Epilogue::default());
        let len = to.rows() * self.initial.outputs();
        let sum = to.keep(len);
        self.initial.record(to, weights, input, sum, none);
        let (mut read, mut bends) = (vec![input], Vec::new());
        for block in &self.blocks {
            let [outer, inner] = [0; 2].map(|_| to.keep(len));
            let [first, second] = [0; 2].map(|_| Bend::room(to, len));
            let [raw, branch] = [0; 2].map(|_| to.scratch(len));
            first.record(to, self.activation, [sum, outer]);
            block.first.record(to, weights, outer, raw, none);
            second.record(to, self.activation, [raw, inner]);
            block.second.record(to, weights, inner, branch, none);
            to.record(add_repeated(sum, branch, 1.0));
            read.extend([outer, inner]);
            bends.extend([first, second]);
        }
        self.last.record(to, weights, sum, output, none);
        read.push(sum);
        Linearized { read, bends }
    }

    /// `output = J·tangent` for `count` tangents of each row.
    pub(super) fn push_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        count: usize,
        [tangents, output]: [Slot; 2],
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let (weights, width, none) = (&self.weights, self.initial.outputs(), Epilogue::default());
        let images = to.rows() * count;
        let [sum, outer, inner] = [0; 3].map(|_| to.scratch(images * width));
        let mut ops = vec![self.initial.apply_lowered(to, weights, images, [tangents, sum], none)];
        for (block, bends) in self.blocks.iter().zip(at.bends.chunks_exact(2)) {
            ops.push(bends[0].apply(outer, sum, width, count));
            ops.push(block.first.apply_lowered(to, weights, images, [outer, inner], none));
            ops.push(bends[1].apply(inner, inner, width, count));
            ops.push(block.second.apply_lowered(to, weights, images, [inner, outer], none));
            ops.push(add_repeated(sum, outer, 1.0));
        }
        ops.push(self.last.apply_lowered(to, weights, images, [sum, output], none));
        to.recording().reuse(mark);
        ops
    }

    /// `input = Jᵀ·cotangent` for `count` cotangents of each row.
    pub(super) fn pull_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        count: usize,
        [cotangents, input]: [Slot; 2],
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let (weights, width) = (&self.weights, self.initial.outputs());
        let images = to.rows() * count;
        let [sum, outer, inner] = [0; 3].map(|_| to.scratch(images * width));
        let mut ops = vec![self.last.pull_lowered(to, weights, images, [cotangents, sum], None)];
        for (block, bends) in self.blocks.iter().zip(at.bends.chunks_exact(2)).rev() {
            ops.push(block.second.pull_lowered(to, weights, images, [sum, inner], None));
            ops.push(bends[1].apply(inner, inner, width, count));
            ops.push(block.first.pull_lowered(to, weights, images, [inner, outer], None));
            ops.push(bends[0].apply(outer, outer, width, count));
            ops.push(add_repeated(sum, outer, 1.0));
        }
        ops.push(self.initial.pull_lowered(to, weights, images, [sum, input], None));
        to.recording().reuse(mark);
        ops
    }

    /// The gradient of `⟨by_output, output⟩ + Σ ⟨cotangent, J·tangent⟩`, as on the CPU.
    pub(super) fn gradient_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        [by_output, by_input]: [Slot; 2],
        pairs: Option<Pairs>,
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let (weights, rows, width) = (&self.weights, to.rows(), self.initial.outputs());
        let (last, at_last) = (&self.last, at.read[at.read.len() - 1]);
        let (mut ops, mut pushed, mut end) = (Vec::new(), Vec::new(), Slot::NONE);
        if let Some(Pairs { count, tangents, .. }) = pairs {
            (ops, pushed, end) = self.push_keeping_ops(to, at, count, tangents);
        }
        let by_value = to.scratch(rows * width);
        ops.extend(last.weight_product(to, weights, rows, at_last, by_output));
        ops.extend(last.bias_product(to, by_output));
        ops.push(last.pull_lowered(to, weights, rows, [by_output, by_value], None));
        let count = pairs.map_or(0, |pairs| pairs.count);
        let images = rows * count;
        let by_tangent = to.scratch(images * width);
        if let Some(Pairs { cotangents, .. }) = pairs {
            ops.extend(last.weight_product(to, weights, images, end, cotangents));
            ops.push(last.pull_lowered(to, weights, images, [cotangents, by_tangent], None));
        }
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let mark = to.recording().mark();
            let (mut value, mut tangent) = (by_value, by_tangent);
            for (j, layer) in [&block.first, &block.second].into_iter().enumerate().rev() {
                let (read, bend) = (at.read[1 + 2 * i + j], at.bends[2 * i + j]);
                ops.extend(layer.weight_product(to, weights, rows, read, value));
                ops.extend(layer.bias_product(to, value));
                let below = to.scratch(rows * width);
                let factor = Some(bend.slopes);
                ops.push(layer.pull_lowered(to, weights, rows, [value, below], factor));
                if let Some(Tangents { read, raw }) = pushed.get(i) {
                    ops.extend(layer.weight_product(to, weights, images, read[j], tangent));
                    let moved = to.scratch(images * width);
                    ops.push(layer.pull_lowered(to, weights, images, [tangent, moved], None));
                    ops.extend(bend.back([below, moved], raw[j], width, count));
                    tangent = moved;
                }
                value = below;
            }
            ops.push(add_repeated(by_value, value, 1.0));
            if pairs.is_some() {
                ops.push(add_repeated(by_tangent, tangent, 1.0));
            }
            to.recording().reuse(mark);
        }
        let first = &self.initial;
        ops.extend(first.weight_product(to, weights, rows, at.read[0], by_value));
        ops.extend(first.bias_product(to, by_value));
        if let Some(Pairs { tangents, .. }) = pairs {
            ops.extend(first.weight_product(to, weights, images, tangents, by_tangent));
        }
        ops.push(first.pull_lowered(to, weights, rows, [by_value, by_input], None));
        to.recording().reuse(mark);
        ops
    }

    /// Pushes tangents through all blocks, keeping what layers read and activations made of, and what
    /// the last layer reads.
    fn push_keeping_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        count: usize,
        tangents: Slot,
    ) -> (Vec<Op>, Vec<Tangents>, Slot) {
        let (weights, width, none) = (&self.weights, self.initial.outputs(), Epilogue::default());
        let images = to.rows() * count;
        let mut sum = to.scratch(images * width);
        let mut ops = vec![self.initial.apply_lowered(to, weights, images, [tangents, sum], none)];
        let mut pushed = Vec::new();
        for (block, bends) in self.blocks.iter().zip(at.bends.chunks_exact(2)) {
            let [outer, raw, inner, after] = [0; 4].map(|_| to.scratch(images * width));
            ops.push(bends[0].apply(outer, sum, width, count));
            ops.push(block.first.apply_lowered(to, weights, images, [outer, raw], none));
            ops.push(bends[1].apply(inner, raw, width, count));
            ops.push(block.second.apply_lowered(to, weights, images, [inner, after], none));
            ops.push(add_repeated(after, sum, 1.0));
            pushed.push(Tangents { read: [outer, inner], raw: [sum, raw] });
            sum = after;
        }
        (ops, pushed, sum)
    }
}
