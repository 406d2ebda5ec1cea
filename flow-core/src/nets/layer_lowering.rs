//! A layer as kernels for a GPU: a matrix product, of gathered patches where it is a convolution.

use flow_cuda::kernels::net::Linear;
use flow_cuda::kernels::product::{add_product, product, Epilogue, Matrix};
use flow_cuda::kernels::rows::{
    accumulate, add_column_products, fill, gather, multiply, Rows, Vectors,
};
use flow_cuda::{Op, Slot};

use super::{Layer, Weights};
use crate::cuda::Lowering;
use crate::Scalar;

impl Layer {
    /// The matrix that it multiplies with.
    fn lowered<E: Scalar>(&self, to: &Lowering<E>, weights: &Weights) -> Matrix {
        let columns = self.map.inputs * self.map.window.taps();
        Matrix::new(weights.lowered(to, self.weight), self.map.outputs, columns)
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
        let ops = self.apply_lowered(to, weights, to.rows(), [input, output], epilogue);
        ops.into_iter().for_each(|op| to.record(op));
    }

    /// `output = W·input` of so many images, and what stands beside it.
    pub(in crate::nets) fn apply_lowered<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        images: usize,
        [input, output]: [Slot; 2],
        epilogue: Epilogue,
    ) -> Vec<Op> {
        let weight = self.lowered(to, weights).t();
        let mark = to.recording().mark();
        let (op, left) = self.patches(to, images, input);
        let mut ops: Vec<Op> = op.into_iter().collect();
        ops.push(product(output, left, weight, epilogue));
        to.recording().reuse(mark);
        ops
    }

    /// The patches of the input as a matrix, with what gathers them.
    fn patches<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        images: usize,
        input: Slot,
    ) -> (Option<Op>, Matrix) {
        let (window, inputs) = (self.map.window, self.map.inputs);
        let pixels = images * window.pixels();
        if window.kernel == 1 {
            return (None, Matrix::new(input, pixels, inputs));
        }
        let columns = inputs * window.taps();
        let places = self.places();
        let from = to.recording().table(places.iter().map(|&place| place as isize - 1));
        let patches = to.scratch(pixels * columns);
        let rows = Rows::new(input, self.inputs());
        let none = Rows::new(Slot::NONE, 0);
        (Some(gather(images, rows, none, from, patches)), Matrix::new(patches, pixels, columns))
    }

    /// For each entry of an image's patches its place in the image, counted from 1; 0 outside.
    fn places(&self) -> Vec<usize> {
        let window = self.map.window;
        let image: Vec<usize> = (1..=self.inputs()).collect();
        let mut patches = vec![0; window.pixels() * self.map.inputs * window.taps()];
        window.patches(&image, &mut patches);
        patches
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
        ops.extend(self.pull_lowered(to, weights, images, [by_output, by_input], factor));
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
        let (op, left) = self.patches(to, images, input);
        let pixels = images * self.map.window.pixels();
        let gradient = Matrix::new(by_output, pixels, self.map.outputs);
        let mut ops: Vec<Op> = op.into_iter().collect();
        ops.extend(add_product(to.recording(), by_weight, gradient.t(), left));
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
    ) -> Vec<Op> {
        let window = self.map.window;
        let weight = self.lowered(to, weights);
        let gradient = Matrix::new(by_output, images * window.pixels(), self.map.outputs);
        if window.kernel == 1 {
            let epilogue = Epilogue { factor, ..Epilogue::default() };
            return vec![product(by_input, gradient, weight, epilogue)];
        }
        // Each entry of an image gathers what its copies in the patches got.
        let mark = to.recording().mark();
        let width = window.pixels() * self.map.inputs * window.taps();
        let by_patches = to.scratch(images * width);
        let mut pairs: Vec<(usize, Vec<usize>)> =
            (0..self.inputs()).map(|entry| (entry, Vec::new())).collect();
        for (at, place) in self.places().into_iter().enumerate().filter(|&(_, place)| place > 0) {
            pairs[place - 1].1.push(at);
        }
        let (into, from) = (Rows::new(by_input, self.inputs()), Rows::new(by_patches, width));
        let mut ops = vec![
            product(by_patches, gradient, weight, Epilogue::default()),
            fill(by_input, 0.0),
            accumulate(to.recording(), images, into, from, &pairs),
        ];
        ops.extend(factor.map(|factor| multiply(by_input, factor)));
        to.recording().reuse(mark);
        ops
    }
}
