//! Triangular systems, one vector at a time, in place. Matrices are row-major and only the strict
//! triangle that a name speaks of is read; every loop runs along rows.

use crate::sums::dot;
use crate::Scalar;

/// Solves `L x = b`, with ones on the diagonal.
pub(super) fn solve_unit_lower<E: Scalar>(lower: &[E], x: &mut [E]) {
    let d = x.len();
    for i in 1..d {
        let (solved, rest) = x.split_at_mut(i);
        rest[0] -= dot(&lower[i * d..][..i], solved);
    }
}

/// Solves `(U + diag) x = b`.
pub(super) fn solve_upper<E: Scalar>(upper: &[E], diagonal: &[E], x: &mut [E]) {
    let d = x.len();
    for i in (0..d).rev() {
        let (rest, solved) = x.split_at_mut(i + 1);
        rest[i] = (rest[i] - dot(&upper[i * d..][i + 1..d], solved)) / diagonal[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    /// `M x` with `M` taken entry by entry.
    fn product(d: usize, entry: impl Fn(usize, usize) -> f64, x: &[f64]) -> Vec<f64> {
        (0..d).map(|i| (0..d).map(|j| entry(i, j) * x[j]).sum()).collect()
    }

    #[test]
    fn solutions_solve_their_systems() {
        for d in [1, 2, 5, 19] {
            let numbers = normal(d * d + 2 * d, 4);
            let (matrix, rest) = numbers.split_at(d * d);
            let (diagonal, b) = rest.split_at(d);
            // Entries well below the diagonal's keep the systems well-conditioned.
            let matrix: Vec<f64> = matrix.iter().map(|v| 0.2 * v).collect();
            let diagonal: Vec<f64> = diagonal.iter().map(|v| v.signum() + v).collect();
            let lower = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Greater => matrix[i * d + j],
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Less => 0.0,
            };
            let upper = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Less => matrix[i * d + j],
                std::cmp::Ordering::Equal => diagonal[i],
                std::cmp::Ordering::Greater => 0.0,
            };
            let check = |solve: &dyn Fn(&mut [f64]), entry: &dyn Fn(usize, usize) -> f64| {
                let mut x = b.to_vec();
                solve(&mut x);
                for (got, want) in product(d, entry, &x).iter().zip(b) {
                    assert!((got - want).abs() < 1e-12, "{d}: {got} but {want}");
                }
            };
            check(&|x| solve_unit_lower(&matrix, x), &lower);
            check(&|x| solve_upper(&matrix, &diagonal, x), &upper);
        }
    }
}
