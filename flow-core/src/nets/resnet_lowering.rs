//! A residual net as kernels for a GPU.

use flow_cuda::kernels::product::Epilogue;
use flow_cuda::kernels::rows::{add_repeated, bend, scaled_copy};
use flow_cuda::{Op, Slot};

use super::ResNet;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl ResNet {
    /// Records the net, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
        [by_output, by_input]: [Slot; 2],
    ) -> Result<Vec<Op>> {
        let weights = &self.weights;
        let function = self.activation.lowered();
        let len = to.rows() * self.initial.outputs();
        let none = Epilogue::default();
        let sum = to.keep(len);
        self.initial.record(to, weights, input, sum, none);
        let mut kept = Vec::new();
        for block in &self.blocks {
            let [outer, inner] = [to.keep(len), to.keep(len)];
            let slopes = [0; 2].map(|_| to.keeping().then(|| to.keep(len)));
            to.record(bend(outer, sum, function, slopes[0]));
            let bent = Epilogue { function: Some(function), slopes: slopes[1], ..none };
            block.first.record(to, weights, outer, inner, bent);
            let branch = to.scratch(len);
            block.second.record(to, weights, inner, branch, none);
            let gated = block.attention.as_ref().map(|gates| gates.record(to, weights, branch));
            to.record(add_repeated(sum, branch, 1.0));
            kept.push((outer, inner, slopes, gated));
        }
        self.last.record(to, weights, sum, output, none);
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let [gradient, branch, below] = [0; 3].map(|_| to.scratch(len));
        let mut ops = self.last.product(to, weights, sum, by_output, gradient, None);
        for (block, (outer, inner, slopes, gated)) in self.blocks.iter().zip(kept).rev() {
            ops.push(scaled_copy(branch, gradient, 1.0));
            if let (Some(gates), Some(gated)) = (&block.attention, gated) {
                ops.extend(gates.product(to, weights, gated, branch));
            }
            ops.extend(block.second.product(to, weights, inner, branch, below, slopes[1]));
            ops.extend(block.first.product(to, weights, outer, below, branch, slopes[0]));
            ops.push(add_repeated(gradient, branch, 1.0));
        }
        ops.extend(self.initial.product(to, weights, input, gradient, by_input, None));
        Ok(ops)
    }
}
