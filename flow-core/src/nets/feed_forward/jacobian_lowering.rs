//! The Jacobian of a feed-forward net as kernels for a GPU.

use flow_cuda::kernels::product::Epilogue;
use flow_cuda::{Op, Slot};

use super::FeedForward;
use crate::cuda::Lowering;
use crate::nets::linearized::{Bend, Linearized, Pairs};
use crate::Scalar;

impl FeedForward {
    /// Records the net at a point.
    pub(super) fn record_at<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
    ) -> Linearized {
        let (last, hidden) = self.split();
        let function = self.activation.lowered();
        let (mut read, mut bends) = (vec![input], Vec::new());
        for layer in hidden {
            let len = to.rows() * layer.outputs();
            let (above, bend) = (to.keep(len), Bend::room(to, len));
            let below = read[read.len() - 1];
            if to.keeping() {
                let raw = to.scratch(len);
                layer.record(to, &self.weights, below, raw, Epilogue::default());
                bend.record(to, self.activation, [raw, above]);
            } else {
                let (function, slopes) = (Some(function), Some(bend.slopes));
                let bent = Epilogue { function, slopes, ..Epilogue::default() };
                layer.record(to, &self.weights, below, above, bent);
            }
            read.push(above);
            bends.push(bend);
        }
        last.record(to, &self.weights, read[read.len() - 1], output, Epilogue::default());
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
        let (last, images) = (self.layers.len() - 1, to.rows() * count);
        let (mut ops, mut below) = (Vec::new(), tangents);
        for (i, layer) in self.layers.iter().enumerate() {
            let above = if i == last { output } else { to.scratch(images * layer.outputs()) };
            let factor = at.bends.get(i).filter(|_| count == 1).map(|bend| bend.slopes);
            let plain = Epilogue { factor, ..Epilogue::default() };
            ops.push(layer.apply_lowered(to, &self.weights, images, [below, above], plain));
            if let (Some(bend), None) = (at.bends.get(i), factor) {
                ops.push(bend.apply(above, above, layer.outputs(), count));
            }
            below = above;
        }
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
        let images = to.rows() * count;
        let (mut ops, mut above) = (Vec::new(), cotangents);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (below, bend) = match i {
                0 => (input, None),
                _ => (to.scratch(images * layer.inputs()), Some(at.bends[i - 1])),
            };
            let factor = bend.filter(|_| count == 1).map(|bend| bend.slopes);
            ops.push(layer.pull_lowered(to, &self.weights, images, [above, below], factor));
            if let (Some(bend), None) = (bend, factor) {
                ops.push(bend.apply(below, below, layer.inputs(), count));
            }
            above = below;
        }
        to.recording().reuse(mark);
        ops
    }

    /// The gradient of `⟨by_output, output⟩ + Σ ⟨cotangent, J·tangent⟩`, as on the CPU: a layer's part
    /// in `⟨w, J v⟩` is linear in both, an activation's is `φ'(a)·ȧ`, whose gradient by a is `φ''(a)·ȧ`.
    pub(super) fn gradient_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Linearized,
        [by_output, by_input]: [Slot; 2],
        pairs: Option<Pairs>,
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let (weights, rows) = (&self.weights, to.rows());
        let (mut ops, mut read, mut raws) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(Pairs { count, tangents, .. }) = pairs {
            read.push(tangents);
            for (layer, bend) in self.layers.iter().zip(&at.bends) {
                let len = rows * count * layer.outputs();
                let [raw, above] = [to.scratch(len), to.scratch(len)];
                let below = read[read.len() - 1];
                let plain = Epilogue::default();
                ops.push(layer.apply_lowered(to, weights, rows * count, [below, raw], plain));
                ops.push(bend.apply(above, raw, layer.outputs(), count));
                raws.push(raw);
                read.push(above);
            }
        }
        let (mut by_value, mut by_tangent) = (by_output, pairs.map(|pairs| pairs.cotangents));
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let below = at.read[i];
            ops.extend(layer.weight_product(to, weights, rows, below, by_value));
            ops.extend(layer.bias_product(to, by_value));
            if let (Some(by_tangent), Some(Pairs { count, .. })) = (by_tangent, pairs) {
                let images = rows * count;
                ops.extend(layer.weight_product(to, weights, images, read[i], by_tangent));
            }
            if i == 0 {
                ops.push(layer.pull_lowered(to, weights, rows, [by_value, by_input], None));
                break;
            }
            let (width, bend) = (layer.inputs(), at.bends[i - 1]);
            let value_below = to.scratch(rows * width);
            let factor = Some(bend.slopes);
            ops.push(layer.pull_lowered(to, weights, rows, [by_value, value_below], factor));
            if let (Some(above), Some(Pairs { count, .. })) = (by_tangent, pairs) {
                let below = to.scratch(rows * count * width);
                ops.push(layer.pull_lowered(to, weights, rows * count, [above, below], None));
                ops.extend(bend.back([value_below, below], raws[i - 1], width, count));
                by_tangent = Some(below);
            }
            by_value = value_below;
        }
        to.recording().reuse(mark);
        ops
    }
}
