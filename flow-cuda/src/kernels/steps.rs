//! Steps of a Runge-Kutta method, with a length for each row.

use super::contraction::STATUS;
use super::rows::Rows;
use super::{apart, holds, op, reaches, together, STEPS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot, Table};

const STAGE: Kernel = apart(STEPS, "stage");
const COMBINE: Kernel = apart(STEPS, "combine");
const SET_OUT: Kernel = apart(STEPS, "set_out");
const ADVANCE: Kernel = together(STEPS, "advance");
const COUNT_WAYS: Kernel = together(STEPS, "count_ways");
const RECALL: Kernel = apart(STEPS, "recall");
const COUNT_BACK: Kernel = together(STEPS, "count_back");

/// Numbers that are known of a row's way through time.
pub const WAY: usize = 8;

/// Where among them the number of steps stands that were taken.
pub const COUNT: usize = 5;

/// Vectors of a [`Stack`] that [`combine`] takes at most.
pub const MOST: usize = 7;

/// Vectors of equal length, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Where they lie.
    pub slot: Slot,
    /// Numbers of one.
    pub len: usize,
    /// From the start of one to that of the next.
    pub stride: usize,
}

impl Stack {
    /// Scratch memory for `count` vectors.
    pub fn new(recording: &mut Recording, count: usize, len: usize) -> Self {
        let stride = len.next_multiple_of(32);
        Self { slot: recording.scratch(count * stride), len, stride }
    }

    /// One vector.
    pub const fn of(slot: Slot) -> Self {
        Self { slot, len: slot.len, stride: slot.len }
    }

    /// The vector of that number.
    pub fn get(self, index: usize) -> Slot {
        self.slot.part(index * self.stride, self.len)
    }

    /// Those from a number on.
    pub fn rest(self, first: usize) -> Self {
        let start = first * self.stride;
        Self { slot: self.slot.part(start, self.slot.len - start), ..self }
    }

    fn check(self, weights: &[f64]) -> [f64; 8] {
        assert!(weights.len() <= MOST, "{} weights", weights.len());
        let used = weights.iter().rposition(|&w| w != 0.0).map_or(0, |last| last + 1);
        let end = used.saturating_sub(1) * self.stride + if used > 0 { self.len } else { 0 };
        holds("the vectors", self.slot, end);
        let mut all = [0.0; 8];
        all[..weights.len()].copy_from_slice(weights);
        all
    }
}

/// What a net reads at a stage of a step of each row: `x + h·Σ weight·slope` at entry `from[i]` of the
/// row, the time `t + share·h` for −1, and entry `-2 - from[i]` of the context. `now` holds t of each
/// row, then h of each.
pub fn stage(
    input: Slot,
    x: Rows,
    slopes: Stack,
    [context, now]: [Rows; 2],
    from: Table,
    (share, weights): (f64, &[f64]),
) -> Op {
    let rows = now.slot.len / 2;
    holds("what a net reads", input, rows * from.len);
    holds("x", x.slot, rows * x.width);
    holds("the context", context.slot, rows * context.width);
    reaches("what a net reads", from, from.len, x.width);
    let mut numbers = slopes.check(weights);
    numbers[MOST] = share;
    op(STAGE, rows * from.len)
        .slots([input, x.slot, slopes.slot, context.slot, now.slot])
        .tables([from])
        .sizes([rows, from.len, x.width, context.width, weights.len(), slopes.stride])
        .numbers(numbers)
}

/// `into = from + h·Σ weight·vector`, with a number h for each row; without `from` it is the sum, without
/// h that is 1. Vectors of weight 0 are not read.
pub fn combine(
    into: Slot,
    from: Option<Slot>,
    h: Option<Slot>,
    vectors: Stack,
    weights: &[f64],
) -> Op {
    assert_eq!(vectors.len, into.len, "the vectors' length");
    if let Some(from) = from {
        holds("what is added to", from, into.len);
    }
    let numbers = vectors.check(weights);
    let width = h.map_or(1, |h| into.len / h.len);
    let (has_from, has_h) = (usize::from(from.is_some()), usize::from(h.is_some()));
    op(COMBINE, into.len)
        .slots([into, from.unwrap_or(Slot::NONE), h.unwrap_or(Slot::NONE), vectors.slot])
        .sizes([into.len, width, weights.len(), vectors.stride, has_from, has_h])
        .numbers(numbers)
}

/// Ways through time from `start` by `span`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Journey {
    /// The time at which they begin.
    pub start: f64,
    /// How far they go, either way.
    pub span: f64,
    /// The first length that is tried.
    pub first: f64,
    /// What an error may be, relative to 1 and the size of what it is of.
    pub tolerance: f64,
    /// A row whose steps become shorter is stuck.
    pub least: f64,
    /// Steps that are tried for a row at most.
    pub most: usize,
}

/// Where the rows of a [`Journey`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Travellers {
    /// [`WAY`] numbers of each row.
    pub ways: Slot,
    /// t of each row, then the h that is tried.
    pub now: Slot,
    /// The points.
    pub x: Slot,
    /// The integral of each row.
    pub integral: Slot,
    /// Where the step leads, and behind that its error; see [`Travellers::leads`].
    pub next: Slot,
    /// The same of the integral.
    pub next_integral: Slot,
    /// What [`recall`] reads: `rows × (width + 2)` numbers for each step that there is room for.
    pub records: Slot,
}

impl Travellers {
    fn rows(self) -> usize {
        self.integral.len
    }

    /// The length of each row's step.
    pub fn h(self) -> Slot {
        self.now.part(self.rows(), self.rows())
    }

    /// How many steps there is room for.
    pub fn room(self) -> usize {
        self.records.len / (self.x.len + 2 * self.rows())
    }

    /// Where steps lead, and the errors: of x, then of the integral.
    pub fn leads(self) -> [[Slot; 2]; 2] {
        [self.next, self.next_integral].map(|both| {
            let len = both.len / 2;
            [both.part(0, len), both.part(len, len)]
        })
    }

    fn check(self) {
        let rows = self.rows();
        holds("the ways", self.ways, rows * WAY);
        holds("times and steps", self.now, 2 * rows);
        holds("where steps lead", self.next, 2 * self.x.len);
        holds("where integrals lead", self.next_integral, 2 * rows);
    }
}

/// All rows at the start.
pub fn set_out(at: Travellers, journey: Journey) -> Op {
    at.check();
    let Journey { start, span, first, .. } = journey;
    let rows = at.rows();
    op(SET_OUT, rows).slots([at.ways, at.now]).sizes([rows]).numbers([start, span, first])
}

/// Takes the step of each row that is under way where its error is small enough, or refuses it, and
/// chooses the next; see flow-core's `Ode`.
pub fn advance(at: Travellers, journey: Journey) -> Op {
    at.check();
    let (rows, width) = (at.rows(), at.x.len / at.rows());
    let Journey { start, span, tolerance, least, most, .. } = journey;
    let mut op = op(ADVANCE, at.x.len)
        .slots([at.x, at.integral, at.next, at.next_integral, at.ways, at.now, at.records])
        .sizes([rows, width, at.room(), most])
        .numbers([start, span, tolerance, least]);
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}

/// Writes to `status` how many rows are under way, and the first that is stuck with its steps and its
/// time, or −1; [`OUTGROWN`](super::contraction::OUTGROWN) where one took more steps than there is room
/// for, with the most that one took.
pub fn count_ways(status: Slot, at: Travellers) -> Op {
    at.check();
    holds("the status", status, STATUS);
    let mut op = op(COUNT_WAYS, 1).slots([status, at.ways]).sizes([at.rows(), at.room()]);
    op.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    op
}

/// Where the last step of each row began of which `left` are left: x, and `now` as in [`Travellers`]; a
/// row without any takes one of length 0.
pub fn recall([x, now]: [Slot; 2], records: Slot, left: Slot) -> Op {
    let (rows, width) = (left.len, x.len / left.len);
    holds("times and steps", now, 2 * rows);
    holds("a record", records, x.len + 2 * rows);
    op(RECALL, x.len).slots([x, now, records, left]).sizes([rows, width])
}

/// One step fewer is left of each row, and `status` says how many rows have any, as that of a loop.
pub fn count_back(status: Slot, left: Slot) -> Op {
    holds("the status", status, STATUS);
    let mut op = op(COUNT_BACK, 1).slots([status, left]).sizes([left.len]);
    op.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    op
}
