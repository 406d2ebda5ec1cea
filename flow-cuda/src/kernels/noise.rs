//! Random numbers: the stream of flow-core's `Noise`, word for word.

use super::{apart, holds, op, NOISE};
use crate::{Kernel, Op, Slot};

const NORMALS: Kernel = apart(NOISE, "normals");

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
