//! Linear maps of the vectors at each pixel, where they are not a product.

use super::rows::Rows;
use super::{apart, holds, op, reaches, LINEAR};
use crate::{Kernel, Op, Slot, Table};

const SOLVE_LU: Kernel = apart(LINEAR, "solve_lu");
const SOLVE_LU_TRANSPOSED: Kernel = apart(LINEAR, "solve_lu_transposed");
const HAAR: Kernel = apart(LINEAR, "haar");

/// `L`, with ones on its diagonal, and `U` with a diagonal of its own, `[d, d]` each: only their own
/// triangles are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factors {
    /// The strict lower triangle.
    pub lower: Slot,
    /// The strict upper triangle.
    pub upper: Slot,
    /// The diagonal `D`.
    pub diagonal: Slot,
}

/// Each of the vectors of `d` numbers becomes `(L(U + D))⁻¹ x`, or that with the transpose.
pub fn solve_lu(x: Slot, factors: Factors, d: usize, transposed: bool) -> Op {
    let Factors { lower, upper, diagonal } = factors;
    holds("the lower factor", lower, d * d);
    holds("the upper factor", upper, d * d);
    holds("the diagonal", diagonal, d);
    let kernel = if transposed { SOLVE_LU_TRANSPOSED } else { SOLVE_LU };
    let count = x.len / d;
    op(kernel, count).slots([x, lower, upper, diagonal]).sizes([count, d])
}

/// The Haar transform of squares of four pixels, whose places in a row follow each other.
pub fn haar(rows: usize, x: Rows, entries: Table) -> Op {
    holds("x", x.slot, rows * x.width);
    reaches("the squares", entries, entries.len / 4 * 4, x.width);
    let squares = entries.len / 4;
    op(HAAR, rows * squares).slots([x.slot]).tables([entries]).sizes([rows, squares, x.width])
}
