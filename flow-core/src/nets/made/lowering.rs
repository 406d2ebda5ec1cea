//! A masked net as kernels for a GPU: all of it at once, as data to latent needs it.

use flow_cuda::kernels::product::{add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{add_column_products, fill, gather, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::{Level, Made};
use crate::cuda::Lowering;
use crate::Scalar;

impl Made {
    /// What it reads, by its own order: the context's entries as `-2 - c`, then the features'.
    pub(crate) fn inputs_from(&self, entries: &[usize]) -> Vec<isize> {
        let context = (0..self.context).map(|c| -2 - c as isize);
        context.chain(entries.iter().map(|&entry| entry as isize)).collect()
    }

    /// Numbers of a row of its output, feature by feature.
    pub(crate) fn width(&self) -> usize {
        self.features * self.each
    }

    /// Records the net from rows of inputs to rows of outputs, and returns its product.
    pub(crate) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
        [by_output, by_input]: [Slot; 2],
    ) -> Vec<Op> {
        let (mut below, mut slopes) = (vec![input], Vec::new());
        let (_, hidden) = self.split();
        for (i, level) in self.levels.iter().enumerate() {
            let len = to.rows() * level.above.len();
            let last = i == hidden.len();
            let above = if last { output } else { to.keep(len) };
            let slope = (!last && to.keeping()).then(|| to.keep(len));
            let function = if last { Function::Identity } else { self.activation.lowered() };
            let bias = self.sorted_bias(to, level);
            let epilogue = Epilogue {
                bias: Some(bias),
                function: Some(function),
                slopes: slope,
                ..Epilogue::default()
            };
            let input = Matrix::new(below[i], to.rows(), level.below.len());
            let weight = self.matrix(to, level);
            to.record(product(above, input, weight.t(), epilogue));
            below.push(above);
            slopes.extend(slope);
        }
        if !to.keeping() {
            return Vec::new();
        }
        let (mut ops, mut gradient) = (Vec::new(), by_output);
        for (i, level) in self.levels.iter().enumerate().rev() {
            let (rows, width) = (to.rows(), level.above.len());
            let g = Matrix::new(gradient, rows, width);
            let by_weight = self.weights.lowered_gradient(to, level.layer.weight());
            let read = Matrix::new(below[i], rows, level.below.len());
            ops.extend(add_product(to.recording(), by_weight, g.t(), read));
            ops.extend(self.bias_product(to, level, gradient));
            let (by_below, factor) = match i {
                0 => (by_input, None),
                _ => (to.scratch(rows * level.below.len()), Some(slopes[i - 1])),
            };
            let weight = self.matrix(to, level);
            ops.push(product(by_below, g, weight, Epilogue { factor, ..Epilogue::default() }));
            gradient = by_below;
        }
        ops
    }

    /// Records how its matrices come of what is trained.
    pub(crate) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        self.weights.lower_weights(to);
    }

    /// A layer's matrix, masked and sorted.
    pub(super) fn matrix<E: Scalar>(&self, to: &Lowering<E>, level: &Level) -> Matrix {
        let weight = self.weights.lowered(to, level.layer.weight());
        Matrix::new(weight, level.above.len(), level.below.len())
    }

    /// A layer's bias in the order of its units.
    pub(super) fn sorted_bias<E: Scalar>(&self, to: &mut Lowering<E>, level: &Level) -> Slot {
        let bias = to.parameter(level.layer.bias_slot());
        let order = to.table(level.above.order().iter().copied());
        let sorted = to.scratch(level.above.len());
        let none = Rows::new(Slot::NONE, 0);
        to.record(gather(1, Rows::new(bias, bias.len), none, order, sorted));
        sorted
    }

    /// Adds the gradient by a layer's bias.
    fn bias_product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        level: &Level,
        gradient: Slot,
    ) -> Vec<Op> {
        let width = level.above.len();
        let sums = to.scratch(width);
        let vectors = Vectors { count: to.rows(), features: width, pixels: 1 };
        let dense = Rows::new(gradient, width);
        let mut ops = vec![fill(sums, 0.0)];
        let recording = to.recording();
        ops.extend(add_column_products(recording, sums, vectors, dense, None, None, 1.0));
        let by_bias = to.parameter_gradient(level.layer.bias_slot());
        let order = level.above.order().iter();
        let pairs: Vec<_> = order.enumerate().map(|(at, &unit)| (unit, vec![at])).collect();
        let (into, from) = (Rows::new(by_bias, width), Rows::new(sums, width));
        ops.push(flow_cuda::kernels::rows::accumulate(to.recording(), 1, into, from, &pairs));
        ops
    }
}
