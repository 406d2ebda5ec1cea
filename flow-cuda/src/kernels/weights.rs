//! What layers and linear maps multiply with, from the numbers that are trained; and the rows of a
//! batch, from those of a data set.

use super::linear::Factors;
use super::{apart, holds, op, reaches, together, WEIGHTS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot, Table};

const EXPONENTIAL: Kernel = apart(WEIGHTS, "exponential");
const LU_WEIGHT: Kernel = apart(WEIGHTS, "lu_weight");
const LU_FINISH: Kernel = apart(WEIGHTS, "lu_finish");
const TAKE_ROWS: Kernel = apart(WEIGHTS, "take_rows");
const ROW_NORMS: Kernel = together(WEIGHTS, "row_norms");
const NORMALISED: Kernel = apart(WEIGHTS, "normalised_weight");
const NORMALISED_FINISH: Kernel = together(WEIGHTS, "normalised_finish");

/// `into[i] = exp(from[i])`, times `sign[i]` where there is one.
pub fn exponential(into: Slot, from: Slot, sign: Option<Slot>) -> Op {
    holds("what is exponentiated", from, into.len);
    if let Some(sign) = sign {
        holds("the signs", sign, into.len);
    }
    op(EXPONENTIAL, into.len)
        .slots([into, from, sign.unwrap_or(Slot::NONE)])
        .sizes([into.len, usize::from(sign.is_some())])
}

/// `W = P·L·(U + D)`: its row `i` is row `order[i]` of the product.
pub fn lu_weight(weight: Slot, factors: Factors, order: Table) -> Op {
    let d = order.len;
    check(weight, factors, order);
    op(LU_WEIGHT, d * d)
        .slots([weight, factors.lower, factors.upper, factors.diagonal])
        .tables([order])
        .sizes([d])
}

/// Adds the gradients by `L`, `U` and `ln |D|` where that by `W` is known; `place` is the inverse of
/// `order`.
pub fn lu_finish(
    by_weight: Slot,
    factors: Factors,
    [by_lower, by_upper, by_log]: [Slot; 3],
    order: Table,
    place: Table,
) -> Op {
    let d = order.len;
    check(by_weight, factors, order);
    reaches("the places", place, d, d);
    holds("the gradient by the lower factor", by_lower, d * d);
    holds("the gradient by the upper factor", by_upper, d * d);
    holds("the gradient by the diagonal", by_log, d);
    let Factors { lower, upper, diagonal } = factors;
    op(LU_FINISH, d * d)
        .slots([by_weight, lower, upper, diagonal, by_lower, by_upper, by_log])
        .tables([order, place])
        .sizes([d])
}

fn check(weight: Slot, factors: Factors, order: Table) {
    let d = order.len;
    reaches("the order", order, d, d);
    holds("the weight", weight, d * d);
    holds("the lower factor", factors.lower, d * d);
    holds("the upper factor", factors.upper, d * d);
    holds("the diagonal", factors.diagonal, d);
}

/// `x[r, k] = data[order[r], k]`. The order stands in memory as the bits of unsigned integers.
pub fn take_rows(x: Slot, data: Slot, order: Slot) -> Op {
    let rows = order.len;
    let width = x.len / rows;
    op(TAKE_ROWS, rows * width).slots([x, data, order]).sizes([
        rows,
        width,
        data.len / width.max(1),
    ])
}

/// A matrix whose rows have lengths and directions of their own (Salimans and Kingma 2016, "Weight
/// normalization").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// The directions `v`, row after row.
    pub directions: Slot,
    /// The length `g` of each row.
    pub lengths: Slot,
    /// Where each entry of the directions stands in the matrix; −1 for one that does not count.
    pub there: Table,
    /// Which entry of the directions stands at each place of the matrix; −1 for none.
    pub from: Table,
}

impl Normalised {
    fn check(self, matrix: Slot) -> [usize; 2] {
        let len = self.directions.len;
        holds("the matrix", matrix, len);
        reaches("what is normalised", self.there, len, len);
        reaches("where it comes from", self.from, len, len);
        [self.lengths.len, len / self.lengths.len]
    }

    /// The norms of all rows, numbers of f64 in memory of their own.
    fn norms(self, recording: &mut Recording, [rows, columns]: [usize; 2]) -> (Slot, Op) {
        let norms = recording.scratch(2 * rows);
        let op = op(ROW_NORMS, rows).slots([norms, self.directions]).tables([self.there]);
        (norms, by_rows(op.sizes([rows, columns]), rows))
    }

    /// The matrix of rows `g·v/‖v‖`.
    pub fn weight(self, recording: &mut Recording, matrix: Slot) -> [Op; 2] {
        let sizes = self.check(matrix);
        let (norms, first) = self.norms(recording, sizes);
        let len = self.directions.len;
        let second = op(NORMALISED, len)
            .slots([matrix, self.directions, self.lengths, norms])
            .tables([self.from])
            .sizes([len, sizes[1]]);
        [first, second]
    }

    /// Adds the gradients by directions and by lengths, from that by the matrix.
    pub fn finish(
        self,
        recording: &mut Recording,
        by_matrix: Slot,
        [by_directions, by_lengths]: [Slot; 2],
    ) -> [Op; 2] {
        let sizes = self.check(by_matrix);
        holds("the gradient by directions", by_directions, self.directions.len);
        holds("the gradient by lengths", by_lengths, sizes[0]);
        let (norms, first) = self.norms(recording, sizes);
        let Self { directions, lengths, there, .. } = self;
        let second = op(NORMALISED_FINISH, sizes[0])
            .slots([by_directions, by_lengths, by_matrix, directions, lengths, norms])
            .tables([there])
            .sizes(sizes);
        [first, by_rows(second, sizes[0])]
    }
}

/// Starts an op with 32 threads a row.
fn by_rows(mut op: Op, rows: usize) -> Op {
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}
