//! `log det(I + J)` of a contraction's Jacobian, and its gradient, as kernels for a GPU.

use flow_cuda::kernels::contraction::STATUS;
use flow_cuda::kernels::rows::{fill, gather, scaled_copy, scatter, Rows};
use flow_cuda::kernels::square::{invert_shifted, log_det_shifted};
use flow_cuda::kernels::tangents::{add_power, add_trace, next_term, scale_rows, Terms};
use flow_cuda::{Op, Slot};

use super::Determinant;
use crate::blocks::field::Field;
use crate::cuda::Lowering;
use crate::nets::{Differentiable, Linearized};
use crate::{FlowError, Scalar};

impl Determinant {
    /// Records `log_det += sign·log det(I + J)` of each row, and where a product follows returns
    /// what its gradient needs: `(I + J)⁻¹` of the exact one.
    pub(in crate::blocks) fn record<E: Scalar, N: Differentiable<E>>(
        self,
        to: &mut Lowering<E>,
        field: &Field<N>,
        at: &Linearized,
        sign: f64,
    ) -> Option<Slot> {
        let ops = if self == Self::Exact {
            let (d, rows) = (field.size(), to.rows());
            let matrices = to.keep(rows * d * d);
            let mut ops = jacobians(to, field, at, matrices);
            let log_det = to.log_det();
            if !to.keeping() {
                ops.push(log_det_shifted(matrices, log_det, d, sign));
                ops.into_iter().for_each(|op| to.record(op));
                return None;
            }
            let order = to.scratch(rows * d);
            ops.push(invert_shifted(matrices, log_det, order, d, sign));
            ops.into_iter().for_each(|op| to.record(op));
            return Some(matrices);
        } else {
            self.series(to, field, at, sign)
        };
        ops.into_iter().for_each(|op| to.record(op));
        None
    }

    /// Adds the terms of the series.
    fn series<E: Scalar, N: Differentiable<E>>(
        self,
        to: &mut Lowering<E>,
        field: &Field<N>,
        at: &Linearized,
        sign: f64,
    ) -> Vec<Op> {
        let (rows, d) = (to.rows(), field.size());
        let (mut ops, terms, status) = self.terms_of(to);
        for (first, count) in field.chunks(self.trace(), rows) {
            let mark = to.recording().mark();
            let [probes, power, next] = [0; 3].map(|_| to.scratch(rows * count * d));
            ops.push(field.probes(to, self.trace(), first, probes));
            ops.push(scaled_copy(power, probes, 1.0));
            ops.push(fill(terms.number, 1.0));
            let mut turn = field.push_ops(to, at, count, [power, next]);
            turn.push(scaled_copy(power, next, 1.0));
            turn.push(add_trace(to.log_det(), probes, power, terms, sign));
            ops.extend(self.repeated(to, turn, 1, terms, status));
            to.recording().reuse(mark);
        }
        ops
    }

    /// How many terms each row has, with what counts them and where a loop over them writes.
    fn terms_of<E: Scalar>(self, to: &mut Lowering<E>) -> (Vec<Op>, Terms, Slot) {
        let [number, counts] = [to.scratch(1), to.scratch(to.rows())];
        let status = to.recording().frame(STATUS);
        let (op, exact, per_term) = match self {
            Self::Roulette { p, exact_terms } => {
                (to.term_counts(counts, exact_terms, p), exact_terms, 1.0 / (1.0 - p))
            }
            Self::Series { terms, .. } => (fill(counts, terms as f64), terms, 1.0),
            Self::Exact => (fill(counts, 0.0), 0, 1.0),
        };
        (vec![op], Terms { number, counts, exact, per_term }, status)
    }

    /// What a term does from term `first` on, for as many terms as there are.
    fn repeated<E: Scalar>(
        self,
        to: &mut Lowering<E>,
        mut turn: Vec<Op>,
        first: usize,
        terms: Terms,
        status: Slot,
    ) -> Vec<Op> {
        turn.push(next_term(terms, status));
        match self {
            Self::Series { terms, .. } => vec![turn; (terms + 1).saturating_sub(first)].concat(),
            _ => to.repeat(turn, status, |_| FlowError::Device("a series without end".into())),
        }
    }

    /// The gradient of `⟨by_output, field(x)⟩ + Σ scale·log det(I + J)`: overwrites `by_x`, and adds
    /// those of parameters and context.
    pub(in crate::blocks) fn gradient_ops<E: Scalar, N: Differentiable<E>>(
        self,
        to: &mut Lowering<E>,
        field: &Field<N>,
        at: &Linearized,
        inverses: Option<Slot>,
        scale: Slot,
        places: [Slot; 2],
    ) -> Vec<Op> {
        let d = field.size();
        let cotangents = |to: &mut Lowering<E>, first: usize, [probes, into]: [Slot; 2]| {
            // tr((I + J)⁻¹ dJ) = Σ_v ⟨(I + J)⁻ᵀ v, dJ v⟩.
            let mut ops = match inverses {
                Some(inverses) => {
                    let width = into.len / to.rows();
                    let part = to.table(first * d..first * d + width);
                    let none = Rows::new(Slot::NONE, 0);
                    vec![gather(to.rows(), Rows::new(inverses, d * d), none, part, into)]
                }
                None => self.solve_ops(to, field, at, probes, into),
            };
            ops.push(scale_rows(into, into, scale));
            ops
        };
        field.gradient_ops_in_chunks(to, at, self.trace(), places, cotangents)
    }

    /// `sum = Σ_k (−Jᵀ)ᵏ v` with the weights of the series: (I + J)⁻ᵀ v, cut or in the mean.
    fn solve_ops<E: Scalar, N: Differentiable<E>>(
        self,
        to: &mut Lowering<E>,
        field: &Field<N>,
        at: &Linearized,
        probes: Slot,
        sum: Slot,
    ) -> Vec<Op> {
        let count = probes.len / (to.rows() * field.size());
        let (mut ops, terms, status) = self.terms_of(to);
        let [power, next] = [0; 2].map(|_| to.scratch(probes.len));
        // The first term always counts.
        ops.push(scaled_copy(sum, probes, 1.0));
        ops.push(scaled_copy(power, probes, 1.0));
        ops.push(fill(terms.number, 2.0));
        let mut turn = field.pull_ops(to, at, count, [power, next]);
        turn.push(scaled_copy(power, next, 1.0));
        turn.push(add_power(sum, power, terms));
        ops.extend(self.repeated(to, turn, 2, terms, status));
        ops
    }
}

/// The Jacobian of each row, row-major.
fn jacobians<E: Scalar, N: Differentiable<E>>(
    to: &mut Lowering<E>,
    field: &Field<N>,
    at: &Linearized,
    matrices: Slot,
) -> Vec<Op> {
    let (rows, d, trace) = (to.rows(), field.size(), crate::blocks::probe::Trace::Exact);
    let mut ops = Vec::new();
    for (first, count) in field.chunks(trace, rows) {
        let mark = to.recording().mark();
        let [units, pulled] = [0; 2].map(|_| to.scratch(rows * count * d));
        // A pulled unit vector is a row of J.
        ops.push(field.probes(to, trace, first, units));
        ops.extend(field.pull_ops(to, at, count, [units, pulled]));
        let lines = to.table(first * d..(first + count) * d);
        ops.push(scatter(rows, Rows::new(matrices, d * d), lines, pulled));
        to.recording().reuse(mark);
    }
    ops
}
