//! Rows over threads.

use std::ops::Range;

use rayon::prelude::*;

use super::pass::Gradients;
use crate::Scalar;

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

/// Adds all groups' gradients of parameters and derived values into the first, pairwise in a fixed
/// tree.
pub(crate) fn add_up<E: Scalar>(groups: &mut [Gradients<E>]) {
    let mut stride = 1;
    while stride < groups.len() {
        groups.par_chunks_mut(2 * stride).for_each(|pair| {
            if pair.len() > stride {
                let (left, right) = pair.split_at_mut(stride);
                add(&mut left[0].parameters, &right[0].parameters);
                add(&mut left[0].derived, &right[0].derived);
            }
        });
        stride *= 2;
    }
}

fn add<E: Scalar>(into: &mut [E], from: &[E]) {
    for (a, &b) in into.iter_mut().zip(from) {
        *a += b;
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

    #[test]
    fn the_tree_adds_every_group() {
        for count in 1..=8 {
            let mut groups: Vec<_> = (0..count)
                .map(|i| Gradients::<f64> {
                    parameters: vec![f64::from(1 << i)],
                    derived: vec![1.0],
                    context: vec![],
                })
                .collect();
            add_up(&mut groups);
            assert_eq!(groups[0].parameters, [f64::from((1 << count) - 1)]);
            assert_eq!(groups[0].derived, [f64::from(count)]);
        }
    }
}
