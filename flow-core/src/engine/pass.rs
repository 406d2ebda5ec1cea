//! What a block sees of one row group's pass.

use std::ops::Range;

use super::gradients::Gradients;
use super::inverting::Inverting;
use super::layout::{Buffer, Derived, Parameter};
use super::state::State;
use super::workspace::{Scratch, Workspace};
use crate::{Memory, Noise, Scalar};

/// One pass over one group of rows: weights, context, workspace and gradients.
///
/// Blocks read their parameters from it, [`take`](Self::take) scratch memory, [`save`](Self::save) what
/// their product needs when [`saving`](Self::saving), and add to gradients.
pub struct Pass<'a, E: Scalar> {
    pub(super) rows: usize,
    state: &'a State<E>,
    context: &'a [E],
    pub(super) workspace: &'a mut Workspace<E>,
    gradients: &'a mut Gradients<E>,
    pub(super) saving: bool,
    learning: bool,
    volume: bool,
    pub(super) memory: Memory,
    /// How the pass inverts, where its memory says so.
    pub(super) inverting: Option<Inverting<'a, E>>,
    /// The leaf that runs now; between leaves, the one on the latent side.
    pub(super) leaf: usize,
    pub(super) noise: Noise,
    pub(super) first_row: usize,
    /// The first row of the part of the group that runs now.
    part: usize,
    /// How far each row may be off, where a caller asked; otherwise empty.
    pub(super) radius: &'a mut [f64],
    /// Who is shown what each leaf leaves.
    pub(super) observer: Option<&'a Observer<'a, E>>,
    /// Whether blocks change a part of each row, beside numbers that stay as they are.
    pub(super) beside: bool,
    /// Where leaves are recorded instead of run.
    #[cfg(feature = "cuda")]
    pub(super) lowering: Option<&'a mut crate::cuda::Lowering<E>>,
}

/// Is shown each leaf's number, its output, and the rows' log-determinants up to there.
pub(crate) type Observer<'o, E> = dyn Fn(usize, &[E], &[E]) + 'o;

impl<'a, E: Scalar> Pass<'a, E> {
    pub(crate) fn new(
        rows: usize,
        state: &'a State<E>,
        context: &'a [E],
        workspace: &'a mut Workspace<E>,
        gradients: &'a mut Gradients<E>,
    ) -> Self {
        Self {
            rows,
            state,
            context,
            workspace,
            gradients,
            saving: false,
            learning: true,
            volume: true,
            memory: Memory::Stored,
            inverting: None,
            leaf: 0,
            noise: Noise::seed(0),
            first_row: 0,
            part: 0,
            radius: &mut [],
            observer: None,
            beside: false,
            #[cfg(feature = "cuda")]
            lowering: None,
        }
    }

    /// Records leaves as kernels instead of running them. The one row then holds the places of its
    /// numbers, so that what composites do to them is followed.
    #[cfg(feature = "cuda")]
    pub(crate) fn lowering(mut self, to: &'a mut crate::cuda::Lowering<E>) -> Self {
        self.lowering = Some(to);
        self
    }

    /// Keeps what the products need, in the way `memory` says.
    pub(crate) fn keeping(mut self, memory: Memory) -> Self {
        self.saving = memory == Memory::Stored;
        self.memory = memory;
        self
    }

    /// Takes back what a pass with the same `memory` kept.
    pub(crate) fn replaying(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Leaves a trail, or follows one, where the memory inverts.
    pub(crate) fn inverting(mut self, inverting: Option<Inverting<'a, E>>) -> Self {
        self.inverting = inverting;
        self
    }

    /// Nobody asks for gradients but that by the input.
    pub(crate) fn by_input_alone(mut self) -> Self {
        self.learning = false;
        self
    }

    /// Nobody asks for log-determinants.
    pub(crate) fn without_log_det(mut self) -> Self {
        self.volume = false;
        self
    }

    /// Starts at another leaf than the first: inverses and products walk from the last one down.
    pub(crate) fn starting_at(mut self, leaf: usize) -> Self {
        self.leaf = leaf;
        self
    }

    /// Draws from `noise`, as the rows of a batch from `first_row` on.
    pub(crate) fn drawing(mut self, noise: &Noise, first_row: usize) -> Self {
        self.noise = noise.clone();
        self.first_row = first_row;
        self
    }

    /// Carries along how far each row of an inverse may be off.
    pub(crate) fn measuring(mut self, radius: &'a mut [f64]) -> Self {
        self.radius = radius;
        self
    }

    /// Shows what each leaf leaves.
    pub(crate) fn observed(mut self, by: &'a Observer<'a, E>) -> Self {
        self.observer = Some(by);
        self
    }

    /// Whether a product will follow.
    pub(crate) fn keeps(&self) -> bool {
        self.saving || self.memory == Memory::Recomputed || self.inverts()
    }

    /// Whether blocks' inputs will be reconstructed from their outputs.
    pub(crate) fn inverts(&self) -> bool {
        self.inverting.is_some()
    }

    /// Samples in this group.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The place in the whole batch of this group's `row`, for messages.
    pub(crate) fn row(&self, row: usize) -> usize {
        self.first_row + row
    }

    /// The context, row after row; empty where the flow has none.
    pub fn context(&self) -> &'a [E] {
        self.context
    }

    /// The random numbers of one row in the block that runs now: the same in a pass and its
    /// product, and on any number of threads. [`View::noise`](crate::View::noise) chooses them;
    /// without, they are fixed.
    pub fn noise(&self, row: usize) -> Noise {
        self.noise.at(self.leaf as u64).at(self.number(row) as u64)
    }

    /// A row's number in the whole batch, counted from 0.
    pub(crate) fn number(&self, row: usize) -> usize {
        self.first_row + self.part + row
    }

    /// Says that a row which the block's inverse gave may be off by `radius` in the Euclidean norm,
    /// beside what its input was off: for blocks that invert by an approximation.
    pub fn inexact(&mut self, row: usize, radius: f64) {
        if let Some(sum) = self.radius.get_mut(self.part + row) {
            *sum += radius;
        }
    }

    /// Runs `f` on some of the rows as if they were all: for a block whose scratch memory would be
    /// too large for all at once.
    pub(crate) fn part<R>(&mut self, rows: Range<usize>, f: impl FnOnce(&mut Self) -> R) -> R {
        let (all, context, part) = (self.rows, self.context, self.part);
        let width = context.len() / all.max(1);
        self.rows = rows.len();
        self.context = &context[rows.start * width..rows.end * width];
        self.part += rows.start;
        let result = f(self);
        (self.rows, self.context, self.part) = (all, context, part);
        result
    }

    /// Runs `f` on a part of each row, of which the rest stays as it is: what a row is off does not
    /// become less there.
    pub(crate) fn beside<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.beside, true);
        let result = f(self);
        self.beside = before;
        result
    }

    /// Runs `f` with [`saving`](Self::saving) as it is said here: for a block that calls its net
    /// more or less often than once in a pass.
    pub(crate) fn with_saving<R>(&mut self, saving: bool, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.saving, saving);
        let result = f(self);
        self.saving = before;
        result
    }

    /// A parameter's numbers.
    pub fn parameter(&self, slot: &Parameter) -> &'a [E] {
        self.state.values.parameter(slot)
    }

    /// A buffer's numbers.
    pub fn buffer(&self, slot: &Buffer) -> &'a [E] {
        self.state.values.buffer(slot)
    }

    /// What [`Block::prepare`](crate::Block::prepare) computed.
    pub fn derived(&self, slot: &Derived) -> &'a [E] {
        slot.of(&self.state.derived)
    }

    /// The weights as a whole.
    pub fn state(&self) -> &'a State<E> {
        self.state
    }

    /// Whether the block must [`save`](Self::save) what its product will need.
    pub fn saving(&self) -> bool {
        self.saving
    }

    /// Whether gradients of parameters are asked for. Where they are not, what is added to
    /// [`gradient`](Self::gradient), [`derived_gradient`](Self::derived_gradient) and
    /// [`context_gradient`](Self::context_gradient) is thrown away, and a block may leave out the
    /// work of it; the gradient by its input must not depend on this.
    pub fn learning(&self) -> bool {
        self.learning
    }

    /// Whether log-determinants are asked for. Where they are not, what is added to them is thrown
    /// away, and a block may leave out the work of it.
    pub fn wants_log_det(&self) -> bool {
        self.volume
    }

    /// Scratch memory of `len` numbers whose content is left over from earlier use.
    pub fn take(&mut self, len: usize) -> Scratch<E> {
        self.workspace.take(len)
    }

    /// Scratch memory of `len` zeros.
    pub fn take_zeroed(&mut self, len: usize) -> Scratch<E> {
        let mut scratch = self.workspace.take(len);
        scratch.fill(E::zero());
        scratch
    }

    /// Scratch memory with a copy of `content`.
    pub fn take_copy(&mut self, content: &[E]) -> Scratch<E> {
        let mut scratch = self.workspace.take(content.len());
        scratch.copy_from_slice(content);
        scratch
    }

    /// Gives scratch memory back.
    pub fn give(&mut self, scratch: Scratch<E>) {
        self.workspace.give(scratch);
    }

    /// Keeps scratch memory for the block's product.
    pub fn save(&mut self, scratch: Scratch<E>) {
        self.workspace.save(scratch);
    }

    /// Keeps scratch memory for the block's product if there will be one, else gives it back.
    pub fn save_or_give(&mut self, scratch: Scratch<E>) {
        if self.saving {
            self.save(scratch);
        } else {
            self.give(scratch);
        }
    }

    /// What was saved last: last in, first out.
    pub fn restore(&mut self) -> Scratch<E> {
        self.workspace.restore()
    }

    /// Where a parameter's gradient is added.
    pub fn gradient(&mut self, slot: &Parameter) -> &mut [E] {
        self.gradients.parameter(slot)
    }

    /// Where a derived value's gradient is added.
    pub fn derived_gradient(&mut self, slot: &Derived) -> &mut [E] {
        self.gradients.derived(slot)
    }

    /// Where the context's gradient is added, row after row.
    pub fn context_gradient(&mut self) -> &mut [E] {
        let width = self.context.len() / self.rows.max(1);
        &mut self.gradients.context[self.part * width..][..self.context.len()]
    }
}
