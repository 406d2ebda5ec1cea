//! Triangular matrices of which an interval of every entry is known.

use super::{Interval, IntervalMatrix};

/// All lower triangular matrices whose entries lie in given intervals.
#[derive(Clone, Debug)]
pub(crate) struct Triangle {
    side: usize,
    /// Row-major, zeros included.
    entries: Vec<Interval>,
}

impl Triangle {
    /// The matrix of zeros.
    pub(crate) fn new(side: usize) -> Self {
        Self { side, entries: vec![Interval::ZERO; side * side] }
    }

    /// The entry of a row and a column that is not after it.
    pub(crate) fn entry(&mut self, row: usize, column: usize) -> &mut Interval {
        &mut self.entries[row * self.side + column]
    }

    /// Upper bounds of the norms of all such matrices, and of their inverses: infinite where there is
    /// none.
    pub(crate) fn norms(&self) -> (f64, f64) {
        (self.matrix().norm(), self.inverse().norm())
    }

    /// With the zeros above the diagonal.
    pub(crate) fn matrix(&self) -> IntervalMatrix {
        IntervalMatrix::from_intervals(self.side, self.side, &self.entries)
    }

    /// The inverses, column after column by substitution.
    pub(crate) fn inverse(&self) -> IntervalMatrix {
        let d = self.side;
        let mut inverse = vec![Interval::ZERO; d * d];
        for column in 0..d {
            for row in column..d {
                let line = &self.entries[row * d..][..d];
                let known = (column..row).map(|k| line[k] * inverse[k * d + column]);
                let start = Interval::point(f64::from(row == column));
                inverse[row * d + column] = known.fold(start, |sum, v| sum - v) / line[row];
            }
        }
        IntervalMatrix::from_intervals(d, d, &inverse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::matrix::{multiply, Into, Matrix};
    use crate::lipschitz::norm::norm;
    use crate::Noise;

    /// A random triangle of that radius, and one of its matrices.
    fn random(side: usize, radius: f64, seed: u64) -> (Triangle, Vec<f64>) {
        let noise = Noise::seed(seed);
        let (mut triangle, mut matrix) = (Triangle::new(side), vec![0.0; side * side]);
        for row in 0..side {
            for column in 0..=row {
                let at = (row * side + column) as u64;
                let centre = if row == column { 1.0 + noise.uniform(at) } else { noise.normal(at) };
                let by = radius * (2.0 * noise.uniform(1000 + at) - 1.0);
                *triangle.entry(row, column) = Interval::new(centre - radius, centre + radius);
                matrix[at as usize] = centre + by;
            }
        }
        (triangle, matrix)
    }

    #[test]
    fn inverses_hold_those_of_members() {
        for side in [1, 2, 5, 9] {
            for (seed, radius) in [(1, 0.0), (2, 1e-3), (3, 0.3)] {
                let (triangle, matrix) = random(side, radius, seed);
                let inverse = triangle.inverse();
                // A member of the inverse times the matrix holds the identity.
                for row in 0..side {
                    for column in 0..side {
                        let sum = (0..side).fold(Interval::ZERO, |sum, k| {
                            sum + inverse.entry(row, k) * Interval::point(matrix[k * side + column])
                        });
                        assert!(
                            sum.contains(f64::from(row == column)),
                            "{side}, {radius}: {sum:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn norms_are_those_of_the_worst_member() {
        for side in [1, 2, 5, 9] {
            for (seed, radius) in [(1, 0.0), (2, 1e-3), (3, 0.3)] {
                let (triangle, matrix) = random(side, radius, seed);
                let (there, back) = triangle.norms();
                let own = norm(&matrix, side, side);
                assert!(there >= own / 1.006, "{side}, {radius}: {there}, {own}");
                assert!(there <= own * 1.006 + 2.1 * radius * side as f64);
                if radius == 0.0 {
                    let inverse = triangle.inverse().middles().to_vec();
                    let mut product = vec![0.0; side * side];
                    let [a, b] = [&matrix, &inverse].map(|m| Matrix::new(m, side, side));
                    multiply(&mut product, Into::Replace, a, b);
                    assert!((product[0] - 1.0).abs() < 1e-12);
                    let own = norm(&inverse, side, side);
                    assert!((back / own - 1.0).abs() < 0.006, "{side}: {back}, {own}");
                }
            }
        }
    }

    #[test]
    fn what_may_be_singular_or_has_no_limit_has_no_bound() {
        let (mut triangle, _) = random(3, 0.1, 1);
        *triangle.entry(1, 1) = Interval::new(-0.1, 1.0);
        let (there, back) = triangle.norms();
        assert!(there.is_finite() && back == f64::INFINITY);
        *triangle.entry(2, 0) = Interval::EVERYTHING;
        assert_eq!(triangle.norms(), (f64::INFINITY, f64::INFINITY));
    }
}
