//! A flow on plain buffers: whole batches through all blocks.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::batch;
use super::builder::Builder;
use super::channels::{to_channels_first, to_channels_last};
use super::inverting::{Exploded, Inverting};
use super::layout::Layout;
use super::pass::{Gradients, Pass};
use super::setup::Setup;
use super::state::{State, Values};
use super::watch::Watch;
use super::workspace::Workspace;
use crate::base::Base;
use crate::{Architecture, Context, Event, FlowError, Memory, Noise, Result, Scalar};

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Memory of finished passes, for the next ones.
struct Spare<E> {
    workspaces: Mutex<Vec<Workspace<E>>>,
    gradients: Mutex<Vec<Gradients<E>>>,
}

/// What a pass keeps for its product, group by group.
pub(crate) struct Kept<E> {
    memory: Memory,
    groups: Vec<Range<usize>>,
    workspaces: Vec<Workspace<E>>,
}

/// What a row group's product leaves.
struct Done<E> {
    workspace: Workspace<E>,
    gradients: Gradients<E>,
    explosions: Vec<Exploded>,
    /// Bytes of its trail.
    trail: usize,
}

/// Gradients of a whole batch.
pub(crate) struct Totals<E> {
    /// By each parameter, in the order of the flat vector.
    pub(crate) parameters: Vec<E>,
    /// By the context, row after row.
    pub(crate) context: Vec<E>,
}

static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    pub(crate) fn build(seed: u64) -> Result<Self> {
        let mut builder = Builder::new(seed);
        let blocks = A::new(&mut builder)?;
        let base = builder.scope("base", |b| A::Base::new(b, A::Latent::SHAPE.size()))?;
        let (layout, state) = builder.finish();
        let spare = Spare { workspaces: Mutex::default(), gradients: Mutex::default() };
        let mut machine = Self {
            blocks: Arc::new(blocks),
            base: Arc::new(base),
            layout: Arc::new(layout),
            state: Arc::new(state),
            spare: Arc::new(spare),
            watch: Arc::default(),
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
        Self { watch: Arc::default(), ..self.clone() }
    }

    /// What the guards of its passes have seen.
    pub(crate) fn watch(&self) -> &Watch {
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
        let State { values, derived, version } = Arc::make_mut(&mut self.state);
        *version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        self.blocks.prepare(values, derived)
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

    /// Runs a batch in place, and returns each row's number. `context` holds as many rows as `x`,
    /// or is empty.
    pub(crate) fn run(
        &self,
        direction: Direction,
        x: &mut [E],
        context: &[E],
        keep: Option<Memory>,
    ) -> Result<(Vec<E>, Option<Kept<E>>)> {
        self.run_measured(direction, x, context, keep, &mut [])
    }

    /// As [`run`](Self::run), where `radius`, if it is not empty, becomes how far each row of an
    /// inverse may be off.
    pub(crate) fn run_measured(
        &self,
        direction: Direction,
        x: &mut [E],
        context: &[E],
        keep: Option<Memory>,
        radius: &mut [f64],
    ) -> Result<(Vec<E>, Option<Kept<E>>)> {
        let keep = keep.map(|asked| self.watch.memory(asked)).transpose()?;
        let size = A::Event::SHAPE.size();
        let rows = x.len() / size;
        let groups = self.groups(rows);
        let mut numbers = vec![E::zero(); rows];
        let measured = usize::from(!radius.is_empty());
        let jobs: Vec<_> = groups
            .iter()
            .cloned()
            .zip(batch::split(x, &groups, size))
            .zip(batch::split(&mut numbers, &groups, 1))
            .zip(batch::split(radius, &groups, measured))
            .map(|(((range, x), numbers), radius)| (range, x, numbers, radius, self.workspace()))
            .collect();
        let workspaces = batch::each(jobs, |(range, x, numbers, radius, mut workspace)| {
            let context = self.rows_of(context, &range);
            let mut none = Gradients::default();
            let mut pass =
                Pass::new(numbers.len(), &self.state, context, &mut workspace, &mut none)
                    .drawing(&self.noise, range.start)
                    .measuring(radius);
            if let Some(memory) = keep {
                pass = pass.keeping(memory).inverting(self.inverting(direction, memory));
            }
            let ran = self.run_group(direction, pass, x, numbers);
            if ran.is_err() || keep.is_none() {
                workspace.clear();
            }
            ran.map(|()| workspace)
        });
        let workspaces = workspaces.into_iter().collect::<Result<Vec<_>>>()?;
        match keep {
            Some(memory) => Ok((numbers, Some(Kept { memory, groups, workspaces }))),
            None => {
                self.recycle(workspaces);
                Ok((numbers, None))
            }
        }
    }

    /// The vector-Jacobian product of a kept pass: `gradient` holds the loss's gradient by the
    /// pass's output and becomes that by its input (for a log-probability it arrives as zeros);
    /// `by_number` holds the loss's gradient by each row's number.
    pub(crate) fn vjp(
        &self,
        direction: Direction,
        kept: Kept<E>,
        gradient: &mut [E],
        by_number: &[E],
        context: &[E],
    ) -> Result<Totals<E>> {
        let found = self.product(direction, kept, gradient, by_number, context, true)?;
        self.total(found)
    }

    /// As [`vjp`](Self::vjp) without the gradients of parameters and context, which cost about as
    /// much as that by the input.
    pub(crate) fn vjp_by_input(
        &self,
        direction: Direction,
        kept: Kept<E>,
        gradient: &mut [E],
        by_number: &[E],
        context: &[E],
    ) -> Result<()> {
        let unread = self.product(direction, kept, gradient, by_number, context, false)?;
        lock(&self.spare.gradients).extend(unread);
        Ok(())
    }

    /// The product with what each group gathered on its way, of no meaning without `learning`.
    fn product(
        &self,
        direction: Direction,
        kept: Kept<E>,
        gradient: &mut [E],
        by_number: &[E],
        context: &[E],
        learning: bool,
    ) -> Result<Vec<Gradients<E>>> {
        let size = A::Event::SHAPE.size();
        let Kept { memory, groups, workspaces } = kept;
        let jobs: Vec<_> = groups
            .iter()
            .cloned()
            .zip(batch::split(gradient, &groups, size))
            .zip(workspaces)
            .map(|((range, gradient), workspace)| (range, gradient, workspace))
            .collect();
        let done = batch::each(jobs, |(range, gradient, mut workspace)| {
            let context = self.rows_of(context, &range);
            let mut gradients = self.gradients(context.len(), learning);
            let trail = workspace.trail_bytes();
            let mut pass =
                Pass::new(range.len(), &self.state, context, &mut workspace, &mut gradients)
                    .drawing(&self.noise, range.start)
                    .replaying(memory)
                    .inverting(self.inverting(direction, memory));
            if !learning {
                pass = pass.by_input_alone();
            }
            let ran = self.vjp_group(direction, pass, gradient, &by_number[range]);
            let explosions = workspace.explosions();
            workspace.clear();
            ran.map(|()| Done { workspace, gradients, explosions, trail })
        });
        Ok(self.collect(memory, done.into_iter().collect::<Result<Vec<_>>>()?))
    }

    /// Takes note of what guards saw, and keeps workspaces for later.
    fn collect(&self, memory: Memory, done: Vec<Done<E>>) -> Vec<Gradients<E>> {
        let mut explosions = Vec::new();
        let mut gradients = Vec::with_capacity(done.len());
        let mut trails = 0;
        let mut spare = lock(&self.spare.workspaces);
        for group in done {
            explosions.extend(group.explosions);
            gradients.push(group.gradients);
            trails += group.trail;
            spare.push(group.workspace);
        }
        if let Some(guard) = memory.guard().filter(|guard| guard.watches()) {
            self.watch.note(&self.layout.leaves, guard.policy, trails, explosions.into_iter());
        }
        gradients
    }

    /// The mean negative log-likelihood of a batch and its gradient by every parameter, in one go
    /// for each group of rows. `gradient` becomes as long as the parameters; `x` is used up.
    pub(crate) fn nll(
        &self,
        memory: Memory,
        x: &mut [E],
        context: &[E],
        gradient: &mut Vec<E>,
    ) -> Result<f64> {
        let memory = self.watch.memory(memory)?;
        let size = A::Event::SHAPE.size();
        let rows = x.len() / size;
        let weight = E::of(-1.0 / rows as f64);
        let groups = self.groups(rows);
        let jobs: Vec<_> = groups
            .iter()
            .cloned()
            .zip(batch::split(x, &groups, size))
            .map(|(range, x)| (range, x, self.workspace()))
            .collect();
        let done = batch::each(jobs, |(range, x, mut workspace)| {
            let context = self.rows_of(context, &range);
            let mut gradients = self.gradients(context.len(), true);
            let rows = range.len();
            let mut trail = 0;
            let ran = (|| -> Result<f64> {
                let mut numbers = workspace.take(rows);
                numbers.fill(E::zero());
                let pass = Pass::new(rows, &self.state, context, &mut workspace, &mut gradients)
                    .drawing(&self.noise, range.start)
                    .keeping(memory)
                    .inverting(self.inverting(Direction::LogProb, memory));
                self.run_group(Direction::LogProb, pass, x, &mut numbers)?;
                let sum = numbers.iter().map(|v| v.as_f64()).sum::<f64>();
                trail = workspace.trail_bytes();
                numbers.fill(weight);
                x.fill(E::zero());
                let pass = Pass::new(rows, &self.state, context, &mut workspace, &mut gradients)
                    .drawing(&self.noise, range.start)
                    .replaying(memory)
                    .inverting(self.inverting(Direction::LogProb, memory));
                self.vjp_group(Direction::LogProb, pass, x, &numbers)?;
                workspace.give(numbers);
                Ok(sum)
            })();
            let explosions = workspace.explosions();
            workspace.clear();
            ran.map(|sum| (sum, Done { workspace, gradients, explosions, trail }))
        });
        let mut sum = 0.0;
        let mut groups = Vec::with_capacity(done.len());
        for group in done {
            let (group_sum, group) = group?;
            sum += group_sum;
            groups.push(group);
        }
        let gradients = self.collect(memory, groups);
        let mut total = self.reduce(gradients)?;
        std::mem::swap(gradient, &mut total.parameters);
        lock(&self.spare.gradients).push(total);
        Ok(-sum / rows as f64)
    }

    /// The log-probability of one row, on the caller's thread and without a tape.
    pub(crate) fn score(&self, row: &[E], context: &[E]) -> Result<E> {
        let mut workspace = self.workspace();
        let mut x = workspace.take(row.len());
        x.copy_from_slice(row);
        let mut number = [E::zero()];
        let mut none = Gradients::default();
        let pass =
            Pass::new(1, &self.state, context, &mut workspace, &mut none).drawing(&self.noise, 0);
        let ran = self.run_group(Direction::LogProb, pass, &mut x, &mut number);
        workspace.give(x);
        lock(&self.spare.workspaces).push(workspace);
        ran.map(|()| number[0])
    }

    /// Draws `rows` latents; with `log_prob`, also adds each one's density to it.
    pub(crate) fn sample_base(
        &self,
        rows: usize,
        noise: &Noise,
        temperature: f64,
        log_prob: Option<&mut [E]>,
    ) -> Vec<E> {
        let size = A::Latent::SHAPE.size();
        let mut z = vec![E::zero(); rows * size];
        let groups = self.groups(rows);
        let jobs: Vec<_> =
            groups.iter().cloned().zip(batch::split(&mut z, &groups, size)).collect();
        batch::each(jobs, |(range, z)| {
            self.base.sample(&self.state, noise, range.start, temperature, z);
        });
        if let Some(log_prob) = log_prob {
            self.base_log_prob(&z, log_prob);
        }
        z
    }

    /// Adds the density of each latent under the base to its number.
    pub(crate) fn base_log_prob(&self, z: &[E], numbers: &mut [E]) {
        let (mut workspace, mut none) = (self.workspace(), Gradients::default());
        let mut pass = Pass::new(numbers.len(), &self.state, &[], &mut workspace, &mut none);
        self.base.log_prob(&mut pass, z, numbers);
        lock(&self.spare.workspaces).push(workspace);
    }

    /// The gradients of [`base_log_prob`](Self::base_log_prob): by the latents, and by all
    /// parameters.
    pub(crate) fn base_log_prob_vjp(&self, z: &[E], by_number: &[E]) -> (Vec<E>, Vec<E>) {
        let (mut workspace, mut gradients) = (self.workspace(), self.gradients(0, true));
        let mut pass = Pass::new(by_number.len(), &self.state, &[], &mut workspace, &mut gradients);
        let mut by_z = vec![E::zero(); z.len()];
        self.base.log_prob_vjp(&mut pass, z, by_number, &mut by_z);
        lock(&self.spare.workspaces).push(workspace);
        (by_z, gradients.parameters)
    }

    /// The path of the first block whose output on this batch is not finite.
    pub(crate) fn first_non_finite(&self, x: &mut [E], context: &[E]) -> Option<&str> {
        let rows = x.len() / A::Event::SHAPE.size();
        let (mut workspace, mut none) = (self.workspace(), Gradients::default());
        let mut pass = Pass::new(rows, &self.state, context, &mut workspace, &mut none)
            .drawing(&self.noise, 0)
            .watching();
        to_channels_last(A::Event::SHAPE, x);
        let mut log_det = vec![E::zero(); rows];
        let _ = pass.forward(&*self.blocks, x, &mut log_det);
        pass.first_non_finite().map(|leaf| self.layout.leaves[leaf].as_str())
    }

    fn run_group(
        &self,
        direction: Direction,
        pass: Pass<'_, E>,
        x: &mut [E],
        numbers: &mut [E],
    ) -> Result<()> {
        let blocks = &*self.blocks;
        match direction {
            Direction::Forward | Direction::LogProb => {
                let mut pass = pass;
                to_channels_last(A::Event::SHAPE, x);
                pass.forward(blocks, x, numbers)?;
                to_channels_first(A::Latent::SHAPE, x);
                if direction == Direction::Forward {
                    keep_output(&mut pass, x);
                } else {
                    self.base.log_prob(&mut pass, x, numbers);
                    if pass.keeps() {
                        let z = pass.take_copy(x);
                        pass.save(z);
                    }
                }
            }
            Direction::Inverse => {
                let mut pass = pass.starting_at(self.layout.leaves.len());
                to_channels_last(A::Latent::SHAPE, x);
                pass.inverse(blocks, x, numbers)?;
                to_channels_first(A::Event::SHAPE, x);
                keep_output(&mut pass, x);
            }
        }
        Ok(())
    }

    fn vjp_group(
        &self,
        direction: Direction,
        pass: Pass<'_, E>,
        gradient: &mut [E],
        by_number: &[E],
    ) -> Result<()> {
        let blocks = &*self.blocks;
        match direction {
            Direction::Forward | Direction::LogProb => {
                let mut pass = pass.starting_at(self.layout.leaves.len());
                let mut z = None;
                if direction == Direction::LogProb || pass.inverts() {
                    z = Some(pass.restore());
                }
                if let (Some(z), Direction::LogProb) = (&z, direction) {
                    self.base.log_prob_vjp(&mut pass, z, by_number, gradient);
                }
                to_channels_last(A::Latent::SHAPE, gradient);
                if let Some(z) = &mut z {
                    to_channels_last(A::Latent::SHAPE, z);
                }
                let whole = |pass: &mut Pass<'_, E>, x: &mut [E], numbers: &mut [E]| {
                    pass.forward(blocks, x, numbers)
                };
                pass.back(gradient, z, &whole, |pass, gradient| {
                    pass.forward_vjp(blocks, gradient, by_number)
                })?;
                to_channels_first(A::Event::SHAPE, gradient);
            }
            Direction::Inverse => {
                let mut pass = pass;
                to_channels_last(A::Event::SHAPE, gradient);
                let x = pass.inverts().then(|| {
                    let mut x = pass.restore();
                    to_channels_last(A::Event::SHAPE, &mut x);
                    x
                });
                let whole = |pass: &mut Pass<'_, E>, z: &mut [E], numbers: &mut [E]| {
                    pass.inverse(blocks, z, numbers)
                };
                pass.back(gradient, x, &whole, |pass, gradient| {
                    pass.inverse_vjp(blocks, gradient, by_number)
                })?;
                to_channels_first(A::Latent::SHAPE, gradient);
            }
        }
        Ok(())
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
        batch::groups(rows, self.state.values.parameters.len() * std::mem::size_of::<E>())
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

    fn total(&self, gradients: Vec<Gradients<E>>) -> Result<Totals<E>> {
        let context = gradients.iter().flat_map(|group| &group.context).copied().collect();
        let mut total = self.reduce(gradients)?;
        let parameters = std::mem::take(&mut total.parameters);
        Ok(Totals { parameters, context })
    }

    /// Adds up the groups and carries derived gradients on; the sum is left in what is returned.
    fn reduce(&self, mut groups: Vec<Gradients<E>>) -> Result<Gradients<E>> {
        batch::add_up(&mut groups);
        let mut spare = groups.drain(..);
        let mut total = spare.next().unwrap_or_default();
        lock(&self.spare.gradients).extend(spare);
        self.blocks.finish(&self.state, &total.derived, &mut total.parameters)?;
        Ok(total)
    }

    fn workspace(&self) -> Workspace<E> {
        lock(&self.spare.workspaces).pop().unwrap_or_default()
    }

    /// Room for a group's gradients: zeros, or anything where nobody will ask for them.
    fn gradients(&self, context: usize, learning: bool) -> Gradients<E> {
        let mut gradients = lock(&self.spare.gradients).pop().unwrap_or_default();
        let State { values, derived, .. } = &*self.state;
        for (buffer, len) in [
            (&mut gradients.parameters, values.parameters.len()),
            (&mut gradients.derived, derived.len()),
            (&mut gradients.context, context),
        ] {
            if learning {
                buffer.clear();
            }
            buffer.resize(len, E::zero());
        }
        gradients
    }

    fn recycle(&self, workspaces: Vec<Workspace<E>>) {
        lock(&self.spare.workspaces).extend(workspaces);
    }
}

/// Keeps a pass's output where blocks' inputs will be reconstructed from it.
fn keep_output<E: Scalar>(pass: &mut Pass<'_, E>, y: &[E]) {
    if pass.inverts() {
        let y = pass.take_copy(y);
        pass.save(y);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while a spare buffer is taken leaves the list itself whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
