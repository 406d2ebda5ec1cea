//! Singular values of square matrices, without vectors.
//!
//! Householder reflections make the matrix bidiagonal, and implicitly shifted QR steps make that
//! diagonal (Golub and Reinsch 1970, "Singular value decomposition and least squares solutions").
//! Both are backward stable: every value is within about `n·ε·σ_max` of the true one, with
//! ε = 2⁻⁵³. Values smaller than that are not resolved.

use rayon::prelude::*;

use crate::sums::dot;

/// From this size on, one matrix is worth several threads.
const LARGE: usize = 256;

/// The singular values of a row-major `n × n` matrix in descending order; none where an entry is
/// not finite. The matrix is used up.
pub(super) fn singular_values(matrix: &mut [f64], n: usize) -> Option<Vec<f64>> {
    assert_eq!(matrix.len(), n * n, "a {n} × {n} matrix");
    let largest = matrix.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    if !matrix.iter().all(|v| v.is_finite()) {
        return None;
    }
    if largest == 0.0 {
        return Some(vec![0.0; n]);
    }
    // A power of two, so that scaling is exact; squares can then neither overflow nor all vanish.
    let scale = 2f64.powi(largest.log2().floor().clamp(-1000.0, 1000.0) as i32);
    matrix.iter_mut().for_each(|v| *v /= scale);
    let (mut diagonal, mut above) = bidiagonalize(matrix, n);
    let mut values = bidiagonal_values(&mut diagonal, &mut above)?;
    values.iter_mut().for_each(|v| *v *= scale);
    Some(values)
}

/// The diagonal and the one above it, by reflections from the left and the right in turn.
fn bidiagonalize(matrix: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut above) = (vec![0.0; n], vec![0.0; n.saturating_sub(1)]);
    let (mut reflector, mut product) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..n {
        let count = n - k;
        for (i, v) in reflector[..count].iter_mut().enumerate() {
            *v = matrix[(k + i) * n + k];
        }
        let (beta, image) = reflect(&mut reflector[..count]);
        diagonal[k] = image;
        if k + 1 == n {
            break;
        }
        // From the left: A ← A − β·v·(vᵀA), on the columns to the right.
        let rows = &mut matrix[k * n..];
        if beta != 0.0 {
            let width = n - k - 1;
            left_product(rows, n, k + 1, &reflector[..count], &mut product[..width]);
            let product = &product[..width];
            each_row(rows, n, |i, row| axpy(&mut row[k + 1..], -beta * reflector[i], product));
        }
        // From the right: A ← A − β·(A·v)·vᵀ, on the rows below.
        let count = n - k - 1;
        reflector[..count].copy_from_slice(&matrix[k * n + k + 1..(k + 1) * n]);
        let (beta, image) = reflect(&mut reflector[..count]);
        above[k] = image;
        if beta != 0.0 {
            let v = &reflector[..count];
            each_row(&mut matrix[(k + 1) * n..], n, |_, row| {
                let row = &mut row[k + 1..];
                let along = dot(row, v);
                axpy(row, -beta * along, v);
            });
        }
    }
    (diagonal, above)
}

/// Turns `x` into the vector `v` of the reflection I − β·v·vᵀ that sends it to (image, 0, …, 0).
fn reflect(x: &mut [f64]) -> (f64, f64) {
    let tail = dot(&x[1..], &x[1..]);
    if tail == 0.0 {
        return (0.0, x[0]);
    }
    let norm = (x[0] * x[0] + tail).sqrt();
    let image = if x[0] > 0.0 { -norm } else { norm };
    x[0] -= image;
    (2.0 / (x[0] * x[0] + tail), image)
}

/// `vᵀA` for the columns of `rows` from `from` on.
fn left_product(rows: &[f64], n: usize, from: usize, v: &[f64], out: &mut [f64]) {
    if n < LARGE {
        out.fill(0.0);
        for (row, &v) in rows.chunks_exact(n).zip(v) {
            axpy(out, v, &row[from..]);
        }
        return;
    }
    // Columns over threads: each sum has one order, whatever the number of threads.
    const STRIP: usize = 64;
    out.par_chunks_mut(STRIP).enumerate().for_each(|(strip, out)| {
        out.fill(0.0);
        let from = from + strip * STRIP;
        for (row, &v) in rows.chunks_exact(n).zip(v) {
            axpy(out, v, &row[from..from + out.len()]);
        }
    });
}

fn each_row(rows: &mut [f64], n: usize, change: impl Fn(usize, &mut [f64]) + Sync + Send) {
    if n < LARGE {
        rows.chunks_exact_mut(n).enumerate().for_each(|(i, row)| change(i, row));
    } else {
        let rows = rows.par_chunks_exact_mut(n).enumerate().with_min_len(16);
        rows.for_each(|(i, row)| change(i, row));
    }
}

pub(super) fn axpy(out: &mut [f64], factor: f64, x: &[f64]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// The Euclidean norm, without overflow on the way.
pub(super) fn norm(x: &[f64]) -> f64 {
    let largest = x.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    if x.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    if largest == 0.0 || largest.is_infinite() {
        return largest;
    }
    largest * x.iter().map(|v| (v / largest).powi(2)).sum::<f64>().sqrt()
}

/// The singular values of an upper bidiagonal matrix in descending order; none where the steps do
/// not converge. `above` has one entry less than `d`.
pub(super) fn bidiagonal_values(d: &mut [f64], above: &mut [f64]) -> Option<Vec<f64>> {
    let n = d.len();
    let size = d.iter().chain(&*above).fold(0.0_f64, |most, v| most.max(v.abs()));
    let negligible = f64::EPSILON * size;
    let mut steps_left = 60 * n + 60;
    // The block that is not yet diagonal ends at `last`.
    let mut last = n.saturating_sub(1);
    while last > 0 {
        for i in 0..last {
            if above[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs()) {
                above[i] = 0.0;
            }
        }
        if above[last - 1] == 0.0 {
            last -= 1;
            continue;
        }
        let first = above[..last].iter().rposition(|v| *v == 0.0).map_or(0, |i| i + 1);
        steps_left = usize::checked_sub(steps_left, 1)?;
        match (first..=last).find(|&i| d[i].abs() <= negligible) {
            Some(i) if i < last => {
                d[i] = 0.0;
                clear_row(d, above, i, last);
            }
            Some(i) => {
                d[i] = 0.0;
                clear_column(d, above, first, last);
            }
            None => qr_step(d, above, first, last),
        }
    }
    let mut values: Vec<f64> = d.iter().map(|v| v.abs()).collect();
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    Some(values)
}

/// Cosine and sine that turn (a, b) into (r, 0), and r.
fn rotation(a: f64, b: f64) -> (f64, f64, f64) {
    let r = a.hypot(b);
    if r == 0.0 {
        (1.0, 0.0, 0.0)
    } else {
        (a / r, b / r, r)
    }
}

/// With `d[at] = 0`, turns the entry to its right out of the block, row by row.
fn clear_row(d: &mut [f64], above: &mut [f64], at: usize, last: usize) {
    let mut bulge = std::mem::take(&mut above[at]);
    for i in at + 1..=last {
        let (c, s, r) = rotation(d[i], bulge);
        d[i] = r;
        if i < last {
            bulge = -s * above[i];
            above[i] *= c;
        }
    }
}

/// With `d[last] = 0`, turns the entry above it out of the block, column by column.
fn clear_column(d: &mut [f64], above: &mut [f64], first: usize, last: usize) {
    let mut bulge = std::mem::take(&mut above[last - 1]);
    for i in (first..last).rev() {
        let (c, s, r) = rotation(d[i], bulge);
        d[i] = r;
        if i > first {
            bulge = -s * above[i - 1];
            above[i - 1] *= c;
        }
    }
}

/// One step with Wilkinson's shift on the block `first..=last`.
fn qr_step(d: &mut [f64], above: &mut [f64], first: usize, last: usize) {
    let before = if last >= first + 2 { above[last - 2] } else { 0.0 };
    let t11 = d[last - 1] * d[last - 1] + before * before;
    let t12 = d[last - 1] * above[last - 1];
    let t22 = d[last] * d[last] + above[last - 1] * above[last - 1];
    let half = 0.5 * (t11 - t22);
    let denominator = half.abs() + half.hypot(t12);
    let shift = match denominator > 0.0 {
        true => t22 - half.signum() * t12 * (t12 / denominator),
        false => t22,
    };
    let mut y = d[first] * d[first] - shift;
    let mut z = d[first] * above[first];
    for k in first..last {
        let (c, s, r) = rotation(y, z);
        if k > first {
            above[k - 1] = r;
        }
        let (dk, ek) = (d[k], above[k]);
        d[k] = c * dk + s * ek;
        above[k] = c * ek - s * dk;
        let bulge = s * d[k + 1];
        d[k + 1] *= c;

        let (c, s, r) = rotation(d[k], bulge);
        d[k] = r;
        let (ek, next) = (above[k], d[k + 1]);
        above[k] = c * ek + s * next;
        d[k + 1] = c * next - s * ek;
        if k + 1 < last {
            y = above[k];
            z = s * above[k + 1];
            above[k + 1] *= c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    /// Rotations of pairs of columns until all are orthogonal (Hestenes 1958): slow and plain.
    fn by_jacobi(matrix: &[f64], n: usize) -> Vec<f64> {
        let mut columns: Vec<Vec<f64>> =
            (0..n).map(|j| (0..n).map(|i| matrix[i * n + j]).collect()).collect();
        for _ in 0..60 {
            let mut turned = false;
            for p in 0..n {
                for q in p + 1..n {
                    let (a, b) = (dot(&columns[p], &columns[p]), dot(&columns[q], &columns[q]));
                    let c = dot(&columns[p], &columns[q]);
                    if c.abs() <= 1e-16 * (a * b).sqrt() || c == 0.0 {
                        continue;
                    }
                    turned = true;
                    let zeta = (b - a) / (2.0 * c);
                    let t = zeta.signum() / (zeta.abs() + 1f64.hypot(zeta));
                    let cosine = 1.0 / 1f64.hypot(t);
                    let sine = cosine * t;
                    let (left, right) = columns.split_at_mut(q);
                    for (x, y) in left[p].iter_mut().zip(&mut right[0]) {
                        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                    }
                }
            }
            if !turned {
                break;
            }
        }
        let mut values: Vec<f64> = columns.iter().map(|c| dot(c, c).sqrt()).collect();
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        values
    }

    fn random(n: usize, seed: u64) -> Vec<f64> {
        normal(n * n, seed)
    }

    fn check(matrix: &[f64], n: usize) {
        let found = singular_values(&mut matrix.to_vec(), n).unwrap();
        let wanted = by_jacobi(matrix, n);
        let tolerance = 4.0 * n as f64 * f64::EPSILON * wanted[0];
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= tolerance, "{n}: {found} for {wanted}");
        }
    }

    #[test]
    fn random_matrices_agree_with_jacobi_rotations() {
        for n in [1, 2, 3, 4, 7, 16, 33, 64] {
            for seed in 0..5 {
                check(&random(n, seed), n);
            }
        }
    }

    #[test]
    fn a_large_matrix_has_the_values_it_was_made_of() {
        // A diagonal between two reflections, so large that rows and columns go over threads.
        let n = LARGE + 1;
        let wanted: Vec<f64> = (0..n).map(|i| 10f64.powf(-6.0 * i as f64 / n as f64)).collect();
        let mut unit = random(n, 9)[..2 * n].to_vec();
        unit.chunks_exact_mut(n).for_each(|u| {
            let length = norm(u);
            u.iter_mut().for_each(|v| *v /= length);
        });
        let (u, v) = unit.split_at(n);
        let delta = |i: usize, j: usize| f64::from(u8::from(i == j));
        let along: f64 = (0..n).map(|k| u[k] * wanted[k] * v[k]).sum();
        let mut matrix: Vec<f64> = (0..n * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                delta(i, j) * wanted[i] - 2.0 * (u[i] * u[j] * wanted[j] + wanted[i] * v[i] * v[j])
                    + 4.0 * along * u[i] * v[j]
            })
            .collect();
        let found = singular_values(&mut matrix, n).unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= n as f64 * f64::EPSILON, "{found} for {wanted}");
        }
    }

    #[test]
    fn degenerate_matrices_agree_with_jacobi_rotations() {
        for n in [2, 3, 5, 12] {
            let noise = random(n, 3);
            let low_rank: Vec<f64> = (0..n * n).map(|i| noise[i / n] * noise[i % n]).collect();
            check(&low_rank, n);
            let graded: Vec<f64> =
                (0..n * n).map(|i| noise[i] * 10f64.powi(-(2 * (i / n) as i32))).collect();
            check(&graded, n);
            let mut holes = noise.clone();
            for i in 0..n {
                holes[i * n] = 0.0;
                holes[(n - 1) * n + i] = 0.0;
                holes[i * n + i] = 0.0;
            }
            check(&holes, n);
            // A Jordan block: all on the diagonal above, so every diagonal entry is zero.
            let jordan: Vec<f64> = (0..n * n).map(|i| f64::from(i % n == i / n + 1)).collect();
            check(&jordan, n);
            let identity: Vec<f64> = (0..n * n).map(|i| f64::from(i % n == i / n)).collect();
            assert_eq!(singular_values(&mut identity.clone(), n).unwrap(), vec![1.0; n]);
        }
        assert_eq!(singular_values(&mut [0.0; 9], 3).unwrap(), [0.0; 3]);
        assert_eq!(singular_values(&mut [], 0).unwrap(), [0.0; 0]);
    }

    #[test]
    fn extreme_scales_neither_overflow_nor_vanish() {
        let matrix = random(6, 4);
        let plain = singular_values(&mut matrix.clone(), 6).unwrap();
        for scale in [1e300, 1e-300] {
            let scaled: Vec<f64> = matrix.iter().map(|v| v * scale).collect();
            let found = singular_values(&mut scaled.clone(), 6).unwrap();
            for (found, plain) in found.iter().zip(&plain) {
                assert!((found / scale - plain).abs() < 1e-13 * plain, "{found} for {plain}");
            }
        }
        assert!(singular_values(&mut [1.0, f64::NAN, 0.0, 1.0], 2).is_none());
        assert!(singular_values(&mut [1.0, f64::INFINITY, 0.0, 1.0], 2).is_none());
        assert!((norm(&[3e200, 4e200]) / 5e200 - 1.0).abs() < 1e-15);
        assert!(norm(&[f64::NAN]).is_nan() && norm(&[f64::INFINITY, 1.0]).is_infinite());
    }
}
