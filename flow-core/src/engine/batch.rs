//! Rows over threads.

use std::ops::Range;

use rayon::prelude::*;

/// Each group has a gradient of its own, to be cleared and added up: where one is longer than this
/// many bytes there are half as many groups.
const LARGE_MODEL: usize = 8 << 20;

/// A group has at least this many rows, so that its matrix products are not slivers.
const FEWEST_ROWS: usize = 16;

/// More than [`FEW`] groups have about this many vectors each, a row being as many as it has pixels:
/// each group copies the weights once more where it multiplies with them.
const VECTORS: usize = 64;
const FEW: usize = 4;

/// Cuts `rows` of so many pixels each into groups of nearly equal size, each with a gradient of so many
/// bytes. Their number depends on the batch and the model, never on the threads, so that sums over
/// groups come out the same on any machine.
pub(crate) fn groups(rows: usize, pixels: usize, gradient_bytes: usize) -> Vec<Range<usize>> {
    let most = if gradient_bytes > LARGE_MODEL { 4 } else { 8 };
    let worthy = ((rows * pixels + VECTORS / 2) / VECTORS).max(FEW);
    let count = (rows / FEWEST_ROWS).min(worthy).clamp(1, most);
    (0..count).map(|i| rows * i / count..rows * (i + 1) / count).collect()
}

/// Cuts a row-major buffer as `groups` cuts its rows.
pub(crate) fn split<'a, E>(
    mut buffer: &'a mut [E],
    groups: &[Range<usize>],
    width: usize,
) -> Vec<&'a mut [E]> {
    let mut parts = Vec::with_capacity(groups.len());
    for group in groups {
        let (part, rest) = buffer.split_at_mut(group.len() * width);
        parts.push(part);
        buffer = rest;
    }
    parts
}

/// Runs `job` on each item, on the caller's thread where there is only one.
pub(crate) fn each<T: Send, R: Send>(items: Vec<T>, job: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if items.len() <= 1 {
        items.into_iter().map(job).collect()
    } else {
        items.into_par_iter().map(job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_all_rows_once() {
        for pixels in [1, 64] {
            for rows in [1, 2, 15, 16, 31, 33, 500, 12345] {
                let groups = groups(rows, pixels, 0);
                assert!(groups.len() <= 8);
                let covered: Vec<usize> = groups.into_iter().flatten().collect();
                assert_eq!(covered, (0..rows).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn groups_are_neither_slivers_nor_few() {
        let count = |rows, pixels, bytes| groups(rows, pixels, bytes).len();
        assert_eq!([count(63, 1, 0), count(256, 1, 0), count(500, 1, 0)], [3, 4, 8]);
        assert_eq!([count(32, 1024, 0), count(128, 64, 0), count(500, 1, usize::MAX)], [2, 8, 4]);
    }
}
