//! Weights of maps without an inverse, held to where one exists.

use super::{apart, holds, op, together, BOUNDED};
use crate::{Kernel, Launch, Op, Slot};

const PLANAR: Kernel = together(BOUNDED, "planar_weights");
const PLANAR_FINISH: Kernel = together(BOUNDED, "planar_finish");
const RADIAL: Kernel = apart(BOUNDED, "radial_weights");
const RADIAL_FINISH: Kernel = apart(BOUNDED, "radial_finish");
const TRIANGLE: Kernel = apart(BOUNDED, "bounded_triangle");
const STRETCHES: Kernel = apart(BOUNDED, "bounded_stretches");
const TRIANGLE_FINISH: Kernel = apart(BOUNDED, "triangle_finish");

/// An op of one block of 256 threads.
fn alone(kernel: Kernel) -> Op {
    let mut op = op(kernel, 1);
    op.launch = Launch { grid: [1, 1, 1], block: [256, 1, 1] };
    op
}

/// A planar map's `û`, then `1 + wᵀû`, of `u` and `w`.
pub fn planar_weights(moved: Slot, u: Slot, w: Slot) -> Op {
    let d = u.len;
    holds("w", w, d);
    holds("what u is moved to", moved, d + 1);
    alone(PLANAR).slots([moved, u, w]).sizes([d])
}

/// Adds the gradients by `u` and `w`, from that by what [`planar_weights`] wrote.
pub fn planar_finish([by_u, by_w]: [Slot; 2], by_moved: Slot, u: Slot, w: Slot) -> Op {
    let d = u.len;
    holds("w", w, d);
    holds("the gradient by u", by_u, d);
    holds("the gradient by w", by_w, d);
    holds("the gradient by what u is moved to", by_moved, d + 1);
    alone(PLANAR_FINISH).slots([by_u, by_w, by_moved, u, w]).sizes([d])
}

/// A radial map's α and κ.
pub fn radial_weights(numbers: Slot, log_alpha: Slot, beta: Slot) -> Op {
    holds("the numbers of a radial map", numbers, 2);
    holds("the logarithm of α", log_alpha, 1);
    holds("β", beta, 1);
    op(RADIAL, 1).slots([numbers, log_alpha, beta])
}

/// Adds the gradients by what they are made of.
pub fn radial_finish(by: [Slot; 2], by_numbers: Slot, numbers: Slot, beta: Slot) -> Op {
    by.into_iter().for_each(|by| holds("a gradient of a radial map", by, 1));
    holds("the gradient by its numbers", by_numbers, 2);
    holds("the numbers of a radial map", numbers, 2);
    holds("β", beta, 1);
    op(RADIAL_FINISH, 1).slots([by[0], by[1], by_numbers, numbers, beta])
}

/// An upper triangle `[m, m]` with the hyperbolic tangents of its diagonal.
pub fn bounded_triangle(into: Slot, raw: Slot) -> Op {
    let m = into.len.isqrt();
    holds("a triangle", raw, m * m);
    op(TRIANGLE, m * m).slots([into, raw]).sizes([m])
}

/// `1 + tanh(a)·tanh(b)` of two triangles' diagonals, before they are bounded.
pub fn bounded_stretches(into: Slot, [outer, inner]: [Slot; 2]) -> Op {
    let m = into.len;
    holds("the outer triangle", outer, m * m);
    holds("the inner triangle", inner, m * m);
    op(STRETCHES, m).slots([into, outer, inner]).sizes([m])
}

/// Adds the gradient by `raw`, from which a triangle is made, where `other` is that of the other
/// triangle, and `stretches` are what both make.
pub fn triangle_finish(
    by_raw: Slot,
    by_triangle: Slot,
    [raw, other]: [Slot; 2],
    [by_stretches, stretches]: [Slot; 2],
) -> Op {
    let m = stretches.len;
    holds("the gradient by stretches", by_stretches, m);
    for slot in [by_raw, by_triangle, raw, other] {
        holds("a triangle", slot, m * m);
    }
    let slots = [by_raw, by_triangle, raw, other, by_stretches, stretches];
    op(TRIANGLE_FINISH, m * m).slots(slots).sizes([m])
}
