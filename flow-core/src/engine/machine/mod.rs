//! A flow on plain buffers: whole batches through all blocks.

mod base;
mod jacobian;
mod product;
mod run;
mod spare;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::batch;
use super::builder::Builder;
use super::channels::to_channels_last;
use super::inverting::Inverting;
use super::layout::Layout;
use super::setup::Setup;
use super::state::{State, Values};
use super::turned;
use super::watch::Watch;
use crate::base::Base;
use crate::{Architecture, Context, Event, FlowError, Memory, Noise, Result, Scalar};
use spare::Spare;

pub(crate) use run::Kept;

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// Data to latent; a row's number is its log-determinant.
    Forward,
    /// Latent to data; a row's number is its log-determinant.
    Inverse,
    /// Data to latent; a row's number is its log-probability.
    LogProb,
}

/// Blocks, base and weights. Cheap to clone: a clone keeps the weights it saw.
pub(crate) struct Machine<A: Architecture<E>, E: Scalar> {
    blocks: Arc<A>,
    base: Arc<A::Base>,
    layout: Arc<Layout>,
    state: Arc<State<E>>,
    spare: Arc<Spare<E>>,
    watch: Arc<Watch>,
    noise: Noise,
}

impl<A: Architecture<E>, E: Scalar> Clone for Machine<A, E> {
    fn clone(&self) -> Self {
        Self {
            blocks: self.blocks.clone(),
            base: self.base.clone(),
            layout: self.layout.clone(),
            state: self.state.clone(),
            spare: self.spare.clone(),
            watch: self.watch.clone(),
            noise: self.noise.clone(),
        }
    }
}

static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    pub(crate) fn build(seed: u64) -> Result<Self> {
        let mut builder = Builder::new(seed);
        let blocks = A::new(&mut builder)?;
        let base = builder.scope("base", |b| A::Base::new(b, A::Latent::SHAPE.size()))?;
        let (layout, state) = builder.finish();
        let mut machine = Self {
            blocks: Arc::new(blocks),
            base: Arc::new(base),
            layout: Arc::new(layout),
            state: Arc::new(state),
            spare: Arc::default(),
            watch: Arc::new(Watch::new(A::NAME)),
            noise: Noise::seed(0),
        };
        machine.prepare()?;
        Ok(machine)
    }

    /// The same machine with other random numbers for the blocks that draw any.
    pub(crate) fn drawing(&self, noise: Noise) -> Self {
        Self { noise, ..self.clone() }
    }

    /// The same machine for a flow of its own, whose guards have seen nothing yet.
    pub(crate) fn apart(&self) -> Self {
        Self { watch: Arc::new(Watch::new(A::NAME)), ..self.clone() }
    }

    /// What the guards of its passes have seen.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The same blocks with the same weights in `f64`.
    ///
    /// # Errors
    /// A block of one's own that stores other numbers in `f64`.
    pub(crate) fn widened(&self) -> Result<Machine<A::Double, f64>> {
        let mut wide = Machine::<A::Double, f64>::build(0)?;
        if wide.layout() != self.layout() {
            let found = "other names or shapes in f64";
            return Err(FlowError::option(
                "the weights of a block of one's own",
                found,
                "the same",
            ));
        }
        let from = &self.state.values;
        wide.change(|to| {
            to.parameters.iter_mut().zip(&from.parameters).for_each(|(to, v)| *to = v.as_f64());
            to.buffers.iter_mut().zip(&from.buffers).for_each(|(to, v)| *to = v.as_f64());
            Ok(())
        })?;
        Ok(wide.drawing(self.noise.clone()))
    }

    pub(crate) fn blocks(&self) -> &A {
        &self.blocks
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn state(&self) -> &State<E> {
        &self.state
    }

    /// The weights, to hold on to.
    #[cfg(feature = "cuda")]
    pub(crate) fn shared_state(&self) -> Arc<State<E>> {
        self.state.clone()
    }

    /// What blocks draw from.
    #[cfg(feature = "cuda")]
    pub(crate) fn noise(&self) -> &Noise {
        &self.noise
    }

    /// The distribution of latents.
    #[cfg(feature = "cuda")]
    pub(crate) fn base(&self) -> &A::Base {
        &self.base
    }

    /// Changes weights or buffers, and brings what depends on them up to date. Where that fails,
    /// nothing has changed.
    pub(crate) fn change<R>(
        &mut self,
        change: impl FnOnce(&mut Values<E>) -> Result<R>,
    ) -> Result<R> {
        let before = self.state.values.clone();
        // A tape that still needs the old weights keeps them: `make_mut` copies only then.
        let changed = change(&mut Arc::make_mut(&mut self.state).values)
            .and_then(|changed| self.prepare().map(|()| changed));
        if changed.is_err() {
            Arc::make_mut(&mut self.state).values = before;
            self.prepare()?;
        }
        changed
    }

    /// An optimiser's step: as [`change`](Self::change) without a way back, and parameters that
    /// left their domain are brought back into it.
    pub(crate) fn step(&mut self, change: impl FnOnce(&mut [E])) -> Result<()> {
        let values = &mut Arc::make_mut(&mut self.state).values;
        change(&mut values.parameters);
        self.blocks.project(values);
        self.prepare()
    }

    fn prepare(&mut self) -> Result<()> {
        let state = Arc::make_mut(&mut self.state);
        state.version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        self.blocks.prepare(&state.values, &mut state.derived)?;
        turned::turn(&self.layout.turned, state);
        Ok(())
    }

    /// Sets data-dependent parameters from a first batch.
    pub(crate) fn initialize(&mut self, x: &mut [E], context: &[E], rows: usize) -> Result<()> {
        let blocks = self.blocks.clone();
        let mut state = State::clone(&self.state);
        to_channels_last(A::Event::SHAPE, x);
        let mut setup = Setup::new(&mut state, context, rows);
        setup.initialize(&*blocks, x)?;
        self.change(|values| {
            *values = state.values;
            Ok(())
        })
    }

    /// How a pass with that memory inverts, if it does.
    fn inverting(&self, direction: Direction, memory: Memory) -> Option<Inverting<'_, E>> {
        memory.guard().map(|guard| Inverting {
            guard,
            backwards: direction == Direction::Inverse,
            size: A::Event::SHAPE.size(),
            leaves: &self.layout.leaves,
            items: A::ITEMS,
            whole: None,
            stretch: None,
        })
    }

    fn groups(&self, rows: usize) -> Vec<Range<usize>> {
        let State { values, derived, .. } = &*self.state;
        let numbers = values.parameters.len() + derived.len();
        batch::groups(rows, A::Event::SHAPE.pixels(), numbers * std::mem::size_of::<E>())
    }

    /// The rows `range` of a context, which may be empty.
    fn rows_of<'c>(&self, context: &'c [E], range: &Range<usize>) -> &'c [E] {
        let width = A::Context::SIZE;
        if context.is_empty() {
            context
        } else {
            &context[range.start * width..range.end * width]
        }
    }
}
