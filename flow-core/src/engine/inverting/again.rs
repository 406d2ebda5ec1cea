//! Inputs that the inverse has lost, computed again from the last copy.

use super::fingerprint;
use crate::engine::pass::Pass;
use crate::{Result, Scalar};

impl<'a, E: Scalar> Pass<'a, E> {
    pub(super) fn has_again(&self, place: usize) -> bool {
        self.workspace.trail.again.last().is_some_and(|(at, _)| *at == place)
    }

    pub(super) fn copy_at(&self, place: usize) -> Option<&[E]> {
        self.workspace.trail.copies.last().filter(|(at, _)| *at == place).map(|(_, copy)| &**copy)
    }

    pub(super) fn forget_copy(&mut self, place: usize) {
        if self.copy_at(place).is_some() {
            if let Some((_, copy)) = self.workspace.trail.copies.pop() {
                self.give(copy);
            }
        }
    }

    /// Computes the inputs of the blocks up to a place again, from the last one that was kept, and
    /// returns the place of that.
    pub(super) fn recover(&mut self, place: usize, kept: &[E], size: usize) -> Result<usize> {
        if size <= fingerprint::WHOLE {
            let input = self.take_copy(kept);
            self.workspace.trail.again.push((place, input));
            return Ok(place);
        }
        // The first input that was too long to be kept whole was copied.
        let from = self.workspace.trail.copies.last().map_or(0, |&(at, _)| at);
        let (Some(inverting), leaf) = (&mut self.inverting, self.leaf) else { return Ok(from) };
        let Some(run) = inverting.whole else { return Ok(from) };
        inverting.stretch = Some((from, place));
        self.leaf = if inverting.backwards { inverting.leaves.len() } else { 0 };
        let size = inverting.size;
        // What is skipped does not look at it.
        let mut x = self.take(self.rows * size);
        let mut log_det = self.take_zeroed(self.rows);
        let ran = run(self, &mut x, &mut log_det);
        self.give(log_det);
        self.give(x);
        self.leaf = leaf;
        if let Some(inverting) = &mut self.inverting {
            inverting.stretch = None;
        }
        ran.map(|()| from)
    }

    /// Whether a stretch is computed again to which the block that comes now does not belong. One
    /// that does leaves its input; the first gets it from the trail.
    pub(in crate::engine) fn skips(&mut self, x: &mut [E]) -> bool {
        let Some(inverting) = &self.inverting else { return false };
        let Some((from, to)) = inverting.stretch else { return false };
        let place = inverting.place(self.leaf);
        if !(from..=to).contains(&place) {
            return true;
        }
        if place == from {
            if let Some((_, copy)) = self.workspace.trail.copies.last() {
                x.copy_from_slice(copy);
            }
        }
        let input = self.take_copy(x);
        self.workspace.trail.again.push((place, input));
        place == to
    }
}
