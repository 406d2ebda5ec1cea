//! Vectors that go through a net's Jacobian, as many for each row, and traces of its powers.

use super::product::Function;
use super::{apart, holds, op, together, TANGENTS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Slot};

const BEND_TWICE: Kernel = apart(TANGENTS, "bend_twice");
const MULTIPLY_EACH: Kernel = apart(TANGENTS, "multiply_each");
const ADD_BENT: Kernel = apart(TANGENTS, "add_bent");
const UNIT_VECTORS: Kernel = apart(TANGENTS, "unit_vectors");
const SCALE_ROWS: Kernel = apart(TANGENTS, "scale_rows");
const ADD_TRACE: Kernel = together(TANGENTS, "add_trace");
const ADD_POWER: Kernel = apart(TANGENTS, "add_power");
const NEXT_TERM: Kernel = together(TANGENTS, "next_term");

/// `into[i] = f(from[i])`, with the slopes and second derivatives.
pub fn bend_twice(
    into: Slot,
    from: Slot,
    function: Function,
    slopes: Slot,
    curvatures: Slot,
) -> Op {
    holds("what is bent", from, into.len);
    holds("the slopes", slopes, into.len);
    holds("the second derivatives", curvatures, into.len);
    op(BEND_TWICE, into.len)
        .slots([into, from, slopes, curvatures])
        .sizes([into.len, function as usize])
}

/// `into[row, k, j] = from[row, k, j] · by[row, j]` for `count` vectors of `width` numbers a row.
pub fn multiply_each(into: Slot, from: Slot, by: Slot, width: usize, count: usize) -> Op {
    holds("the vectors", from, into.len);
    holds("what multiplies them", by, into.len / count);
    op(MULTIPLY_EACH, into.len).slots([into, from, by]).sizes([into.len, width, count])
}

/// `into[row, j] += by[row, j] · Σ_k left[row, k, j] · right[row, k, j]`.
pub fn add_bent(into: Slot, by: Slot, [left, right]: [Slot; 2], width: usize, count: usize) -> Op {
    holds("what multiplies sums", by, into.len);
    holds("the left vectors", left, into.len * count);
    holds("the right vectors", right, into.len * count);
    op(ADD_BENT, into.len).slots([into, by, left, right]).sizes([into.len, width, count])
}

/// The unit vectors `first..first + count` of `width` numbers, for each row.
pub fn unit_vectors(into: Slot, width: usize, first: usize, count: usize) -> Op {
    op(UNIT_VECTORS, into.len).slots([into]).sizes([into.len, width, count, first])
}

/// `into[row, k] = from[row, k] · by[row]`.
pub fn scale_rows(into: Slot, from: Slot, by: Slot) -> Op {
    holds("what is scaled", from, into.len);
    let width = into.len / by.len;
    op(SCALE_ROWS, into.len).slots([into, from, by]).sizes([into.len, width])
}

/// The terms of a series: term k counts `(−1)^(k+1)` in rows that have so many, and beyond `exact`
/// terms `per_term` times more for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The number of the term, counted from 1.
    pub number: Slot,
    /// How many terms each row has.
    pub counts: Slot,
    /// Terms that every row has.
    pub exact: usize,
    /// The inverse of the probability of one more.
    pub per_term: f64,
}

/// `into[row] += factor/k · Σ left · right` of the vectors of each row.
pub fn add_trace(into: Slot, left: Slot, right: Slot, terms: Terms, factor: f64) -> Op {
    let rows = into.len;
    holds("the right vectors", right, left.len);
    holds("the terms", terms.counts, rows);
    holds("the number of a term", terms.number, 1);
    let mut op = op(ADD_TRACE, rows)
        .slots([into, left, right, terms.number, terms.counts])
        .sizes([rows, left.len / rows, terms.exact])
        .numbers([factor, terms.per_term]);
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}

/// `into[row] += power[row]`, as the term counts.
pub fn add_power(into: Slot, power: Slot, terms: Terms) -> Op {
    holds("the power", power, into.len);
    holds("the number of a term", terms.number, 1);
    let width = into.len / terms.counts.len;
    op(ADD_POWER, into.len)
        .slots([into, power, terms.number, terms.counts])
        .sizes([into.len, width, terms.exact])
        .numbers([terms.per_term])
}

/// Goes on to the next term, and writes to `status` how many rows have it, as
/// [`count_open`](super::contraction::count_open) does.
pub fn next_term(terms: Terms, status: Slot) -> Op {
    holds("the status", status, 2);
    let rows = terms.counts.len;
    let mut op = op(NEXT_TERM, 1).slots([terms.number, terms.counts, status]).sizes([rows]);
    op.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    op
}
