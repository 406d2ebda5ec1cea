//! `z = x·g(s) + t` and `z = x + t` on some entries of each row.

use super::rows::Rows;
use super::{apart, holds, op, reaches, AFFINE};
use crate::{Kernel, Op, Slot, Table};

const AFFINE_KERNEL: Kernel = apart(AFFINE, "affine");
const AFFINE_PRODUCT: Kernel = apart(AFFINE, "affine_product");
const ADDITIVE: Kernel = apart(AFFINE, "additive");
const ADDITIVE_PRODUCT: Kernel = apart(AFFINE, "additive_product");

/// The positive factor `g(s)`; see flow-core's `Scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Scale {
    Exp,
    Tanh { limit: f64 },
    Sigmoid { low: f64, high: f64, shift: f64 },
}

impl Scale {
    fn code(self) -> (usize, [f64; 3]) {
        match self {
            Self::Exp => (0, [0.0; 3]),
            Self::Tanh { limit } => (1, [limit, 1.0 / limit, 0.0]),
            Self::Sigmoid { low, high, shift } => (2, [low, high - low, shift]),
        }
    }
}

/// The entries that a transform changes, and where their parameters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many rows there are.
    pub rows: usize,
    /// The entries of a row of `x`.
    pub entries: Table,
    /// For each of them the place of its parameters among all, in units of their number.
    pub places: Table,
    /// Latent to data.
    pub inverse: bool,
    /// From one parameter of an entry to its next: 1 where they stand side by side.
    pub step: usize,
}

impl Moved {
    /// Numbers that are changed.
    pub fn count(&self) -> usize {
        self.rows * self.entries.len
    }

    pub(super) fn check(&self, x: Rows, parameters: Rows, each: usize) {
        let before = self.rows.saturating_sub(1);
        let last = before * parameters.width + (self.places.end.max(1) - 1) * each;
        holds("x", x.slot, before * x.width + self.entries.end);
        holds("the parameters", parameters.slot, last + (each - 1) * self.step + 1);
        reaches("the parameters", self.places, self.entries.len, usize::MAX);
    }

    pub(super) fn sizes(&self, x: Rows, parameters: Rows) -> [usize; 4] {
        [self.rows, self.entries.len, x.width, parameters.width]
    }
}

/// What a transform leaves beside its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The data side of each changed number, where a product follows. The parameters are then
    /// replaced by what it needs of them.
    pub kept: Option<Slot>,
    /// The logarithm of each slope; where a row has one changed number, the rows' log-determinants,
    /// to which it is added.
    pub logs: Slot,
}

/// The affine map: leaves `(g, d log g/ds)` in its parameters.
pub fn affine(scale: Scale, moved: Moved, x: Rows, parameters: Rows, left: Left) -> Op {
    moved.check(x, parameters, 2);
    holds("the logarithms", left.logs, moved.count());
    if let Some(kept) = left.kept {
        holds("what is kept", kept, moved.count());
    }
    let (kind, numbers) = scale.code();
    let [rows, n, width, parameters_width] = moved.sizes(x, parameters);
    op(AFFINE_KERNEL, moved.count())
        .slots([x.slot, parameters.slot, left.kept.unwrap_or(Slot::NONE), left.logs])
        .tables([moved.entries, moved.places])
        .sizes([
            rows,
            n,
            width,
            parameters_width,
            kind,
            usize::from(moved.inverse),
            usize::from(left.kept.is_some()),
            usize::from(n == 1),
            moved.step,
        ])
        .numbers(numbers)
}

/// Its product: from the gradient by its output to that by its input, in place, and by its
/// parameters.
pub fn affine_product(
    moved: Moved,
    gradient: Rows,
    kept: Slot,
    parameters: Rows,
    by_parameters: Slot,
    by_log_det: Slot,
) -> Op {
    moved.check(gradient, parameters, 2);
    moved.check(gradient, Rows::new(by_parameters, parameters.width), 2);
    holds("what was kept", kept, moved.count());
    holds("the gradient by log-determinants", by_log_det, moved.rows);
    let [rows, n, width, parameters_width] = moved.sizes(gradient, parameters);
    op(AFFINE_PRODUCT, moved.count())
        .slots([gradient.slot, kept, parameters.slot, by_parameters, by_log_det])
        .tables([moved.entries, moved.places])
        .sizes([rows, n, width, parameters_width, 0, usize::from(moved.inverse), 0, 0, moved.step])
}

/// `x + t`, or `x − t` for the inverse.
pub fn additive(moved: Moved, x: Rows, parameters: Rows) -> Op {
    moved.check(x, parameters, 1);
    let [rows, n, width, parameters_width] = moved.sizes(x, parameters);
    op(ADDITIVE, moved.count())
        .slots([x.slot, parameters.slot])
        .tables([moved.entries, moved.places])
        .sizes([rows, n, width, parameters_width, 0, usize::from(moved.inverse)])
}

/// Its product: the gradient by its input is that by its output.
pub fn additive_product(moved: Moved, gradient: Rows, by_parameters: Rows) -> Op {
    moved.check(gradient, by_parameters, 1);
    let [rows, n, width, parameters_width] = moved.sizes(gradient, by_parameters);
    op(ADDITIVE_PRODUCT, moved.count())
        .slots([gradient.slot, Slot::NONE, Slot::NONE, by_parameters.slot])
        .tables([moved.entries, moved.places])
        .sizes([rows, n, width, parameters_width, 0, usize::from(moved.inverse)])
}
