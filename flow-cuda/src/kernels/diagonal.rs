//! `y = x·scale + shift`, a feature at each pixel of a row.

use super::rows::Rows;
use super::{apart, holds, op, reaches, DIAGONAL};
use crate::{Kernel, Op, Slot, Table};

const SCALE_AND_SHIFT: Kernel = apart(DIAGONAL, "scale_and_shift");
const SCALE_GRADIENT: Kernel = apart(DIAGONAL, "scale_gradient");

/// The entries of a row that are changed, feature after feature at each pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// How many rows there are.
    pub rows: usize,
    /// The entries.
    pub entries: Table,
    /// How many features.
    pub features: usize,
    /// Latent to data: `x = (y − shift)/scale`.
    pub inverse: bool,
}

impl Features {
    fn count(&self) -> usize {
        self.rows * self.entries.len
    }

    fn check(&self, x: Rows, scale: Slot) {
        holds("x", x.slot, self.rows * x.width);
        holds("the scales", scale, self.features);
        reaches("x", self.entries, self.entries.len, x.width);
    }
}

/// `y = x·scale + shift`, or its inverse; `kept` gets `x·scale`, or the inverse's output.
pub fn scale_and_shift(
    features: Features,
    x: Rows,
    scale: Slot,
    shift: Option<Slot>,
    kept: Option<Slot>,
) -> Op {
    features.check(x, scale);
    if let Some(shift) = shift {
        holds("the shifts", shift, features.features);
    }
    if let Some(kept) = kept {
        holds("what is kept", kept, features.count());
    }
    op(SCALE_AND_SHIFT, features.count())
        .slots([x.slot, scale, shift.unwrap_or(Slot::NONE), kept.unwrap_or(Slot::NONE)])
        .tables([features.entries])
        .sizes([
            features.rows,
            features.entries.len,
            x.width,
            features.features,
            usize::from(features.inverse),
            usize::from(shift.is_some()),
            usize::from(kept.is_some()),
        ])
}

/// The gradient by the output becomes that by the input.
pub fn scale_gradient(features: Features, gradient: Rows, scale: Slot) -> Op {
    features.check(gradient, scale);
    op(SCALE_GRADIENT, features.count())
        .slots([gradient.slot, scale])
        .tables([features.entries])
        .sizes([
            features.rows,
            features.entries.len,
            gradient.width,
            features.features,
            usize::from(features.inverse),
        ])
}
