//! Random numbers: the stream of flow-core's `Noise`, word for word.

use super::{apart, holds, op, NOISE};
use crate::{Kernel, Op, Slot};

const NORMALS: Kernel = apart(NOISE, "normals");
const SIGNS: Kernel = apart(NOISE, "signs");
const UNIFORMS: Kernel = apart(NOISE, "uniforms");
const TERM_COUNTS: Kernel = apart(NOISE, "term_counts");

/// Numbers that [`normals`] reads of its stream.
pub const STREAM: usize = 4;

/// A stream from its number `start` on, as [`normals`] reads it from memory: the halves of both
/// integers as the bits of four numbers.
pub fn stream(key: u64, start: u64) -> [f32; STREAM] {
    [key, key >> 32, start, start >> 32].map(|half| f32::from_bits(half as u32))
}

/// Fills `out` with `factor` times standard normals of the stream in memory.
pub fn normals(out: Slot, stream: Slot, factor: f64) -> Op {
    holds("a stream", stream, STREAM);
    // One thread more than pairs, for a start in the middle of one.
    op(NORMALS, out.len / 2 + 1).slots([out, stream]).sizes([out.len]).numbers([factor])
}

/// Random signs for each row, from the stream of the block's number `leaf` and the row's under that
/// in memory, named `probe`.
pub fn signs(out: Slot, stream: Slot, rows: usize, leaf: usize) -> Op {
    holds("a stream", stream, STREAM);
    let width = out.len / rows;
    op(SIGNS, rows * width.div_ceil(128)).slots([out, stream]).sizes([rows, width, leaf])
}

/// For each row `exact` and a number n more, which is at least m with the probability `(1 − p)^m`,
/// from such a stream named `terms`.
pub fn term_counts(out: Slot, stream: Slot, leaf: usize, exact: usize, p: f64) -> Op {
    holds("a stream", stream, STREAM);
    let rows = out.len;
    op(TERM_COUNTS, rows).slots([out, stream]).sizes([rows, leaf, exact]).numbers([(1.0 - p).ln()])
}

/// Fills `out` with numbers of the stream in memory, uniform on (0, 1) or standard `logistic`.
pub fn uniforms(out: Slot, stream: Slot, logistic: bool) -> Op {
    holds("a stream", stream, STREAM);
    op(UNIFORMS, out.len).slots([out, stream]).sizes([out.len, usize::from(logistic)])
}
