//! Products of a batch with a matrix as kernels for a GPU.

use flow_cuda::kernels::product::{add_into, add_product, product, Epilogue, Matrix};
use flow_cuda::kernels::rows::{gather, scaled_copy, scatter, Rows};
use flow_cuda::{Op, Slot};

use super::{Side, Weight};
use crate::cuda::Lowering;
use crate::Scalar;

impl Weight<'_> {
    /// Where the matrix lies, and the gradient by it.
    fn lowered<E: Scalar>(self, to: &Lowering<E>) -> [Slot; 2] {
        match self {
            Self::Trained(slot) => [to.parameter(slot), to.parameter_gradient(slot)],
            Self::Derived(slot) => [to.derived(slot), to.derived_gradient(slot)],
        }
    }
}

/// Records the product of each vector of `d` numbers with the matrix, and returns its own product.
pub(in crate::blocks) fn record<E: Scalar>(
    to: &mut Lowering<E>,
    weight: Weight<'_>,
    d: usize,
    side: Side,
    entries: &[usize],
) -> Vec<Op> {
    let [weight, by_weight] = weight.lowered(to);
    let (rows, len) = (to.rows(), to.rows() * entries.len());
    let vectors = len / d;
    let none = Rows::new(Slot::NONE, 0);
    let entries = to.table(entries.iter().copied());
    let (input, output) = (to.keep(len), to.scratch(len));
    let matrix = Matrix::new(weight, d, d);
    // Vectors are rows: y = W x is Y = X Wᵀ.
    let right = if side == Side::Plain { matrix.t() } else { matrix };
    let x = Matrix::new(input, vectors, d);
    to.record(gather(rows, to.x(), none, entries, input));
    to.record(product(output, x, right, Epilogue::default()));
    to.record(scatter(rows, to.x(), entries, output));
    if !to.keeping() {
        return Vec::new();
    }
    let [by_output, by_input] = [to.scratch(len), to.scratch(len)];
    let g = Matrix::new(by_output, vectors, d);
    let (matrix, left, right) = match side {
        Side::Plain => (matrix, g.t(), x),
        Side::Transposed => (matrix.t(), x.t(), g),
    };
    let mut ops = vec![gather(rows, to.gradient(), none, entries, by_output)];
    ops.extend(add_product(to.recording(), by_weight, left, right));
    ops.push(product(by_input, g, matrix, Epilogue::default()));
    ops.push(scatter(rows, to.gradient(), entries, by_input));
    ops
}

/// Records how a gradient by `X = W⁻¹` is carried on to one by `W`: as `dX = −X dW X`, it is
/// `−Xᵀ G Xᵀ`, which is added.
pub(in crate::blocks) fn record_by_inverse<E: Scalar>(
    to: &mut Lowering<E>,
    by_weight: Slot,
    [inverse, by_inverse]: [Slot; 2],
    d: usize,
) {
    let [half, minus] = [0; 2].map(|_| to.scratch(d * d));
    let turned = Matrix::new(inverse, d, d).t();
    let by_inverse = Matrix::new(by_inverse, d, d);
    to.finish_weights(product(half, turned, by_inverse, Epilogue::default()));
    to.finish_weights(scaled_copy(minus, half, -1.0));
    to.finish_weights(add_into(by_weight, Matrix::new(minus, d, d), turned));
}
