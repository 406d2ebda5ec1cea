//! Images between dfdx's order, channels first, and the engine's, channels last.

use crate::Shape;

/// Brings each row of an image batch from channels, rows, columns to rows, columns, channels.
pub(crate) fn to_channels_last<E: Copy>(shape: Shape, x: &mut [E]) {
    transpose(shape, x, shape.features(), shape.pixels());
}

/// The inverse of [`to_channels_last`].
pub(crate) fn to_channels_first<E: Copy>(shape: Shape, x: &mut [E]) {
    transpose(shape, x, shape.pixels(), shape.features());
}

fn transpose<E: Copy>(shape: Shape, x: &mut [E], from: usize, to: usize) {
    if from == 1 || to == 1 {
        return;
    }
    let mut copy = x[..shape.size().min(x.len())].to_vec();
    for row in x.chunks_exact_mut(shape.size()) {
        copy.copy_from_slice(row);
        for i in 0..from {
            for j in 0..to {
                row[j * from + i] = copy[i * to + j];
            }
        }
    }
}
