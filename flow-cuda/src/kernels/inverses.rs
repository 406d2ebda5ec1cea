//! Matrices that are trained themselves, with their inverses.

use super::{apart, holds, op, together, INVERSES};
use crate::{Kernel, Launch, Op, Recording, Slot};

const INVERT: Kernel = together(INVERSES, "invert_matrix");
const ADD_TURNED: Kernel = apart(INVERSES, "add_turned");
const SCALE_COLUMNS: Kernel = apart(INVERSES, "scale_columns");

/// What comes of a matrix `W`, `[d, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inverted {
    /// `W⁻¹`; numbers that are not finite where there is none.
    pub inverse: Slot,
    /// `log |det W|`.
    pub log_det: Slot,
    /// `‖ |W⁻¹| |W| ‖∞`, infinite where there is no inverse.
    pub condition: Slot,
}

/// Inverts a matrix in f64.
pub fn invert(recording: &mut Recording, weight: Slot, into: Inverted) -> Op {
    let Inverted { inverse, log_det, condition } = into;
    let d = weight.len.isqrt();
    holds("a square matrix", weight, d * d);
    holds("the inverse", inverse, d * d);
    holds("the log-determinant", log_det, 1);
    holds("the condition", condition, 1);
    // Two numbers of f32 for one of f64.
    let work = recording.scratch(2 * (2 * d * d + d));
    let mut op = op(INVERT, 1).slots([weight, inverse, log_det, condition, work]).sizes([d]);
    op.launch = Launch { grid: [1, 1, 1], block: [256, 1, 1] };
    op
}

/// `into += by · xᵀ` for square matrices and one number, where that is not 0.
pub fn add_turned(into: Slot, x: Slot, by: Slot) -> Op {
    let d = into.len.isqrt();
    holds("what is turned", x, d * d);
    holds("its factor", by, 1);
    op(ADD_TURNED, d * d).slots([into, x, by]).sizes([d])
}

/// `into = from · diag(exp(sign · logs))`.
pub fn scale_columns(into: Slot, from: Slot, logs: Slot, sign: f64) -> Op {
    holds("what is scaled", from, into.len);
    let sizes = [into.len, logs.len];
    op(SCALE_COLUMNS, into.len).slots([into, from, logs]).sizes(sizes).numbers([sign])
}
