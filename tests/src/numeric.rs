//! Slow, obvious numerics that the laws are checked with.

use std::ops::{Index, IndexMut};

/// A square matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    size: usize,
    entries: Vec<f64>,
}

impl Matrix {
    /// All zeros.
    pub fn zeros(size: usize) -> Self {
        Self { size, entries: vec![0.0; size * size] }
    }

    /// `log |det|`, by elimination with partial pivoting.
    pub fn log_abs_det(&self) -> f64 {
        let mut m = self.clone();
        let n = m.size;
        let mut sum = 0.0;
        for k in 0..n {
            let largest = |&a: &usize, &b: &usize| m[(a, k)].abs().total_cmp(&m[(b, k)].abs());
            let pivot = (k..n).max_by(largest).unwrap_or(k);
            (0..n).for_each(|j| m.entries.swap(k * n + j, pivot * n + j));
            sum += m[(k, k)].abs().ln();
            for i in k + 1..n {
                let factor = m[(i, k)] / m[(k, k)];
                (k..n).for_each(|j| m[(i, j)] -= factor * m[(k, j)]);
            }
        }
        sum
    }

    /// The smallest and largest singular values, by Jacobi rotations of the columns.
    pub fn extreme_singular_values(&self) -> (f64, f64) {
        let n = self.size;
        let mut m = self.clone();
        // Relative to the largest entry, so that no square overflows.
        let size = m.entries.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        if size == 0.0 || !m.entries.iter().all(|v| v.is_finite()) {
            return (size, if size == 0.0 { 0.0 } else { f64::NAN });
        }
        m.entries.iter_mut().for_each(|v| *v /= size);
        for _ in 0..60 {
            let mut off = 0.0_f64;
            for p in 0..n {
                for q in p + 1..n {
                    let column = |j: usize| (0..n).map(move |i| (i, j));
                    let product = |a: usize, b: usize| {
                        column(a).zip(column(b)).map(|(a, b)| m[a] * m[b]).sum::<f64>()
                    };
                    let (pp, qq, pq) = (product(p, p), product(q, q), product(p, q));
                    if pq == 0.0 {
                        continue;
                    }
                    off = off.max(pq.abs() / (pp * qq).sqrt());
                    let ratio = (qq - pp) / (2.0 * pq);
                    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
                    let tangent = if ratio == 0.0 { 1.0 } else { tangent };
                    let cosine = 1.0 / tangent.hypot(1.0);
                    for i in 0..n {
                        let (a, b) = (m[(i, p)], m[(i, q)]);
                        m[(i, p)] = cosine * (a - tangent * b);
                        m[(i, q)] = cosine * (b + tangent * a);
                    }
                }
            }
            if off < 1e-15 {
                break;
            }
        }
        let norms = (0..n).map(|j| (0..n).map(|i| m[(i, j)].powi(2)).sum::<f64>().sqrt());
        let (least, most) =
            norms.fold((f64::INFINITY, 0.0_f64), |(least, most), v| (least.min(v), most.max(v)));
        (size * least, size * most)
    }
}

impl Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (row, column): (usize, usize)) -> &f64 {
        &self.entries[row * self.size + column]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut f64 {
        &mut self.entries[row * self.size + column]
    }
}

/// The derivative of each entry of `f` at 0, by five points.
///
/// The step is short enough that few kinks lie between the points, and long enough that rounding
/// costs about 1e-11.
pub fn slope(f: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    const STEP: f64 = 2e-5;
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|k| f(k * STEP));
    let middle = b.iter().zip(&c).map(|(b, c)| 8.0 * (c - b));
    let outer = a.iter().zip(&d).map(|(a, d)| a - d);
    middle.zip(outer).map(|(middle, outer)| (middle + outer) / (12.0 * STEP)).collect()
}

/// The Euclidean norm.
pub fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// The Euclidean distance.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// The inner product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_of_a_known_matrix() {
        // A rotation times diag(3, 0.5).
        let (s, c) = 0.7_f64.sin_cos();
        let m = Matrix { size: 2, entries: vec![3.0 * c, -0.5 * s, 3.0 * s, 0.5 * c] };
        let (least, most) = m.extreme_singular_values();
        assert!((least - 0.5).abs() < 1e-14 && (most - 3.0).abs() < 1e-14, "{least}, {most}");
        assert!((m.log_abs_det() - 1.5_f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn slopes_of_a_known_function() {
        let got = slope(|by| vec![(0.3 + by).sin(), 2.0 * by]);
        assert!((got[0] - 0.3_f64.cos()).abs() < 1e-10);
        assert!((got[1] - 2.0).abs() < 1e-10);
    }
}
