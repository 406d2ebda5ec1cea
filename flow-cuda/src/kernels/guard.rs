//! Whether an inverse brought the rows of a block's input back.

use super::{apart, holds, op, together, GUARD};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Slot};

const PROJECT: Kernel = together(GUARD, "project");
const NORMS: Kernel = apart(GUARD, "norms");
const MIDDLE: Kernel = apart(GUARD, "middle");
const COMPARE: Kernel = together(GUARD, "compare");

/// Directions on which long rows are projected.
pub const PROJECTIONS: usize = 4;

/// Numbers that [`compare`] writes: the largest error, the row that has it, and how many rows have one
/// above the threshold.
pub const FOUND: usize = 3;

/// What is kept of rows to know them by: the rows themselves, or [`project`]ions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Numbers of one.
    pub width: usize,
    /// Whether it is the row.
    pub whole: bool,
}

impl Fingerprints {
    /// Those of rows that are kept whole.
    pub const fn whole(width: usize) -> Self {
        Self { width, whole: true }
    }

    /// Those of longer rows.
    pub const PROJECTED: Self = Self { width: 1 + PROJECTIONS, whole: false };
}

/// Writes of each row its norm and its products with directions, whose entries are multiplied with
/// `signs` first. The directions are as long as the longest rows that they are for.
pub fn project(into: Slot, x: Slot, directions: Slot, signs: Slot) -> Op {
    let (size, longest) = (signs.len, directions.len / PROJECTIONS);
    let rows = x.len / size;
    holds("the projections", into, rows * (1 + PROJECTIONS));
    assert!(size <= longest, "rows of {size} numbers, directions of {longest}");
    let mut op =
        op(PROJECT, x.len).slots([into, x, directions, signs]).sizes([rows, size, longest]);
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}

/// Writes to `status` how far rows are from what was kept of them, relative to the larger of a row's own
/// norm and the one in the middle of all. `norms` is room for a number of each row, and one more.
pub fn compare(
    status: Slot,
    [kept, found]: [Slot; 2],
    fingerprints: Fingerprints,
    norms: Slot,
    threshold: f64,
) -> [Op; 3] {
    let Fingerprints { width, whole } = fingerprints;
    let (rows, whole) = (kept.len / width, usize::from(whole));
    holds("the status", status, FOUND);
    holds("what was found", found, rows * width);
    holds("the norms", norms, rows + 1);
    let (each, middle) = (norms.part(0, rows), norms.part(rows, 1));
    let mut last = op(COMPARE, 1)
        .slots([status, kept, found, each, middle])
        .sizes([rows, width, whole])
        .numbers([threshold]);
    last.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    [
        op(NORMS, rows).slots([each, kept]).sizes([rows, width, whole]),
        op(MIDDLE, rows).slots([middle, each]).sizes([rows]),
        last,
    ]
}
