//! Random rotations, in f64: starting weights.

use super::features::add_scaled;
use crate::sums::dot;
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
}
