//! Small square matrices, one for each row of a batch.

use super::{apart, holds, op, SQUARE};
use crate::{Kernel, Op, Slot};

const LOG_DET_SHIFTED: Kernel = apart(SQUARE, "log_det_shifted");
const INVERT_SHIFTED: Kernel = apart(SQUARE, "invert_shifted");
const TIMES_OWN_MATRIX: Kernel = apart(SQUARE, "times_own_matrix");

/// `log_det[row] += sign · log |det(I + M)|` of each row's `d × d` matrix, which is used up.
pub fn log_det_shifted(matrices: Slot, log_det: Slot, d: usize, sign: f64) -> Op {
    let rows = log_det.len;
    holds("the matrices", matrices, rows * d * d);
    op(LOG_DET_SHIFTED, rows).slots([matrices, log_det]).sizes([rows, d]).numbers([sign])
}

/// As [`log_det_shifted`], and leaves `(I + M)⁻¹` in the place of M; `order` is room for `d` numbers
/// a row.
pub fn invert_shifted(matrices: Slot, log_det: Slot, order: Slot, d: usize, sign: f64) -> Op {
    let rows = log_det.len;
    holds("the matrices", matrices, rows * d * d);
    holds("the order", order, rows * d);
    op(INVERT_SHIFTED, rows).slots([matrices, log_det, order]).sizes([rows, d]).numbers([sign])
}

/// `out[row] = v[row]ᵀ M[row]`.
pub fn times_own_matrix(out: Slot, v: Slot, matrices: Slot, d: usize) -> Op {
    holds("the vectors", v, out.len);
    holds("the matrices", matrices, out.len * d);
    let rows = out.len / d;
    op(TIMES_OWN_MATRIX, out.len).slots([out, v, matrices]).sizes([rows, d])
}
