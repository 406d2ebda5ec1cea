//! Small square matrices, row-major.

use crate::Scalar;

/// `log |det|` by elimination with partial pivoting; the matrix is used up.
pub(super) fn log_abs_det<E: Scalar>(m: &mut [E], d: usize) -> E {
    let mut sum = 0.0;
    for k in 0..d {
        let pivot = pivot(m, d, k);
        swap_rows(m, d, k, pivot);
        let (above, below) = m.split_at_mut((k + 1) * d);
        let row = &above[k * d..];
        sum += row[k].as_f64().abs().ln();
        for other in below.chunks_exact_mut(d) {
            let factor = other[k] / row[k];
            other[k + 1..].iter_mut().zip(&row[k + 1..]).for_each(|(v, &by)| *v -= factor * by);
        }
    }
    E::of(sum)
}

/// Replaces a matrix by its inverse, by Gauss and Jordan with partial pivoting; `order` is scratch
/// of d numbers. Gives `log |det|` of what stood there.
pub(crate) fn invert<E: Scalar>(m: &mut [E], d: usize, order: &mut [E]) -> E {
    let mut sum = 0.0;
    for k in 0..d {
        let pivot = pivot(m, d, k);
        swap_rows(m, d, k, pivot);
        order[k] = E::of(pivot as f64);
        let scale = E::one() / m[k * d + k];
        sum -= scale.as_f64().abs().ln();
        m[k * d + k] = E::one();
        m[k * d..(k + 1) * d].iter_mut().for_each(|v| *v *= scale);
        for i in (0..d).filter(|&i| i != k) {
            let factor = std::mem::replace(&mut m[i * d + k], E::zero());
            for j in 0..d {
                let by = m[k * d + j];
                m[i * d + j] -= factor * by;
            }
        }
    }
    // Rows were swapped before the inversion, so columns are after it, the last swap first.
    for k in (0..d).rev() {
        let pivot = order[k].as_f64() as usize;
        (0..d).for_each(|i| m.swap(i * d + k, i * d + pivot));
    }
    E::of(sum)
}

/// The row at or below `k` with the largest entry in column `k`.
fn pivot<E: Scalar>(m: &[E], d: usize, k: usize) -> usize {
    let size = |row: usize| m[row * d + k].abs();
    (k..d).fold(k, |best, row| if size(row) > size(best) { row } else { best })
}

fn swap_rows<E: Scalar>(m: &mut [E], d: usize, a: usize, b: usize) {
    if a != b {
        (0..d).for_each(|j| m.swap(a * d + j, b * d + j));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn the_inverse_times_the_matrix_is_the_identity() {
        for d in [1, 2, 3, 7, 20] {
            let mut m = normal(d * d, d as u64);
            m[0] = 0.0_f64.max((d == 1) as u8 as f64); // needs a pivot
            let mut inverse = m.clone();
            let log_det = invert(&mut inverse, d, &mut vec![0.0; d]);
            assert!((log_det - log_abs_det(&mut m.clone(), d)).abs() < 1e-10);
            for i in 0..d {
                for j in 0..d {
                    let sum: f64 = (0..d).map(|k| inverse[i * d + k] * m[k * d + j]).sum();
                    assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-10, "{d}: {sum}");
                }
            }
        }
    }

    #[test]
    fn a_known_determinant() {
        let m = [0.0, 2.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, -4.0];
        assert!((log_abs_det(&mut m.clone(), 3) - 24.0_f64.ln()).abs() < 1e-14);
    }
}
