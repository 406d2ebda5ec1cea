//! The knots of learned splines, from the numbers that are trained.

use super::{apart, holds, op, KNOTS};
use crate::{Kernel, Op, Slot};

const RAISE_TO: Kernel = apart(KNOTS, "raise_to");
const MAKE: Kernel = apart(KNOTS, "make_knots");
const FINISH: Kernel = apart(KNOTS, "knots_finish");
const SLOPES_FINISH: Kernel = apart(KNOTS, "knot_slopes_finish");

/// Numbers below `least` become that.
pub fn raise_to(slot: Slot, least: f64) -> Op {
    op(RAISE_TO, slot.len).slots([slot]).sizes([slot.len]).numbers([least])
}

/// What knots are made of, or the gradients by that: as many widths, heights and slopes for each
/// feature as it has knots, and its extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Trained {
    pub widths: Slot,
    pub heights: Slot,
    pub slopes: Slot,
    pub extent: Slot,
}

/// The limits of slopes, and the least sizes of bins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The least slope.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The least share of a bin in the extent.
    pub least: f64,
    /// The least share of what it rises.
    pub least_rise: f64,
}

impl Limits {
    fn numbers(self) -> [f64; 4] {
        [self.low, self.high - self.low, self.least, self.least_rise]
    }
}

impl Trained {
    fn sizes(self, knots: Slot) -> [usize; 2] {
        let features = self.extent.len;
        for slot in [self.widths, self.heights, self.slopes] {
            holds("what knots are made of", slot, knots.len / 3);
        }
        [features, knots.len / (3 * features)]
    }

    /// All `x`, all `y` and all slopes of each feature.
    pub fn knots(self, limits: Limits, knots: Slot) -> Op {
        let Self { widths, heights, slopes, extent } = self;
        op(MAKE, extent.len)
            .slots([knots, widths, heights, slopes, extent])
            .sizes(self.sizes(knots))
            .numbers(limits.numbers())
    }

    /// Adds the gradients by what knots are made of.
    pub fn finish(self, limits: Limits, by: Self, knots: Slot, by_knots: Slot) -> [Op; 2] {
        let Self { widths, heights, slopes, extent } = self;
        holds("the gradient by knots", by_knots, knots.len);
        by.sizes(knots);
        holds("the gradient by extents", by.extent, extent.len);
        let sizes = self.sizes(knots);
        let first = [by.widths, by.heights, by.extent, by_knots, knots, widths, heights, extent];
        [
            op(FINISH, extent.len).slots(first).sizes(sizes).numbers(limits.numbers()),
            op(SLOPES_FINISH, sizes[0] * sizes[1])
                .slots([by.slopes, by_knots, slopes])
                .sizes(sizes)
                .numbers(limits.numbers()),
        ]
    }
}
