//! What layers and linear maps multiply with, from the numbers that are trained; and the rows of a
//! batch, from those of a data set.

use super::linear::Factors;
use super::{apart, holds, op, reaches, WEIGHTS};
use crate::{Kernel, Op, Slot, Table};

const EXPONENTIAL: Kernel = apart(WEIGHTS, "exponential");
const LU_WEIGHT: Kernel = apart(WEIGHTS, "lu_weight");
const LU_FINISH: Kernel = apart(WEIGHTS, "lu_finish");
const TAKE_ROWS: Kernel = apart(WEIGHTS, "take_rows");

/// `into[i] = exp(from[i])`, times `sign[i]` where there is one.
pub fn exponential(into: Slot, from: Slot, sign: Option<Slot>) -> Op {
    holds("what is exponentiated", from, into.len);
    if let Some(sign) = sign {
        holds("the signs", sign, into.len);
    }
    op(EXPONENTIAL, into.len)
        .slots([into, from, sign.unwrap_or(Slot::NONE)])
        .sizes([into.len, usize::from(sign.is_some())])
}

/// `W = P·L·(U + D)`: its row `i` is row `order[i]` of the product.
pub fn lu_weight(weight: Slot, factors: Factors, order: Table) -> Op {
    let d = order.len;
    check(weight, factors, order);
    op(LU_WEIGHT, d * d)
        .slots([weight, factors.lower, factors.upper, factors.diagonal])
        .tables([order])
        .sizes([d])
}

/// Adds the gradients by `L`, `U` and `ln |D|` where that by `W` is known; `place` is the inverse of
/// `order`.
pub fn lu_finish(
    by_weight: Slot,
    factors: Factors,
    [by_lower, by_upper, by_log]: [Slot; 3],
    order: Table,
    place: Table,
) -> Op {
    let d = order.len;
    check(by_weight, factors, order);
    reaches("the places", place, d, d);
    holds("the gradient by the lower factor", by_lower, d * d);
    holds("the gradient by the upper factor", by_upper, d * d);
    holds("the gradient by the diagonal", by_log, d);
    let Factors { lower, upper, diagonal } = factors;
    op(LU_FINISH, d * d)
        .slots([by_weight, lower, upper, diagonal, by_lower, by_upper, by_log])
        .tables([order, place])
        .sizes([d])
}

fn check(weight: Slot, factors: Factors, order: Table) {
    let d = order.len;
    reaches("the order", order, d, d);
    holds("the weight", weight, d * d);
    holds("the lower factor", factors.lower, d * d);
    holds("the upper factor", factors.upper, d * d);
    holds("the diagonal", factors.diagonal, d);
}

/// `x[r, k] = data[order[r], k]`. The order stands in memory as the bits of unsigned integers.
pub fn take_rows(x: Slot, data: Slot, order: Slot) -> Op {
    let rows = order.len;
    let width = x.len / rows;
    op(TAKE_ROWS, rows * width).slots([x, data, order]).sizes([
        rows,
        width,
        data.len / width.max(1),
    ])
}
