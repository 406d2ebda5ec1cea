//! Vector-Jacobian products of whole batches.

use super::run::Kept;
use super::spare::lock;
use super::{Direction, Machine};
use crate::base::Base;
use crate::engine::batch;
use crate::engine::channels::{to_channels_first, to_channels_last};
use crate::engine::gradients::{add_up, Gradients};
use crate::engine::inverting::Exploded;
use crate::engine::pass::Pass;
use crate::engine::workspace::Workspace;
use crate::{Architecture, Event, Memory, Result, Scalar};

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
impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
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
        std::mem::swap(gradient, total.whole().0);
        lock(&self.spare.gradients).push(total);
        Ok(-sum / rows as f64)
    }

    pub(super) fn vjp_group(
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

    fn total(&self, gradients: Vec<Gradients<E>>) -> Result<Totals<E>> {
        let context = gradients.iter().flat_map(|group| &group.context).copied().collect();
        let mut total = self.reduce(gradients)?;
        let parameters = std::mem::take(total.whole().0);
        Ok(Totals { parameters, context })
    }

    /// Adds up the groups and carries derived gradients on; the sum is left in what is returned.
    fn reduce(&self, mut groups: Vec<Gradients<E>>) -> Result<Gradients<E>> {
        add_up(&mut groups);
        let mut spare = groups.drain(..);
        let mut total = spare.next().unwrap_or_default();
        lock(&self.spare.gradients).extend(spare);
        let (parameters, derived) = total.whole();
        self.blocks.finish(&self.state, derived, parameters)?;
        Ok(total)
    }
}
