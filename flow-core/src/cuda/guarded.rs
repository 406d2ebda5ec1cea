//! The way back through blocks that are inverted, under a guard.

use std::sync::Arc;

use flow_cuda::kernels::guard::FOUND;
use flow_cuda::{Device, Op, Slot};

use super::inverting::{Step, Trail};
use super::plans::PRODUCT;
use super::store::{Key, Store};
use crate::engine::{Exploded, Watch};
use crate::memory::{Guard, Policy};
use crate::{FlowError, Result};

/// What a plan knows of the way back: which of its parts do what.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    guard: Guard,
    watch: Arc<Watch>,
    leaves: Arc<Vec<String>>,
    backwards: bool,
    bytes: usize,
    /// What comparisons write, by place.
    found: Slot,
    /// What comes before the product of the last block, and after that of the first.
    ends: [usize; 2],
    /// In the order of the pass.
    steps: Vec<Place>,
    /// Where the whole batch was copied, with the part that brings it back.
    copies: Vec<(usize, usize)>,
}

/// A block on the way back, and the first of its parts.
#[derive(Clone, Copy, Debug)]
struct Place {
    leaf: usize,
    place: usize,
    whole: bool,
    found: Slot,
    first: usize,
}

/// The parts of a [`Place`], counted from its first.
const UNDO: usize = 0;
const COMPARE: usize = 1;
const CORRECT: usize = 2;
const STEP_PRODUCT: usize = 3;
const STORE: usize = 4;
const TAKE: usize = 5;
const FORWARD: usize = 6;

/// How far rows are from what was kept of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Worst {
    error: f64,
    row: usize,
    rows: usize,
}

/// How far rows came back from where they were, if that is too far.
fn worst_of(found: &[f32]) -> Option<Worst> {
    let &[error, row, rows] = found else { return None };
    let worst = Worst { error: f64::from(error), row: row as usize, rows: rows as usize };
    (rows > 0.0).then_some(worst)
}

impl Guarded {
    /// Adds the parts of a trail to those of a plan; `ends` are the kernels before the first product and
    /// after the last.
    pub(super) fn new(
        trail: Trail,
        ends: [Vec<Op>; 2],
        bring_back: impl Fn(Slot) -> Op,
        (watch, leaves): (Arc<Watch>, Arc<Vec<String>>),
        parts: &mut Vec<Vec<Op>>,
    ) -> Self {
        let mut part = |ops: Vec<Op>| {
            parts.push(ops);
            parts.len() - 1
        };
        let Trail { guard, backwards, found, steps, copies, len, .. } = trail;
        let ends = ends.map(&mut part);
        let copies = copies.into_iter().map(|(place, copy)| (place, part(vec![bring_back(copy)])));
        let copies = copies.collect();
        let steps = steps.into_iter().map(|step| {
            let Step { leaf, place, whole, found, .. } = step;
            let Step { undo, compare, correct, product, store, take, forward, .. } = step;
            let first = part(undo);
            for ops in [compare, correct, product, store, take, forward] {
                part(ops);
            }
            Place { leaf, place, whole, found, first }
        });
        let steps = steps.collect();
        let bytes = len * std::mem::size_of::<f32>();
        Self { guard, watch, leaves, backwards, bytes, found, ends, steps, copies }
    }

    fn leaf(&self, place: usize) -> usize {
        if self.backwards {
            self.leaves.len() - 1 - place
        } else {
            place
        }
    }

    fn note(&self, explosions: Vec<Exploded>) {
        if self.guard.watches() {
            self.watch.note(&self.leaves, self.guard.policy, self.bytes, explosions.into_iter());
        }
    }
}

impl<D: Device> Store<D> {
    /// Runs the products of a plan that inverts: all at once, and once more step by step where an
    /// inverse has exploded.
    pub(super) fn run_guarded(&mut self, key: Key, guarded: &Guarded) -> Result<()> {
        let stopped = self.stopped(key, &[PRODUCT])?;
        let mut held = stopped.is_none();
        if guarded.guard.watches() {
            let found = self.read(key, guarded.found)?;
            held = held && found.chunks_exact(FOUND).all(|found| worst_of(found).is_none());
        } else if let Some(error) = stopped {
            return Err(error);
        }
        if held {
            guarded.note(Vec::new());
            return Ok(());
        }
        let explosions = self.walk_back(key, guarded)?;
        guarded.note(explosions);
        Ok(())
    }

    /// The way back block by block: what the inverse has lost is computed again from the last copy.
    fn walk_back(&mut self, key: Key, guarded: &Guarded) -> Result<Vec<Exploded>> {
        let Guarded { guard, leaves, .. } = guarded;
        self.run_part(key, guarded.ends[0])?;
        let (mut explosions, mut switched) = (Vec::new(), false);
        // Inputs from this place on are there.
        let mut again_from = usize::MAX;
        for (number, step) in guarded.steps.iter().enumerate().rev() {
            if step.place >= again_from {
                self.run_part(key, step.first + TAKE)?;
                self.run_part(key, step.first + STEP_PRODUCT)?;
                continue;
            }
            let worst = if switched { None } else { self.undo(key, step)? };
            if worst.is_none() && !switched {
                self.run_part(key, step.first + CORRECT)?;
                self.run_part(key, step.first + STEP_PRODUCT)?;
                continue;
            }
            match (guard.policy, worst) {
                (Policy::Error, Some(Worst { error, row, .. })) => {
                    let (path, threshold) = (leaves[step.leaf].clone(), guard.threshold);
                    return Err(FlowError::InverseExploded { path, row, error, threshold });
                }
                (Policy::SwitchToRecomputing, _) => switched = true,
                _ => {}
            }
            let from = self.recover(key, guarded, number)?;
            if from < step.place {
                again_from = from;
            }
            if let Some(Worst { error, row, rows }) = worst {
                explosions.push(Exploded {
                    leaf: step.leaf,
                    place: step.place,
                    row,
                    error,
                    rows,
                    recomputed: step.place + 1 - from,
                    copy: guarded.leaf(from),
                });
            }
            self.run_part(key, step.first + STEP_PRODUCT)?;
        }
        self.run_part(key, guarded.ends[1])?;
        Ok(explosions)
    }

    /// Undoes a block, and says by how much that failed.
    fn undo(&mut self, key: Key, step: &Place) -> Result<Option<Worst>> {
        let refused = self.stopped(key, &[step.first + UNDO])?.is_some();
        self.run_part(key, step.first + COMPARE)?;
        let worst = worst_of(&self.read(key, step.found)?);
        if !refused {
            return Ok(worst);
        }
        let Worst { row, rows, .. } = worst.unwrap_or(Worst { error: 0.0, row: 0, rows: 0 });
        Ok(Some(Worst { error: f64::INFINITY, row, rows: rows.max(1) }))
    }

    /// Brings back the input of a block from the last that was kept, and returns the place of that. The
    /// inputs of the blocks between stay at hand.
    fn recover(&mut self, key: Key, guarded: &Guarded, number: usize) -> Result<usize> {
        let step = guarded.steps[number];
        if step.whole {
            self.run_part(key, step.first + CORRECT)?;
            return Ok(step.place);
        }
        let before = guarded.copies.iter().rfind(|&&(place, _)| place <= step.place);
        let Some(&(from, bring_back)) = before else { return Ok(step.place) };
        self.run_part(key, bring_back)?;
        let between = guarded.steps[..number].iter().filter(|step| step.place >= from);
        for between in between.copied() {
            self.run_part(key, between.first + STORE)?;
            self.run_part(key, between.first + FORWARD)?;
        }
        self.run_part(key, step.first + STORE)?;
        Ok(from)
    }

    fn run_part(&mut self, key: Key, part: usize) -> Result<()> {
        self.run_all(key, &[part])
    }
}
