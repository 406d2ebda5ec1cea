//! Small square matrices, one for each row of a batch.

use super::{apart, holds, op, together, SQUARE};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Slot};

const LOG_DETS: [Kernel; 2] =
    [apart(SQUARE, "log_det_shifted"), together(SQUARE, "log_det_shifted_together")];
const INVERSES: [Kernel; 2] =
    [apart(SQUARE, "invert_shifted"), together(SQUARE, "invert_shifted_together")];
const TIMES_OWN_MATRIX: Kernel = apart(SQUARE, "times_own_matrix");

/// Matrices of fewer numbers a side are worked on by one thread each: what a block of them would divide is
/// less than the barriers between.
const FEWEST: usize = 8;

/// The longest side that a block of threads has room for.
const MOST: usize = 1024;

/// How many threads share a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One.
    One,
    /// A block of them.
    Block,
}

impl Workers {
    /// Those that are best for matrices of that side, by counting.
    pub const fn of(d: usize) -> Self {
        match d {
            FEWEST..=MOST => Self::Block,
            _ => Self::One,
        }
    }

    fn op(self, [one, block]: [Kernel; 2], rows: usize, d: usize) -> Op {
        if self == Self::One {
            return op(one, rows);
        }
        assert!(d <= MOST, "matrices with sides of {d} numbers");
        let mut op = op(block, rows);
        let lines = if d <= 32 { 1 } else { 4 };
        op.launch = Launch { grid: [to_u32(rows), 1, 1], block: [32, lines, 1] };
        op
    }

    /// [`log_det_shifted`] by these.
    pub fn log_det_shifted(self, matrices: Slot, log_det: Slot, d: usize, sign: f64) -> Op {
        let rows = log_det.len;
        holds("the matrices", matrices, rows * d * d);
        self.op(LOG_DETS, rows, d).slots([matrices, log_det]).sizes([rows, d]).numbers([sign])
    }

    /// [`invert_shifted`] by these.
    pub fn invert_shifted(
        self,
        matrices: Slot,
        [log_det, order]: [Slot; 2],
        d: usize,
        sign: f64,
    ) -> Op {
        let rows = log_det.len;
        holds("the matrices", matrices, rows * d * d);
        holds("the order", order, rows * d);
        let op = self.op(INVERSES, rows, d);
        op.slots([matrices, log_det, order]).sizes([rows, d]).numbers([sign])
    }
}

/// `log_det[row] += sign · log |det(I + M)|` of each row's `d × d` matrix, which is used up.
pub fn log_det_shifted(matrices: Slot, log_det: Slot, d: usize, sign: f64) -> Op {
    Workers::of(d).log_det_shifted(matrices, log_det, d, sign)
}

/// As [`log_det_shifted`], and leaves `(I + M)⁻¹` in the place of M; `order` is room for `d` numbers
/// a row.
pub fn invert_shifted(matrices: Slot, log_det: Slot, order: Slot, d: usize, sign: f64) -> Op {
    Workers::of(d).invert_shifted(matrices, [log_det, order], d, sign)
}

/// `out[row] = v[row]ᵀ M[row]`.
pub fn times_own_matrix(out: Slot, v: Slot, matrices: Slot, d: usize) -> Op {
    holds("the vectors", v, out.len);
    holds("the matrices", matrices, out.len * d);
    let rows = out.len / d;
    op(TIMES_OWN_MATRIX, out.len).slots([out, v, matrices]).sizes([rows, d])
}
