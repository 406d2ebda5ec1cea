//! Products of a batch with a matrix.

use super::lu::Lu;
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Derived, Parameter, Pass};
use crate::lipschitz::linear;
use crate::Scalar;

/// A `d × d` matrix, and where its gradient is added.
#[derive(Clone, Copy)]
pub(super) enum Weight<'w> {
    /// A parameter itself.
    Trained(&'w Parameter),
    /// Computed from the weights.
    Derived(&'w Derived),
}

impl Weight<'_> {
    fn of<'a, E: Scalar>(self, pass: &Pass<'a, E>) -> &'a [E] {
        match self {
            Self::Trained(slot) => pass.parameter(slot),
            Self::Derived(slot) => pass.derived(slot),
        }
    }

    fn gradient<'p, E: Scalar>(self, pass: &'p mut Pass<'_, E>) -> &'p mut [E] {
        match self {
            Self::Trained(slot) => pass.gradient(slot),
            Self::Derived(slot) => pass.derived_gradient(slot),
        }
    }
}

/// Which product with the `d × d` matrix `W` a batch of vectors undergoes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `y = W x`.
    Plain,
    /// `y = Wᵀ x`.
    Transposed,
}

/// Multiplies each vector of `x`, and saves the vectors as they were.
pub(super) fn forward<E: Scalar>(
    pass: &mut Pass<'_, E>,
    weight: Weight<'_>,
    d: usize,
    side: Side,
    x: &mut [E],
) {
    let input = pass.take_copy(x);
    let weight = Matrix::new(weight.of(pass), d, d);
    // Vectors are rows: y = W x is Y = X Wᵀ.
    let weight = if side == Side::Plain { weight.t() } else { weight };
    multiply(x, Into::Replace, Matrix::new(&input, input.len() / d, d), weight);
    pass.save_or_give(input);
}

/// The vector-Jacobian product of [`forward`].
pub(super) fn vjp<E: Scalar>(
    pass: &mut Pass<'_, E>,
    weight: Weight<'_>,
    d: usize,
    side: Side,
    gradient: &mut [E],
) {
    let input = pass.restore();
    let by_output = pass.take_copy(gradient);
    let x = Matrix::new(&input, input.len() / d, d);
    let g = Matrix::new(&by_output, input.len() / d, d);
    let matrix = Matrix::new(weight.of(pass), d, d);
    let (matrix, left, right) = match side {
        Side::Plain => (matrix, g.t(), x),
        Side::Transposed => (matrix.t(), x.t(), g),
    };
    if pass.learning() {
        multiply(weight.gradient(pass), Into::Add, left, right);
    }
    multiply(gradient, Into::Replace, g, matrix);
    pass.give(by_output);
    pass.give(input);
}

/// Carries a gradient by `X = W⁻¹` on to one by `W`: as `dX = −X dW X`, it is `−Xᵀ G Xᵀ`.
pub(super) fn add_by_inverse<E: Scalar>(
    by_weight: &mut [E],
    inverse: &[E],
    by_inverse: &[E],
    d: usize,
) {
    // Nothing came of the inverse, which may not even exist.
    if by_inverse.iter().all(|&g| g == E::zero()) {
        return;
    }
    let inverse = Matrix::new(inverse, d, d).t();
    let mut half = vec![E::zero(); d * d];
    multiply(&mut half, Into::Replace, inverse, Matrix::new(by_inverse, d, d));
    half.iter_mut().for_each(|v| *v = -*v);
    multiply(by_weight, Into::Add, Matrix::new(&half, d, d), inverse);
}

/// Adds the gradient by W of `by[0]·ln ‖W‖ + by[1]·ln ‖W⁻¹‖`.
pub(super) fn add_bound_slopes<E: Scalar>(weight: &[E], by: [f64; 2], gradient: &mut [E]) {
    let d = weight.len().isqrt();
    let weight: Vec<f64> = weight.iter().map(|v| v.as_f64()).collect();
    let transposed = Lu::of(weight.clone(), d).inverse_transposed();
    let inverse: Vec<f64> = (0..d * d).map(|i| transposed[i % d * d + i / d]).collect();
    let slopes = linear::slopes(&weight, &inverse, d, by);
    gradient.iter_mut().zip(slopes).for_each(|(g, slope)| *g += E::of(slope));
}

#[cfg(feature = "cuda")]
#[path = "dense_lowering.rs"]
mod lowering;
#[cfg(feature = "cuda")]
pub(super) use lowering::{record, record_by_inverse};
