//! Memory that passes use again and again.

use std::ops::{Deref, DerefMut};

use super::inverting::{Exploded, Trail};

/// Numbers on loan from a [`Workspace`]: memory for a pass, or until its product.
#[derive(Debug)]
pub struct Scratch<E> {
    data: Vec<E>,
    len: usize,
}

impl<E> Deref for Scratch<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.data[..self.len]
    }
}

impl<E> DerefMut for Scratch<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.data[..self.len]
    }
}

/// One row group's memory: what is free by size, and a stack of what a pass saved for its product.
///
/// After a first pass of some size, another of that size allocates nothing.
#[derive(Debug)]
pub struct Workspace<E> {
    free: Vec<Vec<Vec<E>>>,
    saved: Vec<Scratch<E>>,
    /// What several products read, each a copy, and how many of these buffers the current one has
    /// yet to read.
    kept: Vec<Scratch<E>>,
    unread: usize,
    pub(super) trail: Trail<E>,
}

impl<E> Default for Workspace<E> {
    fn default() -> Self {
        Self {
            free: Vec::new(),
            saved: Vec::new(),
            kept: Vec::new(),
            unread: 0,
            trail: Trail::default(),
        }
    }
}

impl<E: Copy + num_traits::Zero> Workspace<E> {
    /// Scratch memory of `len` numbers whose content is left over from earlier use.
    pub fn take(&mut self, len: usize) -> Scratch<E> {
        let (class, capacity) = size_class(len);
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        let data = self.free[class].pop().unwrap_or_else(|| vec![E::zero(); capacity]);
        Scratch { data, len }
    }

    /// Gives scratch memory back.
    pub fn give(&mut self, scratch: Scratch<E>) {
        let (class, _) = size_class(scratch.len);
        self.free[class].push(scratch.data);
    }

    /// Keeps scratch memory until the matching [`restore`](Self::restore).
    pub fn save(&mut self, scratch: Scratch<E>) {
        self.saved.push(scratch);
    }

    /// What was saved last.
    ///
    /// # Panics
    /// Where nothing is saved: a bug of the block that asks.
    pub fn restore(&mut self) -> Scratch<E> {
        if let Some(scratch) = self.saved.pop() {
            return scratch;
        }
        self.unread =
            self.unread.checked_sub(1).expect("a block restored more buffers than it saved");
        let mut copy = self.take(self.kept[self.unread].len);
        copy.copy_from_slice(&self.kept[self.unread]);
        copy
    }

    /// Lets one more product restore all that is saved now: what a product restores from here on
    /// are copies.
    pub(super) fn rewind(&mut self) {
        self.kept.append(&mut self.saved);
        self.unread = self.kept.len();
    }

    /// How many buffers are saved.
    pub(super) fn saved(&self) -> usize {
        self.saved.len()
    }

    /// Frees what was saved since there were `count` buffers.
    pub(super) fn forget_to(&mut self, count: usize) {
        while self.saved.len() > count {
            let buffer = self.restore();
            self.give(buffer);
        }
    }

    /// Bytes that a pass which inverts has left.
    pub(super) fn trail_bytes(&self) -> usize {
        self.trail.len() * std::mem::size_of::<E>()
    }

    /// What the guard of such a pass saw, once.
    pub(super) fn explosions(&mut self) -> Vec<Exploded> {
        std::mem::take(&mut self.trail.explosions)
    }

    /// Frees what an unfinished pass has left.
    pub fn clear(&mut self) {
        self.forget_to(0);
        self.unread = 0;
        while let Some(buffer) = self.kept.pop() {
            self.give(buffer);
        }
        let mut trail = std::mem::take(&mut self.trail);
        trail.drain().for_each(|buffer| self.give(buffer));
        self.trail = trail;
    }
}

/// Four classes an octave: at most a quarter of a buffer is unused.
fn size_class(len: usize) -> (usize, usize) {
    let len = len.max(4);
    let octave = (usize::BITS - 1 - (len - 1).max(1).leading_zeros()) as usize;
    let step = 1usize << octave.saturating_sub(2);
    let above = (len - (1 << octave)).div_ceil(step);
    (octave * 5 + above, (1 << octave) + above * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_length_and_little_more() {
        for len in 1..5000 {
            let (class, capacity) = size_class(len);
            assert!(capacity >= len, "{len} in {capacity}");
            assert!(capacity <= 4.max(len + len.div_ceil(4)), "{len} in {capacity}");
            assert_eq!(size_class(capacity), (class, capacity), "{len}");
        }
    }

    #[test]
    fn what_is_kept_can_be_restored_again_below_what_is_saved_meanwhile() {
        let mut workspace = Workspace::<f32>::default();
        for v in [1.0, 2.0] {
            let mut buffer = workspace.take(5);
            buffer.fill(v);
            workspace.save(buffer);
        }
        for _ in 0..3 {
            workspace.rewind();
            let mut last = workspace.restore();
            assert_eq!(*last, [2.0; 5]);
            last.fill(7.0);
            workspace.save(last);
            for v in [7.0, 1.0] {
                let mut buffer = workspace.restore();
                assert_eq!(*buffer, [v; 5]);
                buffer.fill(9.0);
                workspace.give(buffer);
            }
        }
        workspace.clear();
        assert_eq!(workspace.saved() + workspace.kept.len() + workspace.unread, 0);
    }

    #[test]
    fn a_returned_buffer_is_used_again() {
        let mut workspace = Workspace::<f32>::default();
        let mut first = workspace.take(100);
        first[99] = 7.0;
        workspace.give(first);
        assert_eq!(workspace.take(100)[99], 7.0);
    }
}
