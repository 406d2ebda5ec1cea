//! Triangular systems, many vectors at a time.

use pulp::{Arch, Simd, WithSimd};

use crate::element::multiply_add;
use crate::{Element, LANES};

/// Which system is solved. Matrices are row-major, and only the strict triangle that a name speaks of
/// is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// `L x = b` with ones on the diagonal.
    UnitLower,
    /// `Lᵀ x = b` with ones on the diagonal.
    UnitLowerTransposed,
    /// `(U + diag) x = b`.
    Upper,
    /// `(U + diag)ᵀ x = b`.
    UpperTransposed,
}

/// Solves the system for each of the `vectors`, in place: as many numbers each as `diagonal` has,
/// which counts for [`Triangle::Upper`] and its transpose. Sums are taken one entry after the other,
/// as by hand; a zero on the diagonal gives numbers that are not finite.
///
/// ```
/// use flow_kernels::{solve, Triangle};
/// // x + 2y = 4 and 3y = 3, for one vector.
/// let mut vector = [4.0, 3.0];
/// solve(Triangle::Upper, &[0.0, 2.0, 0.0, 0.0], &[1.0, 3.0], &mut vector);
/// assert_eq!(vector, [2.0, 1.0]);
/// ```
///
/// # Panics
/// Where `matrix` is not square with that side, or `vectors` are not whole.
pub fn solve<E: Element>(system: Triangle, matrix: &[E], diagonal: &[E], vectors: &mut [E]) {
    let d = diagonal.len();
    assert_eq!(matrix.len(), d * d, "a {d} × {d} matrix");
    assert!(d > 0 && vectors.len().is_multiple_of(d), "vectors of {d} numbers");
    E::solve(system, matrix, diagonal, vectors);
}

#[inline(always)]
pub(crate) fn run<E: Element>(system: Triangle, matrix: &[E], diagonal: &[E], vectors: &mut [E]) {
    Arch::new().dispatch(Solve { system, matrix, diagonal, vectors });
}

struct Solve<'a, E> {
    system: Triangle,
    matrix: &'a [E],
    diagonal: &'a [E],
    vectors: &'a mut [E],
}

impl<E: Element> WithSimd for Solve<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { system, matrix, diagonal, vectors } = self;
        let d = diagonal.len();
        // One number of all vectors lies side by side.
        let mut lines = vec![[E::default(); LANES]; d];
        for vectors in vectors.chunks_mut(LANES * d) {
            for (lane, vector) in vectors.chunks_exact(d).enumerate() {
                lines.iter_mut().zip(vector).for_each(|(line, &v)| line[lane] = v);
            }
            match system {
                Triangle::UnitLower => {
                    for i in 1..d {
                        eliminate::<S, E>(&mut lines, i, 0..i, |j| matrix[i * d + j]);
                    }
                }
                Triangle::Upper => {
                    for i in (0..d).rev() {
                        eliminate::<S, E>(&mut lines, i, i + 1..d, |j| matrix[i * d + j]);
                        divide(&mut lines[i], diagonal[i]);
                    }
                }
                Triangle::UnitLowerTransposed => {
                    for i in (0..d).rev() {
                        eliminate::<S, E>(&mut lines, i, i + 1..d, |j| matrix[j * d + i]);
                    }
                }
                Triangle::UpperTransposed => {
                    for i in 0..d {
                        eliminate::<S, E>(&mut lines, i, 0..i, |j| matrix[j * d + i]);
                        divide(&mut lines[i], diagonal[i]);
                    }
                }
            }
            for (lane, vector) in vectors.chunks_exact_mut(d).enumerate() {
                lines.iter().zip(vector).for_each(|(line, v)| *v = line[lane]);
            }
        }
    }
}

/// Subtracts from line `i` the lines `known`, each times its entry.
#[inline(always)]
fn eliminate<S: Simd, E: Element>(
    lines: &mut [[E; LANES]],
    i: usize,
    known: std::ops::Range<usize>,
    entry: impl Fn(usize) -> E,
) {
    let mut line = lines[i];
    for j in known {
        let (by, other) = (-entry(j), &lines[j]);
        for k in 0..LANES {
            line[k] = multiply_add::<S, E>(by, other[k], line[k]);
        }
    }
    lines[i] = line;
}

#[inline(always)]
fn divide<E: Element>(line: &mut [E; LANES], by: E) {
    line.iter_mut().for_each(|v| *v = *v / by);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solutions_solve_their_systems() {
        let number = |i: usize| ((i * 37 + 11) % 23) as f64 / 23.0 - 0.48;
        for (d, count) in [(1, 1), (2, 17), (5, 16), (19, 35)] {
            // Entries well below the diagonal's keep the systems well-conditioned.
            let matrix: Vec<f64> = (0..d * d).map(|i| 0.3 * number(i)).collect();
            let diagonal: Vec<f64> = (0..d).map(|i| number(i).signum() + number(i)).collect();
            let b: Vec<f64> = (0..d * count).map(|i| number(i + 7)).collect();
            for system in [
                Triangle::UnitLower,
                Triangle::UnitLowerTransposed,
                Triangle::Upper,
                Triangle::UpperTransposed,
            ] {
                let entry = |i: usize, j: usize| {
                    let (i, j) = match system {
                        Triangle::UnitLowerTransposed | Triangle::UpperTransposed => (j, i),
                        _ => (i, j),
                    };
                    let lower =
                        matches!(system, Triangle::UnitLower | Triangle::UnitLowerTransposed);
                    match (i == j, (i > j) == lower) {
                        (true, _) if lower => 1.0,
                        (true, _) => diagonal[i],
                        (_, true) => matrix[i * d + j],
                        (_, false) => 0.0,
                    }
                };
                let mut x = b.clone();
                solve(system, &matrix, &diagonal, &mut x);
                for (x, b) in x.chunks_exact(d).zip(b.chunks_exact(d)) {
                    for (i, b) in b.iter().enumerate() {
                        let got: f64 = (0..d).map(|j| entry(i, j) * x[j]).sum();
                        assert!((got - b).abs() < 1e-12, "{system:?} of {d}: {got}, not {}", b);
                    }
                }
            }
        }
    }
}
