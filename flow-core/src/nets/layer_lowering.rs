//! A layer as kernels for a GPU: a matrix product, of gathered patches where it is a convolution.

use flow_cuda::kernels::net::Linear;
use flow_cuda::kernels::product::{add_product, product, Epilogue, Matrix};
use flow_cuda::kernels::rows::{add_column_products, fill, gather, multiply, Rows, Vectors};
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

    /// Pixels of all rows.
    fn pixels<E: Scalar>(&self, to: &Lowering<E>) -> usize {
        to.rows() * self.map.window.pixels()
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
        let weight = self.lowered(to, weights).t();
        let mark = to.recording().mark();
        let (op, left) = self.patches(to, input);
        op.into_iter().for_each(|op| to.record(op));
        let bias = Some(to.parameter(&self.bias));
        to.record(product(output, left, weight, Epilogue { bias, ..epilogue }));
        to.recording().reuse(mark);
    }

    /// The patches of the input as a matrix, with what gathers them.
    fn patches<E: Scalar>(&self, to: &mut Lowering<E>, input: Slot) -> (Option<Op>, Matrix) {
        let (window, inputs) = (self.map.window, self.map.inputs);
        let pixels = self.pixels(to);
        if window.kernel == 1 {
            return (None, Matrix::new(input, pixels, inputs));
        }
        let columns = inputs * window.taps();
        let places = self.places();
        let from = to.recording().table(places.iter().map(|&place| place as isize - 1));
        let patches = to.scratch(pixels * columns);
        let rows = Rows::new(input, self.inputs());
        let none = Rows::new(Slot::NONE, 0);
        (Some(gather(to.rows(), rows, none, from, patches)), Matrix::new(patches, pixels, columns))
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
        let mark = to.recording().mark();
        let ops = self.product_ops(to, weights, input, by_output, by_input, factor);
        to.recording().reuse(mark);
        ops
    }

    fn product_ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        input: Slot,
        by_output: Slot,
        by_input: Slot,
        factor: Option<Slot>,
    ) -> Vec<Op> {
        let (outputs, pixels) = (self.map.outputs, self.pixels(to));
        let by_weight = weights.lowered_gradient(to, self.weight);
        let by_bias = to.parameter_gradient(&self.bias);
        let weight = self.lowered(to, weights);
        let (op, left) = self.patches(to, input);
        let gradient = Matrix::new(by_output, pixels, outputs);
        let mut ops: Vec<Op> = op.into_iter().collect();
        ops.extend(add_product(to.recording(), by_weight, gradient.t(), left));
        let vectors = Vectors { count: pixels, features: outputs, pixels: 1 };
        let dense = Rows::new(by_output, outputs);
        ops.extend(add_column_products(to.recording(), by_bias, vectors, dense, None, None, 1.0));
        if self.map.window.kernel == 1 {
            ops.push(product(
                by_input,
                gradient,
                weight,
                Epilogue { factor, ..Epilogue::default() },
            ));
            return ops;
        }
        // Each entry of an image gathers what its copies in the patches got.
        let width = self.map.window.pixels() * self.map.inputs * self.map.window.taps();
        let by_patches = to.scratch(to.rows() * width);
        ops.push(product(by_patches, gradient, weight, Epilogue::default()));
        let mut pairs: Vec<(usize, Vec<usize>)> =
            (0..self.inputs()).map(|entry| (entry, Vec::new())).collect();
        for (at, place) in self.places().into_iter().enumerate().filter(|&(_, place)| place > 0) {
            pairs[place - 1].1.push(at);
        }
        ops.push(fill(by_input, 0.0));
        let into = Rows::new(by_input, self.inputs());
        ops.push(to.accumulate(into, Rows::new(by_patches, width), &pairs));
        if let Some(factor) = factor {
            ops.push(multiply(by_input, factor));
        }
        ops
    }
}
