//! A feed-forward net as kernels for a GPU.

use flow_cuda::kernels::product::{Epilogue, Function};
use flow_cuda::{Op, Slot};

use super::FeedForward;
use crate::cuda::Lowering;
use crate::nets::Activation;
use crate::{Result, Scalar};

impl Activation {
    /// The kernel's name of it.
    pub(crate) fn lowered(self) -> Function {
        match self {
            Self::Relu => Function::Relu,
            Self::Elu => Function::Elu,
            Self::LeakyRelu => Function::LeakyRelu,
            Self::Tanh => Function::Tanh,
            Self::Swish => Function::Swish,
            Self::Gelu => Function::Gelu,
            Self::Softplus => Function::Softplus,
        }
    }
}

impl FeedForward {
    /// Records the net, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
        [by_output, by_input]: [Slot; 2],
    ) -> Result<Vec<Op>> {
        let (last, hidden) = self.split();
        let mut below = vec![input];
        let mut slopes = Vec::new();
        for layer in hidden {
            let len = to.rows() * layer.outputs();
            let above = to.keep(len);
            let slope = to.keeping().then(|| to.keep(len));
            let function = Some(self.activation.lowered());
            let epilogue = Epilogue { function, slopes: slope, ..Epilogue::default() };
            layer.record(to, &self.weights, below[below.len() - 1], above, epilogue);
            below.push(above);
            slopes.extend(slope);
        }
        last.record(to, &self.weights, below[below.len() - 1], output, Epilogue::default());
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let mut ops = Vec::new();
        let mut gradient = by_output;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (by_below, factor) = match i {
                0 => (by_input, None),
                _ => (to.scratch(to.rows() * layer.inputs()), Some(slopes[i - 1])),
            };
            let weights = &self.weights;
            ops.extend(layer.product(to, weights, below[i], gradient, by_below, factor));
            gradient = by_below;
        }
        Ok(ops)
    }
}
