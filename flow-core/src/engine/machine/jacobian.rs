//! Whole Jacobians of rows, from one pass.

use super::spare::lock;
use super::{Direction, Kept, Machine};
use crate::engine::batch;
use crate::engine::pass::Pass;
use crate::{Architecture, Context, Event, Memory, Result, Scalar};

/// A product runs on at least this many rows, so that it has work for all threads and its matrix
/// products are not slivers: fewer rows are repeated, and each copy has other unit cotangents.
const ENOUGH: usize = 256;

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    /// The Jacobian of each row, row-major and in `f64`.
    ///
    /// The rows run through the flow once. Then there is a vector-Jacobian product for each number
    /// of the output, all of which read what that one pass has kept: of `n` numbers, one pass and
    /// `n` products instead of `n` of both.
    pub(crate) fn jacobians(
        &self,
        direction: Direction,
        x: &[E],
        context: &[E],
        memory: Memory,
    ) -> Result<Vec<f64>> {
        self.jacobians_on(ENOUGH, direction, x, context, memory)
    }

    /// As [`jacobians`](Self::jacobians), with products on at least `enough` rows where there are as
    /// many unit cotangents.
    pub(crate) fn jacobians_on(
        &self,
        enough: usize,
        direction: Direction,
        x: &[E],
        context: &[E],
        memory: Memory,
    ) -> Result<Vec<f64>> {
        debug_assert!(memory.guard().is_none(), "a trail can be followed only once");
        let size = A::Event::SHAPE.size();
        let rows = x.len() / size;
        if rows == 0 {
            return Ok(Vec::new());
        }
        // Each copy of a row takes this many of the unit cotangents.
        let rounds = size.div_ceil((enough / rows).clamp(1, size));
        let copies = size.div_ceil(rounds);
        let mut points = repeated(x, size, copies);
        let context = repeated(context, A::Context::SIZE, copies);
        let (_, kept) = self.run(direction, &mut points, &context, Some(memory))?;
        let Some(kept) = kept else { return Ok(Vec::new()) };
        let found = self.unit_products(direction, kept, &context, rounds, copies)?;

        let mut jacobians = Vec::with_capacity(rows * size * size);
        // The last copy of a row may have had more rounds than were left.
        for row in found.chunks_exact(copies * rounds * size) {
            jacobians.extend(row[..size * size].iter().map(|v| v.as_f64()));
        }
        Ok(jacobians)
    }

    /// For each of the kept rows, `rounds` rows of its Jacobian: those from `rounds` times the
    /// number of the copy on.
    fn unit_products(
        &self,
        direction: Direction,
        kept: Kept<E>,
        context: &[E],
        rounds: usize,
        copies: usize,
    ) -> Result<Vec<E>> {
        let size = A::Event::SHAPE.size();
        let Kept { memory, groups, workspaces } = kept;
        let rows = groups.last().map_or(0, |group| group.end);
        let mut found = vec![E::zero(); rows * rounds * size];
        let jobs: Vec<_> = groups
            .iter()
            .cloned()
            .zip(batch::split(&mut found, &groups, rounds * size))
            .zip(workspaces)
            .collect();
        let done = batch::each(jobs, |((range, found), mut workspace)| {
            let context = self.rows_of(context, &range);
            let mut unread = self.gradients(context.len(), false);
            let numbers = vec![E::zero(); range.len()];
            let mut gradient = vec![E::zero(); range.len() * size];
            let ran = (0..rounds).try_for_each(|round| {
                gradient.fill(E::zero());
                for (row, unit) in range.clone().zip(gradient.chunks_exact_mut(size)) {
                    if let Some(entry) = unit.get_mut(row % copies * rounds + round) {
                        *entry = E::one();
                    }
                }
                workspace.rewind();
                let pass =
                    Pass::new(range.len(), &self.state, context, &mut workspace, &mut unread)
                        .drawing(&self.noise, range.start)
                        .replaying(memory)
                        .by_input_alone();
                self.vjp_group(direction, pass, &mut gradient, &numbers)?;
                let rows = found.chunks_exact_mut(rounds * size).zip(gradient.chunks_exact(size));
                rows.for_each(|(to, row)| to[round * size..][..size].copy_from_slice(row));
                Ok(())
            });
            workspace.clear();
            ran.map(|()| (workspace, unread))
        });
        let done = done.into_iter().collect::<Result<Vec<_>>>()?;
        let (workspaces, unread): (_, Vec<_>) = done.into_iter().unzip();
        self.recycle(workspaces);
        lock(&self.spare.gradients).extend(unread);
        Ok(found)
    }
}

/// Each row as often, one copy behind the other.
fn repeated<E: Copy>(rows: &[E], width: usize, copies: usize) -> Vec<E> {
    if width == 0 {
        return Vec::new();
    }
    rows.chunks_exact(width)
        .flat_map(|row| std::iter::repeat_n(row, copies).flatten())
        .copied()
        .collect()
}
