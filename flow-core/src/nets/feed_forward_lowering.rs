//! A feed-forward net as kernels for a GPU.

use flow_cuda::kernels::net::{Kept, Net};
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
        if let Some(net) = self.whole(to) {
            return Ok(record_whole(to, &net, [input, output], [by_output, by_input]));
        }
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

    /// All layers as one, where they are narrow enough for a kernel of whole nets.
    fn whole<E: Scalar>(&self, to: &mut Lowering<E>) -> Option<Net> {
        let layers = self.layers.iter().map(|layer| layer.linear(to, &self.weights));
        let layers = layers.collect::<Option<Vec<_>>>()?;
        let rows = to.rows();
        Net::new(to.recording(), layers, self.activation.lowered(), rows)
    }
}

/// Records a whole net, and returns its product.
fn record_whole<E: Scalar>(
    to: &mut Lowering<E>,
    net: &Net,
    [input, output]: [Slot; 2],
    [by_output, by_input]: [Slot; 2],
) -> Vec<Op> {
    if !to.keeping() {
        to.record(net.forward(input, output, None));
        return Vec::new();
    }
    let [values, slopes] = [0; 2].map(|_| to.keep(net.hidden()));
    let kept = Kept { values, slopes };
    to.record(net.forward(input, output, Some(kept)));
    net.backward(to.recording(), [input, by_input], by_output, kept).to_vec()
}
