//! Products of a batch with a matrix that was derived from the weights.

use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Derived, Pass};
use crate::Scalar;

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
    weight: &Derived,
    d: usize,
    side: Side,
    x: &mut [E],
) {
    let input = pass.take_copy(x);
    let weight = Matrix::new(pass.derived(weight), d, d);
    // Vectors are rows: y = W x is Y = X Wᵀ.
    let weight = if side == Side::Plain { weight.t() } else { weight };
    multiply(x, Into::Replace, Matrix::new(&input, input.len() / d, d), weight);
    pass.save_or_give(input);
}

/// The vector-Jacobian product of [`forward`].
pub(super) fn vjp<E: Scalar>(
    pass: &mut Pass<'_, E>,
    weight: &Derived,
    d: usize,
    side: Side,
    gradient: &mut [E],
) {
    let input = pass.restore();
    let by_output = pass.take_copy(gradient);
    let x = Matrix::new(&input, input.len() / d, d);
    let g = Matrix::new(&by_output, input.len() / d, d);
    let by_weight = pass.derived_gradient(weight);
    let weight = match side {
        Side::Plain => {
            multiply(by_weight, Into::Add, g.t(), x);
            Matrix::new(pass.derived(weight), d, d)
        }
        Side::Transposed => {
            multiply(by_weight, Into::Add, x.t(), g);
            Matrix::new(pass.derived(weight), d, d).t()
        }
    };
    multiply(gradient, Into::Replace, g, weight);
    pass.give(by_output);
    pass.give(input);
}
