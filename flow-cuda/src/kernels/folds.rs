//! Maps that fold space along a few directions, or around a center. Rows are dense.

use super::{apart, holds, op, FOLDS};
use crate::{Kernel, Op, Slot};

const ADD_STRETCHES: Kernel = apart(FOLDS, "add_stretches");
const STRETCH_PRODUCT: Kernel = apart(FOLDS, "stretch_product");
const RADIAL: Kernel = apart(FOLDS, "radial");
const RADIAL_PRODUCT: Kernel = apart(FOLDS, "radial_product");

/// `log_det[row] += Σ ln(1 + (1 − t²)·(κ − 1))` over the row's numbers `t`, with a κ for each.
pub fn add_stretches(log_det: Slot, t: Slot, kappa: Slot) -> Op {
    let (rows, count) = (log_det.len, t.len / log_det.len);
    holds("the stretches", kappa, count);
    op(ADD_STRETCHES, rows).slots([log_det, t, kappa]).sizes([rows, count])
}

/// From the gradient by `t = tanh(v)` to that by v, in place, with that of
/// [`add_stretches`]; `by_kappa` gets that by κ, row after row.
pub fn stretch_product(by: Slot, t: Slot, kappa: Slot, by_log_det: Slot, by_kappa: Slot) -> Op {
    let count = by.len / by_log_det.len;
    holds("what was bent", t, by.len);
    holds("the stretches", kappa, count);
    holds("the gradient by stretches", by_kappa, by.len);
    op(STRETCH_PRODUCT, by.len).slots([by, t, kappa, by_log_det, by_kappa]).sizes([by.len, count])
}

/// `x += (κ − α)/(α + r)·(x − center)` with `r = ‖x − center‖`; `numbers` are α and κ.
pub fn radial(x: Slot, center: Slot, numbers: Slot, log_det: Slot) -> Op {
    let (rows, d) = (log_det.len, x.len / log_det.len);
    holds("the center", center, d);
    holds("the numbers of a radial map", numbers, 2);
    op(RADIAL, rows).slots([x, center, numbers, log_det]).sizes([rows, d])
}

/// Its product; the gradients by the center and by the numbers come row after row.
pub fn radial_product(
    gradient: Slot,
    x: Slot,
    [center, numbers]: [Slot; 2],
    by_log_det: Slot,
    [by_center, by_numbers]: [Slot; 2],
) -> Op {
    let (rows, d) = (by_log_det.len, gradient.len / by_log_det.len);
    holds("x", x, gradient.len);
    holds("the center", center, d);
    holds("the numbers of a radial map", numbers, 2);
    holds("the gradient by the center", by_center, gradient.len);
    holds("the gradient by the numbers", by_numbers, 2 * rows);
    op(RADIAL_PRODUCT, rows)
        .slots([gradient, x, center, numbers, by_log_det, by_center, by_numbers])
        .sizes([rows, d])
}
