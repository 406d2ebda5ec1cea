//! What a forward pass leaves for the way back.

use super::fingerprint;
use crate::engine::pass::Pass;
use crate::engine::workspace::Scratch;
use crate::{Block, FlowError, Result, Scalar};

/// What the forward pass of one row group leaves for the way back. A block's place is its number in
/// the order of the pass.
#[derive(Debug)]
pub(crate) struct Trail<E> {
    pub(super) directions: Option<Scratch<E>>,
    /// Of each block's input, with the numbers of a row of it.
    pub(super) fingerprints: Vec<(Scratch<E>, usize)>,
    /// Inputs of some blocks, with their places.
    pub(super) copies: Vec<(usize, Scratch<E>)>,
    /// Inputs that were computed again, with their places.
    pub(super) again: Vec<(usize, Scratch<E>)>,
    pub(crate) explosions: Vec<Exploded>,
    /// Whether the rest of the way back is computed from the copies.
    pub(crate) switched: bool,
}

impl<E> Default for Trail<E> {
    fn default() -> Self {
        Self {
            directions: None,
            fingerprints: Vec::new(),
            copies: Vec::new(),
            again: Vec::new(),
            explosions: Vec::new(),
            switched: false,
        }
    }
}

impl<E> Trail<E> {
    /// Numbers in fingerprints and copies.
    pub(crate) fn len(&self) -> usize {
        let fingerprints = self.fingerprints.iter().map(|(buffer, _)| buffer.len());
        let copies = self.copies.iter().map(|(_, buffer)| buffer.len());
        fingerprints.chain(copies).sum::<usize>() + self.directions.as_ref().map_or(0, |d| d.len())
    }

    /// Forgets all, and hands out the buffers.
    pub(in crate::engine) fn drain(&mut self) -> impl Iterator<Item = Scratch<E>> + '_ {
        self.explosions.clear();
        self.switched = false;
        let fingerprints = self.fingerprints.drain(..).map(|(buffer, _)| buffer);
        let copies = self.copies.drain(..).chain(self.again.drain(..)).map(|(_, buffer)| buffer);
        self.directions.take().into_iter().chain(fingerprints).chain(copies)
    }
}

/// An explosion in one row group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exploded {
    /// The block's number, data to latent.
    pub(crate) leaf: usize,
    /// Its number in the order of the pass.
    pub(crate) place: usize,
    /// The worst row of the batch, and its error.
    pub(crate) row: usize,
    pub(crate) error: f64,
    /// Rows above the threshold.
    pub(crate) rows: usize,
    /// Blocks computed again, and the number of the first.
    pub(crate) recomputed: usize,
    pub(crate) copy: usize,
}
impl<'a, E: Scalar> Pass<'a, E> {
    /// Leaves a trail of the block that runs now and its input, where the pass inverts.
    pub(in crate::engine) fn leave_trail<B: Block<E>>(&mut self, block: &B, x: &[E]) -> Result<()> {
        let Some(inverting) = &self.inverting else { return Ok(()) };
        if inverting.stretch.is_some() {
            return Ok(());
        }
        if !block.facts().memory_saving {
            let path = inverting.leaves[self.leaf].clone();
            return Err(FlowError::NotMemorySaving { block: inverting.name(self.leaf), path });
        }
        if !inverting.guard.watches() {
            return Ok(());
        }
        let (place, stride) = (inverting.place(self.leaf), inverting.stride());
        let size = x.len() / self.rows;
        // Where a level ends and its numbers join those that were latent, a copy from before tells
        // nothing of the latter.
        let before = self.workspace.trail.fingerprints.last();
        let grows = before.is_some_and(|&(_, before)| before < size);
        let fingerprint = self.fingerprint(x);
        self.workspace.trail.fingerprints.push((fingerprint, size));
        if size > fingerprint::WHOLE && (grows || place.is_multiple_of(stride)) {
            let copy = self.take_copy(x);
            self.workspace.trail.copies.push((place, copy));
        }
        Ok(())
    }

    /// The fingerprints of all rows of an input of the block that runs now.
    pub(super) fn fingerprint(&mut self, x: &[E]) -> Scratch<E> {
        let size = x.len() / self.rows;
        if size <= fingerprint::WHOLE {
            return self.take_copy(x);
        }
        let noise = self.noise.named("fingerprint");
        let directions = match self.workspace.trail.directions.take() {
            Some(directions) => directions,
            None => {
                let longest = self.inverting.as_ref().map_or(size, |inverting| inverting.size);
                let mut directions = self.take(fingerprint::directions(longest));
                let group = noise.named("directions").at(self.first_row as u64);
                fingerprint::fill_directions(&group, &mut directions);
                directions
            }
        };
        let (mut signs, mut scratch) = (self.take(size), self.take(size));
        fingerprint::fill_signs(&noise.at(self.leaf as u64), &mut signs);
        let mut fingerprint = self.take(self.rows * fingerprint::width(size));
        fingerprint::project(x, &directions, &signs, &mut scratch, &mut fingerprint);
        self.give(scratch);
        self.give(signs);
        self.workspace.trail.directions = Some(directions);
        fingerprint
    }
}
