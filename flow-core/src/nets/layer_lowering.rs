//! A layer as kernels for a GPU: a matrix product, or a convolution.

use flow_cuda::kernels::convolution::Convolution;
use flow_cuda::kernels::net::Linear;
use flow_cuda::kernels::product::{add_product, product, Epilogue, Matrix};
use flow_cuda::kernels::rows::{add_column_products, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::{Layer, Weights};
use crate::cuda::Lowering;
use crate::Scalar;

impl Layer {
    /// The matrix that it multiplies with, where it looks at one pixel at a time.
    fn matrix_lowered(&self, weight: Slot) -> Matrix {
        Matrix::new(weight, self.map.outputs, self.map.inputs)
    }

    /// What it is of so many images, where it looks at more than one pixel.
    fn convolution(&self, images: usize) -> Option<Convolution> {
        let (window, inputs, outputs) = (self.map.window, self.map.inputs, self.map.outputs);
        let (side, height, width) = (window.kernel, window.height, window.width);
        let convolution = Convolution { images, height, width, side, inputs, outputs };
        (side > 1).then_some(convolution)
    }

    /// A layer of vectors, for a kernel of whole nets.
    pub(in crate::nets) fn linear<E: Scalar>(
        &self,
        to: &Lowering<E>,
        weights: &Weights,
    ) -> Option<Linear> {
        let (weight, bias) = (weights.lowered(to, self.weight), to.parameter(&self.bias));
        let (inputs, outputs) = (self.map.inputs, self.map.outputs);
        (!self.map.image).then_some(Linear { weight, bias, inputs, outputs })
    }

    /// `output = f(W·input + bias)`.
    pub(in crate::nets) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        input: Slot,
        output: Slot,
        epilogue: Epilogue,
    ) {
        let epilogue = Epilogue { bias: Some(to.parameter(&self.bias)), ..epilogue };
        let op = self.apply_lowered(to, weights, to.rows(), [input, output], epilogue);
        to.record(op);
    }

    /// `output = W·input` of so many images, and what stands beside it.
    pub(in crate::nets) fn apply_lowered<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        images: usize,
        [input, output]: [Slot; 2],
        epilogue: Epilogue,
    ) -> Op {
        let weight = weights.lowered(to, self.weight);
        if let Some(convolution) = self.convolution(images) {
            return convolution.forward(output, input, weight, epilogue);
        }
        let left = Matrix::new(input, images * self.map.window.pixels(), self.map.inputs);
        product(output, left, self.matrix_lowered(weight).t(), epilogue)
    }

    /// The product of [`record`](Self::record) without the function, from the gradient by the output:
    /// adds that by weight and bias and writes that by the input, times `factor` number by number.
    pub(in crate::nets) fn product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        input: Slot,
        by_output: Slot,
        by_input: Slot,
        factor: Option<Slot>,
    ) -> Vec<Op> {
        let images = to.rows();
        let mut ops = self.weight_product(to, weights, images, input, by_output);
        ops.extend(self.bias_product(to, by_output));
        ops.push(self.pull_lowered(to, weights, images, [by_output, by_input], factor));
        ops
    }

    /// Adds the gradient by the weight.
    pub(in crate::nets) fn weight_product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        images: usize,
        input: Slot,
        by_output: Slot,
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let by_weight = weights.lowered_gradient(to, self.weight);
        let ops = if let Some(convolution) = self.convolution(images) {
            convolution.add_by_weight(to.recording(), by_weight, by_output, input)
        } else {
            let pixels = images * self.map.window.pixels();
            let left = Matrix::new(by_output, pixels, self.map.outputs).t();
            add_product(
                to.recording(),
                by_weight,
                left,
                Matrix::new(input, pixels, self.map.inputs),
            )
        };
        to.recording().reuse(mark);
        ops
    }

    /// Adds the gradient by the bias.
    pub(in crate::nets) fn bias_product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        by_output: Slot,
    ) -> Vec<Op> {
        let mark = to.recording().mark();
        let by_bias = to.parameter_gradient(&self.bias);
        let (features, pixels) = (self.map.outputs, to.rows() * self.map.window.pixels());
        let vectors = Vectors { count: pixels, features, pixels: 1 };
        let dense = Rows::new(by_output, features);
        let ops = add_column_products(to.recording(), by_bias, vectors, dense, None, None, 1.0);
        to.recording().reuse(mark);
        ops
    }

    /// `input = Wᵀ·output` of so many images, times `factor` number by number.
    pub(in crate::nets) fn pull_lowered<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        images: usize,
        [by_output, by_input]: [Slot; 2],
        factor: Option<Slot>,
    ) -> Op {
        let weight = weights.lowered(to, self.weight);
        if let Some(convolution) = self.convolution(images) {
            return convolution.by_input(by_input, by_output, weight, factor);
        }
        let left = Matrix::new(by_output, images * self.map.window.pixels(), self.map.outputs);
        let epilogue = Epilogue { factor, ..Epilogue::default() };
        product(by_input, left, self.matrix_lowered(weight), epilogue)
    }
}
