//! What threads share out among each other of one step.

use std::ops::Range;

/// Numbers of a piece: large enough to be worth a thread's waking, and the same on any machine, so
/// that sums over pieces come out the same.
const PIECE: usize = 1 << 14;

/// A range, piece by piece.
pub(super) fn pieces(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let Range { start, end } = range;
    (start..end).step_by(PIECE).map(move |start| start..end.min(start + PIECE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_once() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let found: Vec<_> = pieces(7..7 + len).collect();
            assert!(found.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
            assert_eq!(
                found.into_iter().flatten().collect::<Vec<_>>(),
                (7..7 + len).collect::<Vec<_>>()
            );
        }
    }
}
