//! Fixed points of contractions, row by row.

use super::{holds, op, together, CONTRACTION};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Slot};

const CONTRACT: Kernel = together(CONTRACTION, "contract");
const COUNT_OPEN: Kernel = together(CONTRACTION, "count_open");

/// Numbers that are known of a row; all zero before the first iteration.
pub const KNOWN: usize = 8;

/// Numbers that [`count_open`] writes: rows that are open, the first that is stuck or −1, its
/// iterations and its radius.
pub const STATUS: usize = 4;

/// In the place of a stuck row: there is one that needs more room than there was, and how much stands
/// in the place of its iterations.
pub const OUTGROWN: f32 = -2.0;

/// Rows of up to so many numbers learn the Jacobian on the way.
pub const WIDEST: usize = 8;

/// What ends an iteration; see flow-core's `Contraction`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contraction {
    /// The certified coefficient c.
    pub coefficient: f64,
    /// What the radius of an answer may be, relative to the larger of the unit and its length.
    pub tolerance: f64,
    /// The length below which the tolerance is no longer relative.
    pub unit: f64,
    /// The tolerance that rounding allows, relative to the longest of the vectors.
    pub floor: f64,
    /// How many times that counts where rounding keeps the steps from shrinking.
    pub spare: f64,
    /// Iterations beyond those that are needed.
    pub slack: f64,
}

/// Where the rows of an iteration lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iteration {
    /// The points, which become the answers.
    pub x: Slot,
    /// The map at them.
    pub g: Slot,
    /// What `x + g(x)` must be.
    pub z: Slot,
    /// [`KNOWN`] numbers of each row.
    pub known: Slot,
    /// What [`memory`] says.
    pub memory: Slot,
}

/// Numbers that rows of that width need to learn from.
pub fn memory(rows: usize, width: usize) -> usize {
    if width <= WIDEST {
        rows * width * (width + 2)
    } else {
        0
    }
}

/// One iteration of `x + g(x) = z` for the rows that are not done; a row that is stays put.
pub fn contract(contraction: Contraction, at: Iteration, rows: usize) -> Op {
    let width = at.x.len / rows;
    holds("the map", at.g, at.x.len);
    holds("the aims", at.z, at.x.len);
    holds("what is known of rows", at.known, rows * KNOWN);
    holds("what rows learn", at.memory, memory(rows, width));
    let Contraction { coefficient: c, tolerance, unit, floor, spare, slack } = contraction;
    let per = 2.0 / -c.ln();
    let half_life = (0.5_f64.ln() / c.ln()).ceil();
    let mut op = op(CONTRACT, at.x.len)
        .slots([at.x, at.g, at.z, at.known, at.memory])
        .sizes([rows, width, usize::from(width <= WIDEST)])
        .numbers([c, tolerance, unit, floor, spare, slack, per, half_life]);
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}

/// Writes to `status` how many rows are open.
pub fn count_open(status: Slot, known: Slot, rows: usize) -> Op {
    holds("the status", status, STATUS);
    holds("what is known of rows", known, rows * KNOWN);
    let mut op = op(COUNT_OPEN, 1).slots([status, known]).sizes([rows]);
    op.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    op
}
