//! Random rotations and their LU factors, in f64: starting weights.

use super::features::add_scaled;
use super::triangular::dot;
use crate::Noise;

/// A random orthogonal `d × d` matrix: the rows of a normal one, made orthonormal. Row after row
/// that is the transpose of a QR decomposition with a positive diagonal, so it is uniform over all
/// of them (Mezzadri 2007, "How to generate random matrices from the classical compact groups").
pub(super) fn rotation(d: usize, noise: &Noise) -> Vec<f64> {
    let mut rows = vec![0.0; d * d];
    noise.fill_normal(0, &mut rows);
    for i in 0..d {
        let (done, rest) = rows.split_at_mut(i * d);
        let row = &mut rest[..d];
        // Twice is enough (Giraud, Langou and Rozložník 2005).
        for _ in 0..2 {
            for other in done.chunks_exact(d) {
                let along = dot(row, other);
                add_scaled(row, other, -along);
            }
        }
        let norm = f64::sqrt(dot(row, row));
        row.iter_mut().for_each(|v| *v /= norm);
    }
    rows
}

/// Factors `M = P·L·U` with partial pivoting: `L` without its ones below the diagonal, `U` on and
/// above it, in one matrix. The order of rows `P` is dropped.
pub(super) fn lu_factors(mut m: Vec<f64>, d: usize) -> Vec<f64> {
    for k in 0..d {
        let size = |i: &usize| m[i * d + k].abs();
        let pivot = (k..d).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(k);
        if pivot > k {
            let (above, below) = m.split_at_mut(pivot * d);
            above[k * d..][..d].swap_with_slice(&mut below[..d]);
        }
        let (above, below) = m.split_at_mut((k + 1) * d);
        let pivot_row = &above[k * d..];
        for row in below.chunks_exact_mut(d) {
            row[k] /= pivot_row[k];
            let factor = row[k];
            add_scaled(&mut row[k + 1..], &pivot_row[k + 1..], -factor);
        }
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_orthonormal() {
        for d in [1, 2, 5, 33] {
            let q = rotation(d, &Noise::seed(1));
            for i in 0..d {
                for j in 0..d {
                    let want = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&q[i * d..][..d], &q[j * d..][..d]) - want).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn the_factors_multiply_to_the_rows_in_some_order() {
        for d in [1, 2, 5, 12] {
            let q = rotation(d, &Noise::seed(6));
            let lu = lu_factors(q.clone(), d);
            let product = |i: usize, j: usize| -> f64 {
                let lower = |k: usize| if k == i { 1.0 } else { lu[i * d + k] };
                (0..=i.min(j)).map(|k| lower(k) * lu[k * d + j]).sum()
            };
            let mut left: Vec<&[f64]> = q.chunks_exact(d).collect();
            for i in 0..d {
                let near = |row: &&[f64]| (0..d).all(|j| (product(i, j) - row[j]).abs() < 1e-13);
                let at = left.iter().position(near).expect("a row of the rotation");
                left.swap_remove(at);
                assert!((0..i).all(|k| lu[i * d + k].abs() <= 1.0), "pivots are the largest");
            }
        }
    }
}
