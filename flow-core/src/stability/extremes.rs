//! The extreme singular values of each row's Jacobian.

use super::probe::Probe;
use super::svd::{axpy, bidiagonal_values, norm, singular_values};
use crate::engine::Direction;
use crate::sums::dot;
use crate::{Architecture, Noise, Result, Scalar};

/// Steps of the Golub-Kahan process where the Jacobian is too large for all singular values.
pub(super) const LANCZOS_STEPS: usize = 32;

/// Rows whose Lanczos vectors are kept at once.
const LANCZOS_ROWS: usize = 16;

/// Singular values of one row's Jacobian; NaN where it is not finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extremes {
    pub(super) largest: f64,
    pub(super) smallest: f64,
    /// The sum of the logarithms of all of them.
    pub(super) log_det: f64,
}

const UNKNOWN: Extremes = Extremes { largest: f64::NAN, smallest: f64::NAN, log_det: f64::NAN };

/// From all singular values of each row's Jacobian.
pub(super) fn full<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
) -> Result<Vec<Extremes>> {
    let size = probe.size();
    probe.jacobians(direction, x, of, |jacobian| match singular_values(jacobian, size) {
        Some(values) => Extremes {
            largest: values[0],
            smallest: values[size - 1],
            log_det: values.iter().map(|v| v.ln()).sum(),
        },
        None => UNKNOWN,
    })
}

/// From the largest singular values of both directions' Jacobians, by Lanczos.
pub(super) fn by_lanczos<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    x: &[E],
    of: &[usize],
) -> Result<Vec<Extremes>> {
    let forward = largest_by_lanczos(probe, Direction::Forward, x, of)?;
    let z = probe.send(Direction::Forward, x, of)?.values;
    let inverse = largest_by_lanczos(probe, Direction::Inverse, &z, of)?;
    let both = forward.iter().zip(&inverse);
    Ok(both
        .map(|(f, g)| Extremes { largest: f.0, smallest: 1.0 / g.0, log_det: f64::NAN })
        .collect())
}

/// The largest singular value of each row's Jacobian with its left singular vector, by the process
/// of Golub and Kahan (1965, "Calculating the singular values and pseudo-inverse of a matrix") with
/// full reorthogonalisation.
///
/// Products with the transposed Jacobian are exact; those with the Jacobian itself are central
/// differences and only choose the vector `u`. The value is ‖Jᵀu‖ for a unit vector, so it is never
/// above the largest singular value but for rounding.
pub(super) fn largest_by_lanczos<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
) -> Result<Vec<(f64, Vec<f64>)>> {
    let size = probe.size();
    let mut found = Vec::with_capacity(of.len());
    for (x, of) in x.chunks(LANCZOS_ROWS * size).zip(of.chunks(LANCZOS_ROWS)) {
        let vectors = lanczos_vectors(probe, direction, x, of)?;
        let values = stretched(probe, direction, x, of, &vectors)?;
        found.extend(values.into_iter().zip(vectors));
    }
    Ok(found)
}

/// ‖Jᵀu‖ for each row's unit vector u.
pub(super) fn stretched<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
    vectors: &[Vec<f64>],
) -> Result<Vec<f64>> {
    let mut u: Vec<E> = vectors.iter().flatten().map(|&v| E::of(v)).collect();
    // What rounding to E made of the unit vector.
    let lengths: Vec<f64> = u.chunks_exact(probe.size()).map(norm_of).collect();
    probe.vjp(direction, x, &mut u, of)?;
    let products = u.chunks_exact(probe.size()).map(norm_of);
    Ok(products.zip(lengths).map(|(product, length)| product / length).collect())
}

fn norm_of<E: Scalar>(row: &[E]) -> f64 {
    norm(&row.iter().map(|v| v.as_f64()).collect::<Vec<_>>())
}

/// One row's process: J·V = U·B with B lower bidiagonal.
#[derive(Default)]
struct Process {
    left: Vec<Vec<f64>>,
    right: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
    below: Vec<f64>,
    done: bool,
}

fn lanczos_vectors<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
) -> Result<Vec<Vec<f64>>> {
    let size = probe.size();
    let noise = Noise::seed(0x6c61);
    let mut processes: Vec<Process> = of
        .iter()
        .map(|&row| {
            let mut start = vec![0.0; size];
            noise.at(row as u64).fill_normal(0, &mut start);
            normalize(&mut start);
            Process { left: vec![start], ..Process::default() }
        })
        .collect();
    for step in 0..LANCZOS_STEPS.min(size) {
        let mut products: Vec<E> =
            processes.iter().flat_map(|p| &p.left[step]).map(|&v| E::of(v)).collect();
        probe.vjp(direction, x, &mut products, of)?;
        for (process, product) in processes.iter_mut().zip(products.chunks_exact(size)) {
            let mut v: Vec<f64> = product.iter().map(|v| v.as_f64()).collect();
            orthogonalize(&mut v, &process.right);
            let diagonal = process.keep(normalize(&mut v));
            process.diagonal.push(diagonal);
            process.right.push(v);
        }
        let right: Vec<&[f64]> = processes.iter().map(|p| p.right[step].as_slice()).collect();
        let products = along(probe, direction, x, of, &right)?;
        for (process, mut u) in processes.iter_mut().zip(products) {
            orthogonalize(&mut u, &process.left);
            let below = process.keep(normalize(&mut u));
            process.below.push(below);
            process.left.push(u);
        }
    }
    Ok(processes.iter().map(|process| process.best(size)).collect())
}

impl Process {
    /// A number of the bidiagonal matrix: zero from where the process has ended.
    fn keep(&mut self, length: f64) -> f64 {
        self.done |= !(length.is_finite() && length > 0.0);
        if self.done {
            0.0
        } else {
            length
        }
    }

    /// The left singular vector of the largest Ritz value.
    fn best(&self, size: usize) -> Vec<f64> {
        let count = self.diagonal.iter().take_while(|d| **d > 0.0).count();
        if count == 0 {
            return self.left[0].clone();
        }
        let (d, below) = (&self.diagonal[..count], &self.below[..count - 1]);
        let weights = top_left_vector(d, below);
        let mut u = vec![0.0; size];
        for (weight, left) in weights.iter().zip(&self.left) {
            axpy(&mut u, *weight, left);
        }
        normalize(&mut u);
        u
    }
}

/// The left singular vector of the largest singular value of a lower bidiagonal matrix B, by power
/// iteration on (B·Bᵀ/σ²)⁸: any error in it only lowers the estimate.
fn top_left_vector(d: &[f64], below: &[f64]) -> Vec<f64> {
    let n = d.len();
    let top = bidiagonal_values(&mut d.to_vec(), &mut below.to_vec())
        .and_then(|values| values.first().copied())
        .filter(|v| *v > 0.0)
        .unwrap_or(1.0);
    let mut square = vec![0.0; n * n];
    for i in 0..n {
        let diagonal = d[i] / top;
        let before = if i > 0 { below[i - 1] / top } else { 0.0 };
        square[i * n + i] = diagonal * diagonal + before * before;
        if i + 1 < n {
            let off = diagonal * (below[i] / top);
            square[i * n + i + 1] = off;
            square[(i + 1) * n + i] = off;
        }
    }
    for _ in 0..3 {
        square = squared(&square, n);
    }
    let mut u = vec![1.0 / (n as f64).sqrt(); n];
    for _ in 0..200 {
        let next: Vec<f64> = square.chunks_exact(n).map(|row| dot(row, &u)).collect();
        u = next;
        normalize(&mut u);
    }
    u
}

fn squared(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for (row, out) in matrix.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (factor, other) in row.iter().zip(matrix.chunks_exact(n)) {
            axpy(out, *factor, other);
        }
    }
    out
}

/// Each row's Jacobian times a unit vector, by a central difference.
fn along<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
    vectors: &[&[f64]],
) -> Result<Vec<Vec<f64>>> {
    let size = probe.size();
    // Balances the truncation of the difference against its rounding.
    let steps: Vec<f64> = x
        .chunks_exact(size)
        .map(|row| E::epsilon().as_f64().cbrt() * norm_of(row).max(1.0))
        .collect();
    let moved = |sign: f64| -> Vec<E> {
        let rows = x.chunks_exact(size).zip(vectors).zip(&steps);
        rows.flat_map(|((row, v), step)| {
            row.iter().zip(*v).map(move |(x, v)| E::of(x.as_f64() + sign * step * v))
        })
        .collect()
    };
    let up = probe.send(direction, &moved(1.0), of)?.values;
    let down = probe.send(direction, &moved(-1.0), of)?.values;
    let rows = up.chunks_exact(size).zip(down.chunks_exact(size)).zip(&steps);
    Ok(rows
        .map(|((up, down), step)| {
            let both = up.iter().zip(down);
            both.map(|(up, down)| (up.as_f64() - down.as_f64()) / (2.0 * step)).collect()
        })
        .collect())
}

/// Takes away what lies along others, twice: once is not enough ("twice is enough", Kahan).
fn orthogonalize(v: &mut [f64], others: &[Vec<f64>]) {
    for _ in 0..2 {
        for other in others {
            let along = dot(v, other);
            axpy(v, -along, other);
        }
    }
}

/// Scales to length 1 and returns what the length was; a vector without one becomes zero.
fn normalize(v: &mut [f64]) -> f64 {
    let length = norm(v);
    if length > 0.0 && length.is_finite() {
        v.iter_mut().for_each(|v| *v /= length);
    } else {
        v.fill(0.0);
    }
    length
}
