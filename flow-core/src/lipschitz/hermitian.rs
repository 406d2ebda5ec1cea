//! Gram iteration on a complex matrix, with real products.
//!
//! A Hermitian matrix `Q = R + iS` has a symmetric R and an antisymmetric S, so the real matrix
//! `X = R + S` holds it, with the same Frobenius norm. Of a complex matrix `A + iB` the Gram matrix
//! has `X = Aᵀ(A + B) + Bᵀ(B − A)`, and the square of Q has `XᵀX + 2SR`: two real products each.
//!
//! Rounding: an entry of either is a sum of 2m or 2n products, whose factors are themselves rounded
//! sums. Entry by entry it is off by at most γ times the sum of the absolute values, plus underflow.
//! The matrix of those sums has a Frobenius norm of at most ‖|A| + |B|‖_F² ≤ 2‖Q‖_F² in the first
//! case, and ‖X‖_F² + 2‖S‖_F‖R‖_F ≤ 2‖Q‖_F² in the second.

use super::rounding::{back, frobenius, gamma, normalize, squarings, up, Step, ETA};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};

/// A complex matrix `A + iB` of `tall` rows and `side` columns: A, then B, row-major.
#[derive(Clone, Copy)]
pub(super) struct Complex<'a> {
    pub(super) numbers: &'a [f64],
    pub(super) tall: usize,
    pub(super) side: usize,
}

impl<'a> Complex<'a> {
    fn parts(self) -> (Matrix<'a, f64>, Matrix<'a, f64>) {
        let (a, b) = self.numbers.split_at(self.tall * self.side);
        (Matrix::new(a, self.tall, self.side), Matrix::new(b, self.tall, self.side))
    }
}

/// The memory of an iteration, used again from matrix to matrix.
pub(super) struct Iteration {
    side: usize,
    /// X of the last Q.
    x: Vec<f64>,
    next: Vec<f64>,
    /// R and 2S.
    even: Vec<f64>,
    odd: Vec<f64>,
    /// A + B and B − A.
    sum: Vec<f64>,
    difference: Vec<f64>,
    steps: Vec<Step>,
}

impl Iteration {
    pub(super) fn new(tall: usize, side: usize) -> Self {
        let (square, whole) = (vec![0.0; side * side], vec![0.0; tall * side]);
        Self {
            side,
            x: square.clone(),
            next: square.clone(),
            even: square.clone(),
            odd: square,
            sum: whole.clone(),
            difference: whole,
            steps: Vec::new(),
        }
    }

    /// An upper bound on the norm of a matrix whose largest entry is below 1, within 0.5 % but for
    /// rounding; none as soon as `enough` says that a bound on the way, which is larger, will do.
    pub(super) fn bound(
        &mut self,
        matrix: Complex<'_>,
        enough: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let mut bound = frobenius(matrix.numbers);
        self.steps.clear();
        for _ in 0..squarings(self.side) {
            if enough(bound) {
                return None;
            }
            if self.steps.is_empty() {
                self.first(matrix, bound);
            } else {
                self.square();
            }
            bound = back(&self.steps, frobenius(&self.x));
        }
        (!enough(bound)).then_some(bound)
    }

    /// Along `M(MᴴM)ᵖ⁻¹`, as real and imaginary part, with the p of [`bound`](Self::bound).
    pub(super) fn derivative(&mut self, matrix: Complex<'_>) -> Vec<f64> {
        let (tall, side) = (matrix.tall, matrix.side);
        let mut power = matrix.numbers.to_vec();
        let mut spare = vec![0.0; power.len()];
        self.steps.clear();
        for _ in 0..squarings(side) {
            if self.steps.is_empty() {
                self.first(matrix, frobenius(matrix.numbers));
            } else {
                self.square();
            }
            self.split(0.5);
            let (even, odd) =
                (Matrix::new(&self.even, side, side), Matrix::new(&self.odd, side, side));
            let (a, b) = Complex { numbers: &power, tall, side }.parts();
            let (real, imaginary) = spare.split_at_mut(tall * side);
            // S is antisymmetric: −S is its transpose.
            multiply(real, Into::Replace, a, even);
            multiply(real, Into::Add, b, odd.t());
            multiply(imaginary, Into::Replace, b, even);
            multiply(imaginary, Into::Add, a, odd);
            std::mem::swap(&mut power, &mut spare);
            normalize(&mut power);
        }
        power
    }

    /// From a matrix, with a bound on its Frobenius norm, to its Gram matrix.
    fn first(&mut self, matrix: Complex<'_>, whole: f64) {
        let (tall, side) = (matrix.tall, matrix.side);
        let (a, b) = matrix.numbers.split_at(tall * side);
        for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
            self.sum[i] = a + b;
            self.difference[i] = b - a;
        }
        let (a, b) = matrix.parts();
        multiply(&mut self.x, Into::Replace, a.t(), Matrix::new(&self.sum, tall, side));
        multiply(&mut self.x, Into::Add, b.t(), Matrix::new(&self.difference, tall, side));
        self.step(2 * tall, whole);
    }

    fn square(&mut self) {
        let (side, whole) = (self.side, frobenius(&self.x));
        self.split(1.0);
        let x = Matrix::new(&self.x, side, side);
        multiply(&mut self.next, Into::Replace, x.t(), x);
        let (even, odd) = (Matrix::new(&self.even, side, side), Matrix::new(&self.odd, side, side));
        multiply(&mut self.next, Into::Add, odd, even);
        std::mem::swap(&mut self.x, &mut self.next);
        self.step(2 * side, whole);
    }

    /// R, and S times twice `scale`.
    fn split(&mut self, scale: f64) {
        let side = self.side;
        for i in 0..side {
            for j in 0..side {
                let (v, across) = (self.x[i * side + j], self.x[j * side + i]);
                self.even[i * side + j] = 0.5 * (v + across);
                self.odd[i * side + j] = scale * (v - across);
            }
        }
    }

    /// Scales the X of a Gram matrix that was made with `products` to each entry.
    fn step(&mut self, products: usize, whole: f64) {
        let side = self.side;
        let lost = up(2.0 * gamma(products + 4));
        // At most one η for each product, and one for its factor that was halved.
        let underflow = up((2 * side * products) as f64 * ETA);
        let rounding = up(up(lost * up(whole * whole)) + underflow);
        // The diagonal holds the squared norms of columns, of which one is at least 1/8.
        let exponent = normalize(&mut self.x).unwrap_or(0);
        let vanished = up(side as f64 * ETA);
        self.steps.push(Step { rounding, vanished, exponent });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lipschitz::norm::norm;
    use crate::lipschitz::rounding::power_of_two;
    use crate::testing::normal;

    fn bound(numbers: &[f64], tall: usize, side: usize) -> f64 {
        let matrix = Complex { numbers, tall, side };
        Iteration::new(tall, side).bound(matrix, |_| false).expect("nothing is enough")
    }

    #[test]
    fn the_norm_is_that_of_the_real_matrix_of_twice_the_size() {
        for (tall, side) in [(1, 1), (4, 1), (5, 3), (6, 6), (17, 9)] {
            let mut numbers = normal(2 * tall * side, side as u64);
            normalize(&mut numbers);
            let (a, b) = numbers.split_at(tall * side);
            let entry = |i: usize| {
                let (row, column) = (i / (2 * side), i % (2 * side));
                let at = row % tall * side + column % side;
                match (row < tall, column < side) {
                    (true, false) => -b[at],
                    (false, true) => b[at],
                    _ => a[at],
                }
            };
            let double: Vec<f64> = (0..4 * tall * side).map(entry).collect();
            let (got, want) = (bound(&numbers, tall, side), norm(&double, 2 * tall, 2 * side));
            assert!((got / want - 1.0).abs() < 0.0051, "{tall} × {side}: {got}, not {want}");
        }
    }

    #[test]
    fn what_a_sum_loses_is_carried_along() {
        // Two equal columns of 1 and 4096 times 2⁻²⁷: the squared norm is 2 + 2⁻⁴¹, but a sum that
        // has reached 1 does not change by 2⁻⁵⁴.
        let tall = 4097;
        let mut numbers = vec![power_of_two(1.0, -27); 4 * tall];
        numbers[..2].fill(1.0);
        numbers[2 * tall..].fill(0.0);
        let exact = (2.0 + power_of_two(1.0, -41)).sqrt();
        let bound = bound(&numbers, tall, 2);
        assert!(bound >= exact && bound < exact * (1.0 + 1e-11), "{bound}, {exact}");
    }

    #[test]
    fn a_rough_bound_ends_the_iteration_where_it_is_enough() {
        let numbers = [0.5, 0.25, 0.75, -0.5, 0.0, 0.0, 0.0, 0.0];
        let matrix = Complex { numbers: &numbers, tall: 2, side: 2 };
        let whole = frobenius(&numbers);
        assert_eq!(Iteration::new(2, 2).bound(matrix, |bound| bound <= whole), None);
        let exact = bound(&numbers, 2, 2);
        assert_eq!(Iteration::new(2, 2).bound(matrix, |bound| bound <= exact), None);
        let found = Iteration::new(2, 2).bound(matrix, |bound| bound < exact);
        assert_eq!(found, Some(exact));
    }
}
