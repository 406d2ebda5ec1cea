//! A box on its way through a flow.

use super::bounds::{extremes, Amplification, BlockBound};
use super::slopes::{Errand, ErrandKind, Refusal, Slopes};
use super::whole::Whole;
use super::{Cell, Interval, IntervalMatrix, MeanValue};
use crate::engine::{Buffer, Derived, Parameter, State};
use crate::{Block, FlowError, Result, Scalar};

/// Carries a box through the blocks of a flow and asks each how much it can amplify a change there.
///
/// It goes from the data to the latents or [backwards](Self::backwards). A leaf reads the
/// [`region`](Self::region), the box of what it takes (of what it gives, where the probe goes
/// backwards), and leaves a box that holds everything that it makes of that; the engine's order of
/// entries, images channels last. A composite [visits](Self::visit) its children in their order, or
/// in the reverse order where the probe goes backwards.
pub struct Probe<'a, E: Scalar> {
    state: &'a State<E>,
    leaves: &'a [String],
    /// The leaf that comes next; backwards, the one after it.
    leaf: usize,
    backwards: bool,
    region: Vec<Interval>,
    context: Vec<Interval>,
    running: Amplification,
    records: Vec<BlockBound>,
    errand: Option<Errand<E>>,
    whole: Whole,
    /// What the block that is asked now has said of its Jacobians.
    found: Option<Found>,
}

/// A block's Jacobians, and their inverses.
#[derive(Clone, Debug)]
struct Found {
    cell: Cell,
    there: MeanValue,
    back: Option<IntervalMatrix>,
}

impl<'a, E: Scalar> Probe<'a, E> {
    pub(crate) fn new(
        state: &'a State<E>,
        leaves: &'a [String],
        backwards: bool,
        region: Vec<Interval>,
        context: Vec<Interval>,
    ) -> Self {
        let leaf = if backwards { leaves.len() } else { 0 };
        let (running, records) = (Amplification::ISOMETRY, Vec::new());
        let errand = None;
        let whole = Whole::new(&region, backwards);
        Self {
            state,
            leaves,
            leaf,
            backwards,
            region,
            context,
            running,
            records,
            errand,
            whole,
            found: None,
        }
    }

    /// Also sums up something over the blocks.
    pub(super) fn on(mut self, kind: ErrandKind) -> Self {
        let slopes = Slopes::new(self.state);
        self.errand = Some(Errand { kind, sum: 0.0, slopes, refused: None });
        self
    }

    /// Whether it goes from the latents to the data.
    pub fn backwards(&self) -> bool {
        self.backwards
    }

    /// The box: every entry of a row. [`Interval::EVERYTHING`] where nothing is known.
    pub fn region(&mut self) -> &mut Vec<Interval> {
        &mut self.region
    }

    /// The box of the context.
    pub fn context(&self) -> &[Interval] {
        &self.context
    }

    /// The weights.
    pub fn state(&self) -> &'a State<E> {
        self.state
    }

    /// A parameter's numbers.
    pub fn parameter(&self, slot: &Parameter) -> &'a [E] {
        self.state.values.parameter(slot)
    }

    /// A buffer's numbers.
    pub fn buffer(&self, slot: &Buffer) -> &'a [E] {
        self.state.values.buffer(slot)
    }

    /// What [`Block::prepare`] computed.
    pub fn derived(&self, slot: &Derived) -> &'a [E] {
        slot.of(&self.state.derived)
    }

    /// Nothing is known of what a block makes of the box.
    pub fn lose_region(&mut self) {
        self.region.fill(Interval::EVERYTHING);
    }

    /// Asks a single block that stands the other way round.
    pub(crate) fn turned<T>(&mut self, ask: impl FnOnce(&mut Self) -> T) -> T {
        self.backwards = !self.backwards;
        let found = ask(self);
        self.backwards = !self.backwards;
        found
    }

    /// The [`MeanValue`] of a block that is affine, from what it makes of boxes.
    pub(crate) fn affine<B: Block<E>>(&mut self, block: &B, cell: &Cell) -> Result<MeanValue> {
        let region = std::mem::take(&mut self.region);
        let found = MeanValue::of_affine(cell, |sides| {
            self.region = sides;
            block.amplification(self)?;
            Ok(std::mem::take(&mut self.region))
        });
        self.region = region;
        found
    }

    /// The Jacobians of the block that is asked now and their inverses, those of the forward direction
    /// first, where they are known so closely that no bound from norms of parts can be less by much.
    /// The box is then what they make of it.
    pub(crate) fn closely(&mut self) -> Option<[IntervalMatrix; 2]> {
        let Found { cell, there, back } = self.found.as_ref()?;
        let (there, back) = (&there.jacobian, back.as_ref()?);
        if !(there.is_close() && back.is_close()) {
            return None;
        }
        self.region = self.found.as_ref()?.there.image(cell);
        Some(if self.backwards { [back, there] } else { [there, back] }.map(IntervalMatrix::clone))
    }

    /// The blocks that come next see the numbers in another order: `order` says where each comes
    /// from.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        self.whole.reorder(order);
    }

    /// The blocks that come next do not see the first `count` numbers any more, or see `-count` more.
    pub(crate) fn move_start(&mut self, count: isize) {
        self.whole.move_start(count);
    }

    /// Asks a block.
    ///
    /// # Errors
    /// Those of the block.
    pub fn visit<B: Block<E>>(&mut self, block: &B) -> Result<Amplification> {
        if B::COMPOSITE {
            return block.amplification(self);
        }
        if self.backwards {
            self.leaf -= 1;
        }
        let input = extremes(&self.region);
        if let Some(errand) = &mut self.errand {
            if let ErrandKind::LogDeterminants { size } = errand.kind {
                let (context, width) = (self.context.len(), self.region.len());
                errand.log_determinant(block, self.state, context, width, size)?;
                self.leaf += 1;
                return Ok(Amplification::ISOMETRY);
            }
        }
        // What is summed up is that of everything.
        let cell = match self.errand {
            None => self.whole.cell(&self.region),
            Some(_) => None,
        };
        self.found = match cell {
            Some(cell) => block.mean_value(self, &cell)?.map(|there| Found {
                back: there.jacobian.inverse(),
                there,
                cell,
            }),
            None => None,
        };
        let certified = block.amplification(self)?;
        if let Some(errand) = &mut self.errand {
            errand.bound(self.leaf, block, self.state, certified);
        }
        // What the architecture says holds too, and may be less.
        let mut own = certified.or(Amplification::architectural(block.facts()));
        let found = self.found.take();
        if let Some(Found { there, back, .. }) = &found {
            let back = back.as_ref().map_or(f64::INFINITY, IntervalMatrix::norm);
            let by_entries = Amplification::certified(there.jacobian.norm(), back);
            own = own.or(if self.backwards { by_entries.turned() } else { by_entries });
        }
        self.whole.pass(found.as_ref().map(|found| &found.there), own, &mut self.region);
        self.running = self.running.then(own);
        let path = self.leaves[self.leaf].clone();
        self.records.push(BlockBound { path, own, running: self.running, input });
        if !self.backwards {
            self.leaf += 1;
        }
        Ok(own)
    }

    /// What was summed up, and its slopes. An error names the first block that it does not have.
    pub(super) fn finish_errand(self) -> Result<(f64, Slopes<E>)> {
        let Some(Errand { sum, slopes, refused, .. }) = self.errand else {
            return Ok((0.0, Slopes::new(self.state)));
        };
        let Some((leaf, refusal)) = refused else { return Ok((sum, slopes)) };
        let option =
            format!("the certified bound everywhere of the block at {}", self.leaves[leaf]);
        Err(match refusal {
            Refusal::Unbounded => FlowError::option(
                option,
                "infinite",
                "a finite one\nhelp: affine and spline couplings have none: use additive ones",
            ),
            Refusal::NotDifferentiable => FlowError::option(
                option,
                "not differentiable",
                "one that is\nhelp: linear maps, `actnorm`, additive couplings and residual blocks \
                 with `mlp`, `conv` or `resnet` have one",
            ),
        })
    }

    /// What it has seen, block by block, and what is known of all together.
    pub(crate) fn finish(self) -> (Vec<BlockBound>, Amplification) {
        (self.records, self.whole.all())
    }
}
