//! Blocks whose inputs are reconstructed from their outputs, under a guard: what is recorded of each.
//!
//! A pass keeps a fingerprint of each block's input and, every √n blocks, the whole batch. The product
//! of a block begins by undoing it and comparing; [`Guarded`](super::guarded::Guarded) looks at what was
//! found once all products are done, and where an inverse has exploded walks back once more, step by step.

use flow_cuda::kernels::guard::{compare, project, Fingerprints, FOUND, PROJECTIONS};
use flow_cuda::kernels::noise::{normals, signs};
use flow_cuda::kernels::rows::{gather, scaled_copy, scatter, Rows};
use flow_cuda::{Op, Recording, Slot};

use super::lowering::Lowering;
use crate::engine::{stride, WHOLE};
use crate::memory::Guard;
use crate::{Block, FlowError, Item, Result, Scalar};

/// What is recorded of the blocks of a pass that inverts.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) guard: Guard,
    pub(crate) backwards: bool,
    leaves: usize,
    /// What comparisons write, by place.
    pub(crate) found: Slot,
    /// The batch before a product: its input while it is run.
    input: Slot,
    /// Where blocks that run once more add their log-determinants.
    log_det: Slot,
    directions: Option<Slot>,
    /// Room for the batches of a stretch that is computed again.
    again: Vec<Slot>,
    pub(crate) steps: Vec<Step>,
    /// Copies of the whole batch, with their places.
    pub(crate) copies: Vec<(usize, Slot)>,
    /// Numbers in fingerprints and copies.
    pub(crate) len: usize,
}

/// One block on the way back. A block's place is its number in the order of the pass.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) leaf: usize,
    pub(crate) place: usize,
    /// Whether its fingerprint is its input.
    pub(crate) whole: bool,
    /// What the comparison writes.
    pub(crate) found: Slot,
    /// Turns the output into the input.
    pub(crate) undo: Vec<Op>,
    /// Compares that with the fingerprint.
    pub(crate) compare: Vec<Op>,
    /// Puts the input itself in its place, where it was kept.
    pub(crate) correct: Vec<Op>,
    /// Its product, which leaves the input where it is.
    pub(crate) product: Vec<Op>,
    /// Keeps the input that was computed again; brings it back; and runs the block.
    pub(crate) store: Vec<Op>,
    pub(crate) take: Vec<Op>,
    pub(crate) forward: Vec<Op>,
}

impl Trail {
    pub(super) fn new(
        recording: &mut Recording,
        x: Rows,
        leaves: usize,
        (guard, backwards): (Guard, bool),
    ) -> Self {
        let rows = x.slot.len / x.width.max(1);
        let long = guard.watches() && x.width > WHOLE;
        let again = if long { stride(leaves).min(leaves) } else { 0 };
        Self {
            guard,
            backwards,
            leaves,
            found: recording.frame(leaves * FOUND),
            input: recording.frame(x.slot.len),
            log_det: recording.frame(rows),
            directions: long.then(|| recording.frame(PROJECTIONS * x.width)),
            again: (0..again).map(|_| recording.frame(x.slot.len)).collect(),
            steps: Vec::new(),
            copies: Vec::new(),
            len: 0,
        }
    }

    fn place(&self, leaf: usize) -> usize {
        if self.backwards {
            self.leaves - 1 - leaf
        } else {
            leaf
        }
    }
}

impl<E: Scalar> Lowering<E> {
    /// Keeps of blocks' inputs no more than fingerprints and a few copies, and reconstructs them.
    pub(crate) fn inverting(mut self, guard: Guard, backwards: bool) -> Self {
        if !self.keeping {
            return self;
        }
        let (x, leaves) = (self.places().x, self.leaves.len());
        let trail = Trail::new(&mut self.recording, x, leaves, (guard, backwards));
        if let Some(directions) = trail.directions {
            self.record(normals(directions, self.places().noise, 1.0));
        }
        self.trail = Some(trail);
        self.briefly = true;
        self
    }

    /// Records a block that leaves a fingerprint of its input, and returns its product.
    pub(super) fn leaf_inverted<B: Block<E>>(
        &mut self,
        mut trail: Trail,
        block: &B,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<(Trail, Vec<Op>)> {
        if !block.facts().memory_saving {
            let path = self.path().to_owned();
            let block = Item::text_at(self.items, &path);
            return Err(FlowError::NotMemorySaving { block, path });
        }
        let first = entries.to_vec();
        let (x, place) = (self.places().x, trail.place(self.leaf));
        let pass = self.apart(|to| block.lower(to, entries, backwards).map(drop))?;
        self.recording.reuse(0);
        let copied = !trail.again.is_empty() && place.is_multiple_of(stride(trail.leaves));
        if copied {
            let copy = self.recording.frame(x.slot.len);
            self.record(scaled_copy(copy, x.slot, 1.0));
            trail.copies.push((place, copy));
            trail.len += copy.len;
        }
        if pass.is_empty() {
            // It only moves numbers, in its product as well.
            return Ok((trail, Vec::new()));
        }
        let mut step = Step {
            leaf: self.leaf,
            place,
            whole: first.len() <= WHOLE,
            found: Slot::NONE,
            undo: Vec::new(),
            compare: Vec::new(),
            correct: Vec::new(),
            product: Vec::new(),
            store: Vec::new(),
            take: Vec::new(),
            forward: Vec::new(),
        };
        if trail.guard.watches() {
            self.leave_fingerprint(&mut trail, &mut step, &first);
        }
        self.ops.extend(pass);
        if let Some((_, copy)) = trail.copies.last().filter(|_| copied && !step.whole) {
            step.correct.push(scaled_copy(x.slot, *copy, 1.0));
        }

        let mut ends = entries.to_vec();
        let log_det = std::mem::replace(&mut self.places.log_det, trail.log_det);
        self.volume = false;
        let undo = self.apart(|to| block.lower(to, &mut ends, !backwards).map(drop));
        self.recording.reuse(0);
        let forward = match trail.again.get(place % trail.again.len().max(1)) {
            None => Ok(Vec::new()),
            Some(&again) => {
                step.store.push(scaled_copy(again, x.slot, 1.0));
                step.take.push(scaled_copy(x.slot, again, 1.0));
                self.apart(|to| block.lower(to, &mut first.clone(), backwards).map(drop))
            }
        };
        self.recording.reuse(0);
        self.volume = true;
        let product = self.aside(true, |to| block.lower(to, &mut first.clone(), backwards));
        self.places.log_det = log_det;
        debug_assert!(ends == first, "a block that moves numbers as it changes them");
        (step.undo, step.forward) = (undo?, forward?);
        let (product, again) = product?;
        step.product.push(scaled_copy(trail.input, x.slot, 1.0));
        step.product.extend(again.into_iter().chain(product));
        step.product.push(scaled_copy(x.slot, trail.input, 1.0));
        let all = [&step.undo, &step.compare, &step.correct, &step.product];
        let ops = all.into_iter().flatten().cloned().collect();
        trail.steps.push(step);
        Ok((trail, ops))
    }

    /// Records the fingerprint of a block's input, and what compares it with what comes back.
    fn leave_fingerprint(&mut self, trail: &mut Trail, step: &mut Step, entries: &[usize]) {
        let (rows, size, x) = (self.rows(), entries.len(), self.places().x);
        let table = self.table(entries.iter().copied());
        let form = if step.whole { Fingerprints::whole(size) } else { Fingerprints::PROJECTED };
        let kept = self.recording.frame(rows * form.width);
        let found = self.scratch(kept.len);
        let norms = self.scratch(rows + 1);
        let none = Rows::new(Slot::NONE, 0);
        let known = |into: Slot, to: &mut Self| match trail.directions {
            Some(directions) if !step.whole => {
                let [dense, turned] = [rows * size, size].map(|len| to.scratch(len));
                // No row of a block has that number.
                let stream = to.places().noise;
                let own = signs(turned, stream, 1, trail.leaves + step.leaf);
                let gathered = gather(rows, x, none, table, dense);
                vec![gathered, own, project(into, dense, directions, turned)]
            }
            _ => vec![gather(rows, x, none, table, into)],
        };
        let before = known(kept, self);
        step.compare = known(found, self);
        before.into_iter().for_each(|op| self.record(op));
        step.found = trail.found.part(step.place * FOUND, FOUND);
        step.compare.extend(compare(step.found, [kept, found], form, norms, trail.guard.threshold));
        if step.whole {
            step.correct.push(scatter(rows, x, table, kept));
        }
        trail.len += kept.len;
        self.recording.reuse(0);
    }
}
