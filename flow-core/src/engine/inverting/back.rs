//! The way back: outputs become inputs, and are compared with the trail.

use super::fingerprint::{self, Worst};
use super::trail::Exploded;
use super::Whole;
use crate::engine::pass::Pass;
use crate::engine::workspace::Scratch;
use crate::memory::{Guard, Policy};
use crate::{Block, FlowError, Result, Scalar};

impl<'a, E: Scalar> Pass<'a, E> {
    /// Runs the product `run` of a whole flow; where the pass inverts, with each block's `output`
    /// behind its gradient.
    pub(crate) fn back<'s>(
        self,
        gradient: &mut [E],
        output: Option<Scratch<E>>,
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
    pub(in crate::engine) fn walk_back<B: Block<E>>(
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
            self.undo(block, x)?;
            return self.save_after(block, x);
        };
        if !self.has_again(place) {
            let worst = match self.workspace.trail.switched {
                true => None,
                false => match self.try_to_undo(block, x, &kept, guard)? {
                    None => {
                        self.correct(place, &kept, size, x);
                        self.give(kept);
                        self.forget_copy(place);
                        return self.save_after(block, x);
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

    /// Puts the input itself, where it was kept, in the place of what came back: so that no error
    /// adds up beyond here.
    fn correct(&self, place: usize, kept: &[E], size: usize, x: &mut [E]) {
        if size <= fingerprint::WHOLE {
            x.copy_from_slice(kept);
        } else if let Some(copy) = self.copy_at(place) {
            x.copy_from_slice(copy);
        }
    }

    /// The block's input from its output, in place; where the block saves alike in both directions,
    /// with what its product needs saved.
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
        undone
    }

    /// Saves what the block's product needs, where undoing it has not.
    fn save_after<B: Block<E>>(&mut self, block: &B, x: &[E]) -> Result<()> {
        if B::SAVES_ALIKE {
            return Ok(());
        }
        let mut input = self.take_copy(x);
        let ran = self.run_saving(block, self.backwards(), &mut input);
        self.give(input);
        ran
    }

    /// Runs a block once more on its input, this time saving.
    pub(in crate::engine) fn run_saving<B: Block<E>>(
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
}
