//! Moments of rows, and eigenvalues of symmetric matrices.

use flow_core::Rows;

/// The mean of some rows and their covariance, row-major: `Σ (x − mean)(x − mean)ᵀ / n`.
pub fn moments(rows: &Rows<f32>) -> (Vec<f64>, Vec<f64>) {
    let (d, n) = (rows.width(), rows.len() as f64);
    let mut mean = vec![0.0; d];
    for row in rows.values().chunks_exact(d) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) / n);
    }
    let mut covariance = vec![0.0; d * d];
    for row in rows.values().chunks_exact(d) {
        let off: Vec<f64> = row.iter().zip(&mean).map(|(x, mean)| f64::from(*x) - mean).collect();
        for (line, a) in covariance.chunks_exact_mut(d).zip(&off) {
            line.iter_mut().zip(&off).for_each(|(sum, b)| *sum += a * b / n);
        }
    }
    (mean, covariance)
}

/// The eigenvalues of a symmetric row-major `d × d` matrix in descending order, by Jacobi's
/// rotations (Golub and Van Loan, "Matrix computations", section 8.5).
pub fn eigenvalues(mut matrix: Vec<f64>, d: usize) -> Vec<f64> {
    assert_eq!(matrix.len(), d * d, "a {d} × {d} matrix");
    let total: f64 = matrix.iter().map(|v| v * v).sum();
    for _ in 0..60 {
        let above = (0..d).flat_map(|p| (p + 1..d).map(move |q| (p, q)));
        let off: f64 = above.clone().map(|(p, q)| matrix[p * d + q].powi(2)).sum();
        if off <= 1e-30 * total {
            break;
        }
        for (p, q) in above {
            let (app, aqq, apq) = (matrix[p * d + p], matrix[q * d + q], matrix[p * d + q]);
            if apq == 0.0 {
                continue;
            }
            let theta = 0.5 * (aqq - app) / apq;
            let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
            let c = 1.0 / t.hypot(1.0);
            let s = t * c;
            for k in 0..d {
                let (akp, akq) = (matrix[k * d + p], matrix[k * d + q]);
                matrix[k * d + p] = c * akp - s * akq;
                matrix[k * d + q] = s * akp + c * akq;
            }
            for k in 0..d {
                let (apk, aqk) = (matrix[p * d + k], matrix[q * d + k]);
                matrix[p * d + k] = c * apk - s * aqk;
                matrix[q * d + k] = s * apk + c * aqk;
            }
        }
    }
    let mut values: Vec<f64> = (0..d).map(|i| matrix[i * d + i]).collect();
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests {
    use flow_core::Noise;

    use super::*;

    #[test]
    fn eigenvalues_are_those_of_known_matrices() {
        // Of a path's second differences: 2 − 2 cos(kπ/(d + 1)).
        let d = 7;
        let entry = |i: usize| match (i / d).abs_diff(i % d) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let found = eigenvalues((0..d * d).map(entry).collect(), d);
        for (k, found) in (1..=d).rev().zip(found) {
            let want = 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (d + 1) as f64).cos();
            assert!((found - want).abs() < 1e-14, "{k}: {found} {want}");
        }
        assert_eq!(eigenvalues(vec![0.0; 4], 2), [0.0, 0.0]);
    }

    #[test]
    fn moments_are_those_of_the_rows() {
        let rows = Rows::new(vec![1.0, 0.0, 3.0, 0.0, 2.0, 3.0], 2).unwrap();
        let (mean, covariance) = moments(&rows);
        assert_eq!(mean, [2.0, 1.0]);
        let want = [2.0 / 3.0, 0.0, 0.0, 2.0];
        assert!(covariance.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-15), "{covariance:?}");
    }

    #[test]
    fn eigenvalues_keep_trace_and_squares() {
        let (d, noise) = (12, Noise::seed(3));
        let entry = |i: usize| noise.normal(((i / d).min(i % d) * d + (i / d).max(i % d)) as u64);
        let matrix: Vec<f64> = (0..d * d).map(entry).collect();
        let found = eigenvalues(matrix.clone(), d);
        let trace: f64 = (0..d).map(|i| matrix[i * d + i]).sum();
        let squares: f64 = matrix.iter().map(|v| v * v).sum();
        assert!((found.iter().sum::<f64>() - trace).abs() < 1e-12);
        assert!((found.iter().map(|v| v * v).sum::<f64>() - squares).abs() < 1e-11);
        assert!(found.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
