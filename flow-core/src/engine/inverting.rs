//! Back through a flow by its own inverse, block by block, under a guard.
//!
//! The forward pass leaves a [`Trail`]. The backward pass carries each block's output along with the
//! gradient, in one buffer of twice the rows: composites rearrange both alike, and at each block
//! [`Pass::walk_back`] takes them apart, turns the output into the input, compares that with the
//! trail, and runs the block's product. What was lost is computed again from the last copy, by a
//! forward pass that skips all blocks before and behind the stretch.

use super::fingerprint::{self, Worst};
use super::pass::Pass;
use super::workspace::Buffer;
use crate::memory::{Guard, Policy};
use crate::pattern::matches;
use crate::{Block, FlowError, Item, Result, Scalar};

/// What the forward pass of one row group leaves for the way back. A block's place is its number in
/// the order of the pass.
#[derive(Debug)]
pub(crate) struct Trail<E> {
    directions: Option<Buffer<E>>,
    /// Of each block's input, with the numbers of a row of it.
    fingerprints: Vec<(Buffer<E>, usize)>,
    /// Inputs of some blocks, with their places.
    copies: Vec<(usize, Buffer<E>)>,
    /// Inputs that were computed again, with their places.
    again: Vec<(usize, Buffer<E>)>,
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
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Buffer<E>> + '_ {
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

/// All blocks of a flow in the direction of a pass.
pub(crate) type Whole<'r, E> =
    dyn Fn(&mut Pass<'_, E>, &mut [E], &mut [E]) -> Result<()> + Sync + 'r;

/// How a pass inverts.
pub(crate) struct Inverting<'a, E: Scalar> {
    pub(crate) guard: Guard,
    /// Whether the pass runs latent to data.
    pub(crate) backwards: bool,
    /// Numbers of a row of the flow.
    pub(crate) size: usize,
    /// The paths of the blocks, data to latent.
    pub(crate) leaves: &'a [String],
    /// The blocks as they stand in the source.
    pub(crate) items: &'static [Item],
    /// On the way back, the way there.
    pub(crate) whole: Option<&'a Whole<'a, E>>,
    /// The places of the stretch that is computed again now.
    pub(crate) stretch: Option<(usize, usize)>,
}

impl<E: Scalar> Inverting<'_, E> {
    fn place(&self, leaf: usize) -> usize {
        if self.backwards {
            self.leaves.len() - 1 - leaf
        } else {
            leaf
        }
    }

    fn leaf(&self, place: usize) -> usize {
        // The other way round it is the same reflection.
        self.place(place)
    }

    /// A copy is kept at each place that is a multiple of this.
    fn stride(&self) -> usize {
        (self.leaves.len() as f64).sqrt().ceil().max(1.0) as usize
    }

    /// The block as it stands in the source, or its path.
    fn name(&self, leaf: usize) -> String {
        let path = &self.leaves[leaf];
        let item = self
            .items
            .iter()
            .find(|item| matches(item.path, path) || matches(&format!("{}.*", item.path), path));
        item.map_or_else(|| "the block".into(), |item| format!("`{}`", item.text))
    }
}

impl<'a, E: Scalar> Pass<'a, E> {
    /// Leaves a trail of the block that runs now and its input, where the pass inverts.
    pub(super) fn leave_trail<B: Block<E>>(&mut self, block: &B, x: &[E]) -> Result<()> {
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
    fn fingerprint(&mut self, x: &[E]) -> Buffer<E> {
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

    /// Runs the product `run` of a whole flow; where the pass inverts, with each block's `output`
    /// behind its gradient.
    pub(crate) fn back<'s>(
        self,
        gradient: &mut [E],
        output: Option<Buffer<E>>,
        whole: &'s Whole<'s, E>,
        run: impl FnOnce(&mut Pass<'s, E>, &mut [E]) -> Result<()>,
    ) -> Result<()>
    where
        Self: 's,
    {
        let mut pass: Pass<'s, E> = self;
        let Some(inverting) = &mut pass.inverting else {
            let ran = run(&mut pass, gradient);
            if let Some(output) = output {
                pass.give(output);
            }
            return ran;
        };
        inverting.whole = Some(whole);
        let size = gradient.len();
        let mut both = pass.take(2 * size);
        both[..size].copy_from_slice(gradient);
        if let Some(output) = output {
            both[size..].copy_from_slice(&output);
            pass.give(output);
        }
        pass.rows *= 2;
        let ran = run(&mut pass, &mut both);
        pass.rows /= 2;
        gradient.copy_from_slice(&both[..size]);
        pass.give(both);
        ran
    }

    /// The product of the block that runs now, on a buffer of gradients and outputs.
    pub(super) fn walk_back<B: Block<E>>(
        &mut self,
        block: &B,
        both: &mut [E],
        log_det: &[E],
    ) -> Result<()> {
        let (gradient, x) = both.split_at_mut(both.len() / 2);
        self.rows /= 2;
        let ran = self.step_back(block, x).and_then(|()| match self.backwards() {
            false => block.forward_vjp(self, gradient, log_det),
            true => block.inverse_vjp(self, gradient, log_det),
        });
        self.rows *= 2;
        ran
    }

    fn backwards(&self) -> bool {
        self.inverting.as_ref().is_some_and(|inverting| inverting.backwards)
    }

    /// Turns the output of the block that runs now into its input, and saves what its product needs.
    fn step_back<B: Block<E>>(&mut self, block: &B, x: &mut [E]) -> Result<()> {
        let Some(inverting) = &self.inverting else { return Ok(()) };
        let (guard, place) = (inverting.guard, inverting.place(self.leaf));
        let Some((kept, size)) = self.workspace.trail.fingerprints.pop() else {
            // Nobody watches.
            return self.undo(block, x);
        };
        if !self.has_again(place) {
            let worst = match self.workspace.trail.switched {
                true => None,
                false => match self.try_to_undo(block, x, &kept, guard)? {
                    None => {
                        self.give(kept);
                        self.forget_copy(place);
                        return Ok(());
                    }
                    worst => worst,
                },
            };
            let from = self.recover(place, &kept, size)?;
            if let (Some(worst), Some(inverting)) = (worst, &self.inverting) {
                self.workspace.trail.explosions.push(Exploded {
                    leaf: self.leaf,
                    place,
                    row: self.first_row + worst.row,
                    error: worst.error,
                    rows: worst.rows,
                    recomputed: place + 1 - from,
                    copy: inverting.leaf(from),
                });
            }
        }
        self.give(kept);
        self.forget_copy(place);
        if let Some((_, mut input)) = self.workspace.trail.again.pop() {
            x.copy_from_slice(&input);
            self.run_saving(block, self.backwards(), &mut input)?;
            self.give(input);
        }
        Ok(())
    }

    /// Inverts a block, or says by how much that failed; then nothing is saved.
    fn try_to_undo<B: Block<E>>(
        &mut self,
        block: &B,
        x: &mut [E],
        kept: &[E],
        guard: Guard,
    ) -> Result<Option<Worst>> {
        let saved = self.workspace.saved();
        let refused = self.undo(block, x).is_err();
        self.saving = false;
        let found = self.fingerprint(x);
        let mut norms = self.take(self.rows);
        let size = x.len() / self.rows;
        let mut worst = fingerprint::compare(kept, &found, size, guard.threshold, &mut norms);
        self.give(norms);
        self.give(found);
        if refused {
            (worst.error, worst.rows) = (f64::INFINITY, worst.rows.max(1));
        }
        if worst.rows == 0 {
            return Ok(None);
        }
        self.workspace.forget_to(saved);
        match (guard.policy, &self.inverting) {
            (Policy::Error, Some(inverting)) => {
                return Err(FlowError::InverseExploded {
                    path: inverting.leaves[self.leaf].clone(),
                    row: self.first_row + worst.row,
                    error: worst.error,
                    threshold: guard.threshold,
                })
            }
            (Policy::SwitchToRecomputing, _) => self.workspace.trail.switched = true,
            _ => {}
        }
        Ok(Some(worst))
    }

    /// The block's input from its output, in place, with what its product needs saved.
    fn undo<B: Block<E>>(&mut self, block: &B, x: &mut [E]) -> Result<()> {
        let backwards = self.backwards();
        let mut log_det = self.take_zeroed(self.rows);
        self.saving = B::SAVES_ALIKE;
        let undone = if backwards {
            block.forward(self, x, &mut log_det)
        } else {
            block.inverse(self, x, &mut log_det)
        };
        self.saving = false;
        self.give(log_det);
        undone?;
        if !B::SAVES_ALIKE {
            let mut input = self.take_copy(x);
            self.run_saving(block, backwards, &mut input)?;
            self.give(input);
        }
        Ok(())
    }

    /// Runs a block once more on its input, this time saving.
    pub(super) fn run_saving<B: Block<E>>(
        &mut self,
        block: &B,
        backwards: bool,
        x: &mut [E],
    ) -> Result<()> {
        let mut log_det = self.take_zeroed(self.rows);
        self.saving = true;
        let ran = if backwards {
            block.inverse(self, x, &mut log_det)
        } else {
            block.forward(self, x, &mut log_det)
        };
        self.saving = false;
        self.give(log_det);
        ran
    }

    fn has_again(&self, place: usize) -> bool {
        self.workspace.trail.again.last().is_some_and(|(at, _)| *at == place)
    }

    fn forget_copy(&mut self, place: usize) {
        if self.workspace.trail.copies.last().is_some_and(|(at, _)| *at == place) {
            if let Some((_, copy)) = self.workspace.trail.copies.pop() {
                self.give(copy);
            }
        }
    }

    /// Computes the inputs of the blocks up to a place again, from the last one that was kept, and
    /// returns the place of that.
    fn recover(&mut self, place: usize, kept: &[E], size: usize) -> Result<usize> {
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
    pub(super) fn skips(&mut self, x: &mut [E]) -> bool {
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
