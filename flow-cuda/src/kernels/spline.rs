//! Monotone rational-quadratic splines on some entries of each row.

use super::affine::{Left, Moved};
use super::curves::Bent;
use super::rows::Rows;
use super::{apart, holds, op, SPLINE};
use crate::{Kernel, Op, Slot};

const KERNEL: Kernel = apart(SPLINE, "spline");
const PRODUCT: Kernel = apart(SPLINE, "spline_product");
const KNOTS: Kernel = apart(SPLINE, "knot_spline");
const KNOTS_PRODUCT: Kernel = apart(SPLINE, "knot_spline_product");

/// How many bins on [−bound, bound], and the least share of a bin; see flow-core's `Spline`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spline {
    /// Bins.
    pub bins: usize,
    /// The end of the interval.
    pub bound: f64,
    /// The least width and height of a bin as a share of the whole.
    pub least: f64,
}

impl Spline {
    /// Numbers that an entry takes.
    pub fn parameters(&self) -> usize {
        3 * self.bins - 1
    }

    fn numbers(&self) -> [f64; 3] {
        let whole = 2.0 * self.bound;
        [self.bound, whole * self.least, whole * (1.0 - self.bins as f64 * self.least)]
    }
}

/// The spline: leaves shares in the place of its logits.
pub fn spline(spline: Spline, moved: Moved, x: Rows, parameters: Rows, left: Left) -> Op {
    moved.check(x, parameters, spline.parameters());
    holds("the logarithms", left.logs, moved.count());
    if let Some(kept) = left.kept {
        holds("what is kept", kept, moved.count());
    }
    let [rows, n, width, parameters_width] = moved.sizes(x, parameters);
    op(KERNEL, moved.count())
        .slots([x.slot, parameters.slot, left.kept.unwrap_or(Slot::NONE), left.logs])
        .tables([moved.entries, moved.places])
        .sizes([
            rows,
            n,
            width,
            parameters_width,
            spline.bins,
            usize::from(moved.inverse),
            usize::from(left.kept.is_some()),
            usize::from(n == 1),
            moved.step,
        ])
        .numbers(spline.numbers())
}

/// Its product, as [`affine_product`](super::affine::affine_product).
pub fn spline_product(
    spline: Spline,
    moved: Moved,
    gradient: Rows,
    kept: Slot,
    parameters: Rows,
    by_parameters: Slot,
    by_log_det: Slot,
) -> Op {
    moved.check(gradient, parameters, spline.parameters());
    moved.check(gradient, Rows::new(by_parameters, parameters.width), spline.parameters());
    holds("what was kept", kept, moved.count());
    holds("the gradient by log-determinants", by_log_det, moved.rows);
    let [rows, n, width, parameters_width] = moved.sizes(gradient, parameters);
    op(PRODUCT, moved.count())
        .slots([gradient.slot, kept, parameters.slot, by_parameters, by_log_det])
        .tables([moved.entries, moved.places])
        .sizes([
            rows,
            n,
            width,
            parameters_width,
            spline.bins,
            usize::from(moved.inverse),
            0,
            0,
            moved.step,
        ])
        .numbers(spline.numbers())
}

/// The knots of a spline for each feature: all `x`, all `y` and all slopes of one, then those of the
/// next. Beyond them it is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knots {
    /// Where they lie.
    pub slot: Slot,
    /// How many features.
    pub features: usize,
}

impl Knots {
    /// Numbers of one feature.
    fn stride(self) -> usize {
        self.slot.len / self.features
    }

    fn sizes(self, bent: Bent, x: Rows) -> [usize; 6] {
        bent.check(x);
        let (n, inverse) = (bent.entries.len, usize::from(bent.inverse));
        [bent.rows, n, x.width, self.features, self.stride() / 3, inverse]
    }

    /// The spline on entries, feature after feature at each pixel.
    pub fn spline(self, bent: Bent, x: Rows, left: Left) -> Op {
        let [rows, n, width, features, count, inverse] = self.sizes(bent, x);
        holds("the logarithms", left.logs, bent.count());
        if let Some(kept) = left.kept {
            holds("what is kept", kept, bent.count());
        }
        let saves = usize::from(left.kept.is_some());
        op(KNOTS, bent.count())
            .slots([x.slot, self.slot, left.kept.unwrap_or(Slot::NONE), left.logs])
            .tables([bent.entries])
            .sizes([rows, n, width, features, count, inverse, saves, usize::from(n == 1)])
    }

    /// Its product; `by_knots` gets the gradient by the knots that each number has.
    pub fn product(
        self,
        bent: Bent,
        gradient: Rows,
        kept: Slot,
        by_knots: Slot,
        by_log_det: Slot,
    ) -> Op {
        let sizes = self.sizes(bent, gradient);
        holds("what was kept", kept, bent.count());
        holds("the gradient by knots", by_knots, bent.count() * self.stride());
        holds("the gradient by log-determinants", by_log_det, bent.rows);
        op(KNOTS_PRODUCT, bent.count())
            .slots([gradient.slot, self.slot, kept, by_knots, by_log_det])
            .tables([bent.entries])
            .sizes(sizes)
    }
}
