//! LU factors of a matrix, in f64 whatever a flow computes with.

use super::features::add_scaled;
use super::triangular::{solve_unit_lower, solve_upper};

/// `M = P·L·U` with partial pivoting.
pub(super) struct Lu {
    /// `L` without its ones below the diagonal, `U` on and above it, row-major.
    pub(super) factors: Vec<f64>,
    /// Which row of `M` each row of `L·U` is.
    order: Vec<usize>,
}

impl Lu {
    /// The factors of a `d × d` matrix. A singular one has a 0 on the diagonal of `U`; numbers that
    /// are not finite spread.
    pub(super) fn of(mut m: Vec<f64>, d: usize) -> Self {
        let mut order: Vec<usize> = (0..d).collect();
        for k in 0..d {
            let size = |i: &usize| m[i * d + k].abs();
            let pivot = (k..d).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(k);
            if pivot > k {
                let (above, below) = m.split_at_mut(pivot * d);
                above[k * d..][..d].swap_with_slice(&mut below[..d]);
                order.swap(k, pivot);
            }
            let (above, below) = m.split_at_mut((k + 1) * d);
            let pivot_row = &above[k * d..];
            if pivot_row[k] == 0.0 {
                // The largest of the column, so that nothing is left to eliminate.
                continue;
            }
            for row in below.chunks_exact_mut(d) {
                row[k] /= pivot_row[k];
                let factor = row[k];
                add_scaled(&mut row[k + 1..], &pivot_row[k + 1..], -factor);
            }
        }
        Self { factors: m, order }
    }

    fn diagonal(&self) -> Vec<f64> {
        self.factors.iter().step_by(self.order.len() + 1).copied().collect()
    }

    /// `log |det M|`, −∞ where `M` is singular.
    pub(super) fn log_abs_det(&self) -> f64 {
        self.diagonal().iter().map(|v| v.abs().ln()).sum()
    }

    /// `M⁻ᵀ`, row-major; entries that are not finite where `M` is singular.
    pub(super) fn inverse_transposed(&self) -> Vec<f64> {
        let d = self.order.len();
        let diagonal = self.diagonal();
        let mut inverse = vec![0.0; d * d];
        for (i, &column) in self.order.iter().enumerate() {
            let x = &mut inverse[column * d..][..d];
            x[i] = 1.0;
            solve_unit_lower(&self.factors, x);
            solve_upper(&self.factors, &diagonal, x);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::rotation::rotation;
    use crate::testing::normal;
    use crate::Noise;

    fn random(d: usize) -> Vec<f64> {
        normal(d * d, d as u64)
    }

    #[test]
    fn the_factors_multiply_to_the_rows_in_their_order() {
        for d in [1, 2, 5, 12] {
            for m in [random(d), rotation(d, &Noise::seed(6))] {
                let lu = Lu::of(m.clone(), d);
                for (i, &row) in lu.order.iter().enumerate() {
                    for j in 0..d {
                        let lower = |k: usize| if k == i { 1.0 } else { lu.factors[i * d + k] };
                        let product: f64 =
                            (0..=i.min(j)).map(|k| lower(k) * lu.factors[k * d + j]).sum();
                        assert!((product - m[row * d + j]).abs() < 1e-13);
                    }
                    let pivots = (0..i).all(|k| lu.factors[i * d + k].abs() <= 1.0);
                    assert!(pivots, "pivots are the largest");
                }
            }
        }
    }

    #[test]
    fn the_inverse_is_one() {
        for d in [1, 2, 5, 12] {
            let m = random(d);
            let inverse = Lu::of(m.clone(), d).inverse_transposed();
            for (i, j) in (0..d * d).map(|at| (at / d, at % d)) {
                let entry: f64 = (0..d).map(|k| m[i * d + k] * inverse[j * d + k]).sum();
                assert!((entry - f64::from(u8::from(i == j))).abs() < 1e-12, "{d}: {entry}");
            }
        }
    }

    #[test]
    fn the_determinant_has_its_logarithm_whatever_the_order_of_rows() {
        let det = |m: &[f64], d: usize| Lu::of(m.to_vec(), d).log_abs_det();
        assert_eq!(det(&[-8.0], 1), 8.0_f64.ln());
        assert!((det(&[0.0, 2.0, 3.0, 5.0], 2) - 6.0_f64.ln()).abs() < 1e-15);
        // Each entry 1e200: the determinant itself would overflow.
        let large = [1e200, 0.0, 0.0, 0.0, 0.0, 1e200, 0.0, 1e200, 0.0];
        assert!((det(&large, 3) - 600.0 * 10.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_singular_matrix_has_none_and_nan_spreads() {
        for m in [[0.0; 9], [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 5.0, 6.0], [1.0; 9]] {
            let lu = Lu::of(m.to_vec(), 3);
            assert_eq!(lu.log_abs_det(), f64::NEG_INFINITY, "{m:?}");
            assert!(lu.inverse_transposed().iter().any(|v| !v.is_finite()), "{m:?}");
        }
        for at in 0..4 {
            let mut m = [1.0, 2.0, 3.0, 5.0];
            m[at] = f64::NAN;
            let lu = Lu::of(m.to_vec(), 2);
            assert!(lu.log_abs_det().is_nan(), "{at}");
            assert!(lu.inverse_transposed().iter().any(|v| v.is_nan()), "{at}");
        }
    }
}
