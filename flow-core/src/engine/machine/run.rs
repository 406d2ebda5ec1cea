//! Forward and inverse passes.

use std::cell::OnceCell;
use std::ops::Range;

use super::spare::lock;
use super::{Direction, Machine};
use crate::base::Base;
use crate::engine::batch;
use crate::engine::channels::{to_channels_first, to_channels_last};
use crate::engine::gradients::Gradients;
use crate::engine::pass::{Observer, Pass};
use crate::engine::workspace::Workspace;
use crate::{Architecture, Event, Memory, Result, Scalar};

/// What a pass keeps for its product, group by group.
pub(crate) struct Kept<E> {
    pub(super) memory: Memory,
    pub(super) groups: Vec<Range<usize>>,
    pub(super) workspaces: Vec<Workspace<E>>,
}

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    /// Runs a batch in place, and returns each row's number. `context` holds as many rows as `x`,
    /// or is empty.
    pub(crate) fn run(
        &self,
        direction: Direction,
        x: &mut [E],
        context: &[E],
        keep: Option<Memory>,
    ) -> Result<(Vec<E>, Option<Kept<E>>)> {
        self.run_measured(direction, x, context, keep, &mut [], true)
    }

    /// As [`run`](Self::run), where `radius`, if it is not empty, becomes how far each row of an
    /// inverse may be off; without `log_det` the numbers mean nothing.
    pub(crate) fn run_measured(
        &self,
        direction: Direction,
        x: &mut [E],
        context: &[E],
        keep: Option<Memory>,
        radius: &mut [f64],
        log_det: bool,
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
            if !log_det {
                pass = pass.without_log_det();
            }
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

    /// Runs a batch forward on the caller's thread, as its rows from `first_row` on, and shows what
    /// every block leaves: its number among the [`leaves`](crate::engine::Layout), the rows, images
    /// channels-last, and their log-determinants up to there.
    pub(crate) fn observe(
        &self,
        x: &mut [E],
        context: &[E],
        first_row: usize,
        observer: &Observer<'_, E>,
    ) -> Result<()> {
        let rows = x.len() / A::Event::SHAPE.size();
        let (mut workspace, mut none) = (self.workspace(), Gradients::default());
        let mut pass = Pass::new(rows, &self.state, context, &mut workspace, &mut none)
            .drawing(&self.noise, first_row)
            .observed(observer);
        to_channels_last(A::Event::SHAPE, x);
        pass.forward(&*self.blocks, x, &mut vec![E::zero(); rows])
    }

    /// The path of the first block whose output on this batch is not finite.
    pub(crate) fn first_non_finite(&self, x: &mut [E], context: &[E]) -> Option<&str> {
        let first = OnceCell::new();
        // What a block refuses behind it is no news.
        let _ = self.observe(x, context, 0, &|leaf, x, log_det| {
            if !x.iter().chain(log_det).all(|v| v.is_finite()) {
                let _ = first.set(leaf);
            }
        });
        first.into_inner().map(|leaf| self.layout.leaves[leaf].as_str())
    }

    pub(super) fn run_group(
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
}

/// Keeps a pass's output where blocks' inputs will be reconstructed from it.
fn keep_output<E: Scalar>(pass: &mut Pass<'_, E>, y: &[E]) {
    if pass.inverts() {
        let y = pass.take_copy(y);
        pass.save(y);
    }
}
