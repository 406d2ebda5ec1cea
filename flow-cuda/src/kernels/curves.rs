//! One fixed function on some entries of each row.

use super::affine::Left;
use super::rows::Rows;
use super::{apart, holds, op, reaches, together, CURVES};
use crate::{Kernel, Launch, Op, Slot, Table};

const CURVE: Kernel = apart(CURVES, "curve");
const CURVE_PRODUCT: Kernel = apart(CURVES, "curve_product");
const FIND_OUTSIDE: Kernel = together(CURVES, "find_outside");

/// A function of one number; see flow-core's `blocks::curves`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Curve {
    Tanh,
    Sigmoid,
    Logit { alpha: f64 },
    NormalCdf,
    Softplus,
    LeakyRelu { slope: f64 },
    Scale { factor: f64 },
}

impl Curve {
    /// Its code, and its numbers with a logarithm that they need.
    fn code(self) -> (usize, [f64; 3]) {
        match self {
            Self::Tanh => (0, [0.0; 3]),
            Self::Sigmoid => (1, [0.0; 3]),
            Self::Logit { alpha } => {
                let stretch = 1.0 - 2.0 * alpha;
                (2, [alpha, stretch, stretch.ln()])
            }
            Self::NormalCdf => (3, [0.0; 3]),
            Self::Softplus => (4, [0.0; 3]),
            Self::LeakyRelu { slope } => (5, [slope, 0.0, slope.ln()]),
            Self::Scale { factor } => (6, [factor, 0.0, factor.abs().ln()]),
        }
    }
}

/// The entries of a row that a function changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bent {
    /// How many rows there are.
    pub rows: usize,
    /// The entries.
    pub entries: Table,
    /// Latent to data.
    pub inverse: bool,
}

impl Bent {
    pub(super) fn count(&self) -> usize {
        self.rows * self.entries.len
    }

    pub(super) fn check(&self, x: Rows) {
        holds("x", x.slot, self.rows * x.width);
        reaches("x", self.entries, self.entries.len, x.width);
    }
}

/// The function, or its inverse; `left.kept` gets its input.
pub fn curve(curve: Curve, bent: Bent, x: Rows, left: Left) -> Op {
    bent.check(x);
    holds("the logarithms", left.logs, bent.count());
    if let Some(kept) = left.kept {
        holds("what is kept", kept, bent.count());
    }
    let (kind, numbers) = curve.code();
    op(CURVE, bent.count())
        .slots([x.slot, left.kept.unwrap_or(Slot::NONE), left.logs])
        .tables([bent.entries])
        .sizes([
            bent.rows,
            bent.entries.len,
            x.width,
            kind,
            usize::from(bent.inverse),
            usize::from(left.kept.is_some()),
            usize::from(bent.entries.len == 1),
        ])
        .numbers(numbers)
}

/// Its product: the gradient by its output becomes that by its input.
pub fn curve_product(curve: Curve, bent: Bent, gradient: Rows, kept: Slot, by_log_det: Slot) -> Op {
    bent.check(gradient);
    holds("what was kept", kept, bent.count());
    holds("the gradient by log-determinants", by_log_det, bent.rows);
    let (kind, numbers) = curve.code();
    let (width, inverse) = (gradient.width, usize::from(bent.inverse));
    op(CURVE_PRODUCT, bent.count())
        .slots([gradient.slot, kept, Slot::NONE, by_log_det])
        .tables([bent.entries])
        .sizes([bent.rows, bent.entries.len, width, kind, inverse])
        .numbers(numbers)
}

/// Looks for the first of the entries outside of `[low, high]`, and writes to `status` 0, its row or
/// −1, its place and its value.
pub fn find_outside(bent: Bent, x: Rows, status: Slot, [low, high]: [f64; 2]) -> Op {
    bent.check(x);
    holds("the status", status, super::contraction::STATUS);
    let mut op = op(FIND_OUTSIDE, bent.count())
        .slots([x.slot, status])
        .tables([bent.entries])
        .sizes([bent.rows, bent.entries.len, x.width])
        .numbers([low, high]);
    op.launch = Launch { grid: [1, 1, 1], block: [128, 1, 1] };
    op
}
