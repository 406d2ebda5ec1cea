//! `log det(I + J)` of a contraction's Jacobian J, and its gradient.

use super::field::Field;
use super::probe::{add_products, basis, per_chunk, scale_rows, Trace};
use super::square::{invert, log_abs_det};
use crate::engine::{Pass, Scratch};
use crate::nets::{Differentiable, Linearization};
use crate::{FlowError, Result, Scalar};

/// How a [`Residual`](super::Residual) block finds its log-determinant, the sum over k ≥ 1 of
/// `(−1)^(k+1)/k·tr(Jᵏ)`.
///
/// The gradient is that of tr((I + J)⁻¹ dJ) with (I + J)⁻¹ as the series of (−J)ᵏ, cut or weighted
/// as the value is, so that the input of the block suffices (Chen et al. 2019, "Residual flows
/// for invertible generative modeling", section 3.2). Random numbers come from the pass, the same
/// in a pass and its product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Determinant {
    /// From the whole Jacobian: d products with J for d numbers a sample, and elimination. Where d is
    /// at most 8, a pass that stores activations keeps what the products are made of, too.
    Exact,
    /// The first terms of the series. What is missing is at most
    /// [`series_tail`] in size where the traces are exact, and the gradient is then that of the
    /// truncated sum itself. With [`Trace::Hutchinson`] value and gradient are random and unbiased,
    /// each for that of exact traces; the gradient is not the derivative of the value drawn.
    Series {
        /// How many terms.
        terms: usize,
        /// How their traces are found.
        trace: Trace,
    },
    /// `exact_terms` terms and then a random number of others, each weighted with the inverse of
    /// the probability that it is reached; traces are Hutchinson's. Unbiased for the true
    /// log-determinant and its gradient (Chen et al. 2019, section 3), which is not the derivative
    /// of the value drawn. The variance is finite for certain where c² < 1 − p.
    Roulette {
        /// The probability to stop after each further term; their number has the mean (1 − p)/p.
        p: f64,
        /// Terms that are never left out, at least 1.
        exact_terms: usize,
    },
}

/// At most this much is missing from a log-determinant after `terms` terms of its series, for
/// samples of `size` numbers and a net with the Lipschitz constant `lipschitz` below 1:
/// `size·c^(n+1)/((n + 1)·(1 − c))`, which is above `Σ_{k>n} size·cᵏ/k` and so, as |tr(Jᵏ)| is at
/// most size·cᵏ, above the rest of the series.
///
/// ```
/// use flow_core::blocks::series_tail;
/// assert!(series_tail(2, 0.5, 20) < 1e-7);
/// ```
pub fn series_tail(size: usize, lipschitz: f64, terms: usize) -> f64 {
    let next = terms as f64 + 1.0;
    size as f64 * lipschitz.powf(next) / (next * (1.0 - lipschitz))
}

impl Determinant {
    /// An error for an option out of its range.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Series { terms: 0, .. } => {
                Err(FlowError::option("terms of the series", 0, "at least 1"))
            }
            Self::Roulette { exact_terms: 0, .. } => {
                Err(FlowError::option("exact terms of the roulette", 0, "at least 1"))
            }
            Self::Roulette { p, .. } if !(p > 0.0 && p < 1.0) => {
                let expected = "a number strictly between 0 and 1";
                Err(FlowError::option("p of the roulette", p, expected))
            }
            _ => Ok(()),
        }
    }

    /// Rows that are worked on at once, so that whole Jacobians are few.
    pub(super) fn rows_at_once(self, rows: usize, size: usize) -> usize {
        const MATRICES: usize = 1 << 18;
        match self {
            Self::Exact => (MATRICES / (size * size)).clamp(1, rows.max(1)),
            _ => rows.max(1),
        }
    }

    fn trace(self) -> Trace {
        match self {
            Self::Exact => Trace::Exact,
            Self::Series { trace, .. } => trace,
            Self::Roulette { .. } => Trace::Hutchinson,
        }
    }

    /// The number of terms of each row.
    fn terms<E: Scalar>(self, pass: &mut Pass<'_, E>) -> Scratch<E> {
        let mut terms = pass.take(pass.rows());
        match self {
            Self::Exact => terms.fill(E::zero()),
            Self::Series { terms: count, .. } => terms.fill(E::of(count as f64)),
            Self::Roulette { p, exact_terms } => {
                for (row, count) in terms.iter_mut().enumerate() {
                    // P(further ≥ m) = P(u ≤ (1 − p)^m) = (1 − p)^m.
                    let u = pass.noise(row).named("terms").uniform(0);
                    let further = (u.ln() / (1.0 - p).ln()).floor();
                    *count = E::of(exact_terms as f64 + further);
                }
            }
        }
        terms
    }

    /// 1/P(a row has k terms or more).
    fn weight(self, k: usize) -> f64 {
        match self {
            Self::Roulette { p, exact_terms } => {
                (1.0 - p).powf(-(k.saturating_sub(exact_terms) as f64))
            }
            _ => 1.0,
        }
    }

    /// `I + J` of each row, inverted: what the exact gradient needs. None for the others.
    pub(super) fn inverses<E: Scalar, N: Differentiable<E>>(
        self,
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
    ) -> Option<Scratch<E>> {
        let Self::Exact = self else { return None };
        let d = field.size();
        let mut matrices = shifted_jacobians(field, pass, at);
        let mut order = pass.take(d);
        for matrix in matrices.chunks_exact_mut(d * d) {
            invert(matrix, d, &mut order);
        }
        pass.give(order);
        Some(matrices)
    }

    /// Adds `sign·log det(I + J)` of each row.
    pub(super) fn add<E: Scalar, N: Differentiable<E>>(
        self,
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        sign: f64,
        log_det: &mut [E],
    ) {
        let d = field.size();
        if self == Self::Exact {
            let mut matrices = shifted_jacobians(field, pass, at);
            for (matrix, number) in matrices.chunks_exact_mut(d * d).zip(log_det) {
                *number += E::of(sign) * log_abs_det(matrix, d);
            }
            return pass.give(matrices);
        }
        let terms = self.terms(pass);
        let most = terms.iter().fold(0.0_f64, |most, v| most.max(v.as_f64())) as usize;
        for chunk in self.trace().chunks(pass.rows(), d) {
            let probes = self.trace().probes(pass, d, chunk);
            let mut power = pass.take_copy(&probes);
            let mut next = pass.take(probes.len());
            for k in 1..=most {
                field.push(pass, at, &power, &mut next);
                std::mem::swap(&mut power, &mut next);
                let alternating = if k % 2 == 1 { sign } else { -sign };
                let factor = E::of(alternating * self.weight(k) / k as f64);
                let counts = |row: usize| k as f64 <= terms[row].as_f64();
                add_products(log_det, &probes, &power, |row| counts(row).then_some(factor));
            }
            [probes, power, next].into_iter().for_each(|buffer| pass.give(buffer));
        }
        pass.give(terms);
    }

    /// The gradient of `⟨by_output, field(x)⟩ + Σ scale·log det(I + J)`, as
    /// [`Field::gradient`]. `inverses` are those of [`inverses`](Self::inverses).
    pub(super) fn gradient<E: Scalar, N: Differentiable<E>>(
        self,
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        inverses: Option<&[E]>,
        scale: &[E],
        by_output: &[E],
        by_x: &mut [E],
    ) {
        let d = field.size();
        field.gradient_in_chunks(pass, at, self.trace(), by_output, by_x, |pass, chunk, probes| {
            // tr((I + J)⁻¹ dJ) = Σ_v ⟨(I + J)⁻ᵀ v, dJ v⟩.
            let mut cotangents = match inverses {
                Some(inverses) => {
                    let mut rows = pass.take(probes.len());
                    let matrices = inverses.chunks_exact(d * d);
                    for (to, matrix) in rows.chunks_exact_mut(chunk.len() * d).zip(matrices) {
                        to.copy_from_slice(&matrix[chunk.start * d..chunk.end * d]);
                    }
                    rows
                }
                None => self.solve(field, pass, at, probes),
            };
            scale_rows(&mut cotangents, scale);
            cotangents
        });
    }

    /// `Σ_k (−Jᵀ)ᵏ v` with the weights of the series: (I + J)⁻ᵀ v, cut or in the mean.
    fn solve<E: Scalar, N: Differentiable<E>>(
        self,
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        probes: &[E],
    ) -> Scratch<E> {
        let terms = self.terms(pass);
        let most = terms.iter().fold(0.0_f64, |most, v| most.max(v.as_f64())) as usize;
        let width = probes.len() / pass.rows();
        // The first term always counts.
        let mut sum = pass.take_copy(probes);
        let mut power = pass.take_copy(probes);
        let mut next = pass.take(probes.len());
        for k in 1..most {
            field.pull(pass, at, &power, &mut next);
            std::mem::swap(&mut power, &mut next);
            let alternating = if k % 2 == 1 { -1.0 } else { 1.0 };
            let factor = E::of(alternating * self.weight(k + 1));
            let rows = sum.chunks_exact_mut(width).zip(power.chunks_exact(width)).zip(&*terms);
            for ((sum, power), _) in rows.filter(|(_, count)| (k as f64) < count.as_f64()) {
                sum.iter_mut().zip(power).for_each(|(sum, &v)| *sum += factor * v);
            }
        }
        [terms, power, next].into_iter().for_each(|buffer| pass.give(buffer));
        sum
    }
}

/// `I + J` of each row, row-major.
fn shifted_jacobians<E: Scalar, N: Differentiable<E>>(
    field: &Field<N>,
    pass: &mut Pass<'_, E>,
    at: &Linearization<E>,
) -> Scratch<E> {
    let (rows, d) = (pass.rows(), field.size());
    let mut matrices = pass.take(rows * d * d);
    let each = per_chunk(rows, d);
    for start in (0..d).step_by(each) {
        let chunk = start..d.min(start + each);
        let width = chunk.len() * d;
        // A pulled unit vector is a row of J.
        let units = basis(pass, d, chunk.clone());
        let mut pulled = pass.take(units.len());
        field.pull(pass, at, &units, &mut pulled);
        for (matrix, rows) in matrices.chunks_exact_mut(d * d).zip(pulled.chunks_exact(width)) {
            matrix[start * d..start * d + width].copy_from_slice(rows);
        }
        pass.give(pulled);
        pass.give(units);
    }
    for matrix in matrices.chunks_exact_mut(d * d) {
        matrix.iter_mut().step_by(d + 1).for_each(|v| *v += E::one());
    }
    matrices
}

#[cfg(feature = "cuda")]
#[path = "determinant_lowering.rs"]
mod lowering;
