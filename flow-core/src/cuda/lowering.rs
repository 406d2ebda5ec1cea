//! What a block sees while it is recorded as kernels.

use std::sync::Arc;

use flow_cuda::kernels::noise::STREAM;
use flow_cuda::kernels::rows::{
    accumulate, add_column_products, add_repeated, add_total, fill, scaled_copy, Rows, Vectors,
};
use flow_cuda::{Area, Op, Recording, Slot, Table};

use super::inverting::Trail;
use super::loops::{Demand, Stuck};
use super::lowered::{Lowered, Places, WeightOps};
use crate::engine::{Buffer, Derived, Parameter, State};
use crate::{Block, FlowError, Item, Result, Scalar};

/// Steps that solvers have room for in a plan, until one takes more.
pub(super) const FEWEST_STEPS: usize = 64;

/// Records one pass of a flow and its product as kernels, block by block.
///
/// A row of [`x`](Self::x) keeps its numbers in place: each block changes the `entries` that it is
/// given, and its product changes the same entries of [`gradient`](Self::gradient).
#[derive(Debug)]
pub struct Lowering<E> {
    state: Arc<State<E>>,
    pub(super) items: &'static [Item],
    pub(super) leaves: Arc<Vec<String>>,
    pub(super) leaf: usize,
    rows: usize,
    pub(super) keeping: bool,
    pub(super) places: Places,
    pub(super) recording: Recording,
    pub(super) ops: Vec<Op>,
    products: Vec<Vec<Op>>,
    weights: WeightOps,
    pub(super) stuck: Vec<Stuck>,
    pub(super) demands: Vec<Demand>,
    /// Where blocks are run again before their product: a place for the log-determinants of that.
    again: Option<Slot>,
    /// What is kept is kept for a moment: the product, or what comes before it, runs next.
    pub(super) briefly: bool,
    /// Whether log-determinants are asked for.
    pub(super) volume: bool,
    /// Where inputs are reconstructed.
    pub(super) trail: Option<Trail>,
    room: usize,
}

impl<E: Scalar> Lowering<E> {
    /// A pass over `rows` rows of `size` numbers with `context` numbers beside each; `keeping` where
    /// a product will follow.
    pub(crate) fn new(
        state: Arc<State<E>>,
        items: &'static [Item],
        leaves: Arc<Vec<String>>,
        [rows, size, context]: [usize; 3],
        keeping: bool,
    ) -> Self {
        let mut recording = Recording::new();
        let mut room = |width: usize, wanted: bool| {
            let len = if wanted { rows * width } else { 0 };
            Rows::new(recording.frame(len), width)
        };
        let places = Places {
            x: room(size, true),
            log_det: room(1, true).slot,
            context: room(context, true),
            gradient: room(size, keeping),
            by_log_det: room(1, keeping).slot,
            context_gradient: room(context, keeping),
            noise: recording.frame(STREAM),
        };
        Self {
            state,
            items,
            leaves,
            leaf: 0,
            rows,
            keeping,
            places,
            recording,
            ops: Vec::new(),
            products: Vec::new(),
            weights: WeightOps::default(),
            stuck: Vec::new(),
            demands: Vec::new(),
            again: None,
            briefly: false,
            volume: true,
            trail: None,
            room: FEWEST_STEPS,
        }
    }

    /// With room for so many steps of a solver that chooses them as it goes.
    pub(crate) fn with_room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    /// Keeps nothing of a block but its input, and runs it again before its product.
    pub(crate) fn recomputing(mut self) -> Self {
        self.again = self.keeping.then(|| self.recording.frame(self.rows));
        self.briefly = true;
        self
    }

    /// Records one block. `x` holds the places of its numbers.
    pub(crate) fn leaf<B: Block<E>>(
        &mut self,
        block: &B,
        leaf: usize,
        x: &mut [E],
        backwards: bool,
    ) -> Result<()> {
        self.leaf = leaf;
        let mut entries: Vec<usize> = x.iter().map(|v| v.as_f64() as usize).collect();
        let product = match (self.trail.take(), self.again) {
            (Some(trail), _) => {
                let (trail, ops) = self.leaf_inverted(trail, block, &mut entries, backwards)?;
                self.trail = Some(trail);
                ops
            }
            (_, Some(log_det)) => self.leaf_again(block, &mut entries, backwards, log_det)?,
            _ => block.lower(self, &mut entries, backwards)?,
        };
        x.iter_mut().zip(entries).for_each(|(v, entry)| *v = E::of(entry as f64));
        self.products.push(product);
        if self.keeping {
            block.lower_weights(self);
        }
        self.recording.reuse(0);
        Ok(())
    }

    /// Records a block that keeps its input alone: its product begins with the block once more, which
    /// then keeps what it needs where blocks before and after do the same.
    fn leaf_again<B: Block<E>>(
        &mut self,
        block: &B,
        entries: &mut [usize],
        backwards: bool,
        log_det: Slot,
    ) -> Result<Vec<Op>> {
        let mut first = entries.to_vec();
        let pass = self.apart(|to| block.lower(to, entries, backwards).map(drop))?;
        self.recording.reuse(0);
        if pass.is_empty() {
            // It only moves numbers, in its product as well.
            return Ok(Vec::new());
        }
        let x = self.places.x.slot;
        let input = self.recording.frame(x.len);
        self.record(scaled_copy(input, x, 1.0));
        self.ops.extend(pass);

        let before = std::mem::take(&mut self.ops);
        let true_log_det = std::mem::replace(&mut self.places.log_det, log_det);
        let product = block.lower(self, &mut first, backwards);
        self.places.log_det = true_log_det;
        let mut ops = vec![scaled_copy(x, input, 1.0)];
        ops.extend(std::mem::replace(&mut self.ops, before));
        ops.extend(product?);
        Ok(ops)
    }

    /// Whether blocks' inputs are reconstructed from their outputs.
    pub(crate) fn inverts(&self) -> bool {
        self.trail.is_some()
    }

    /// What was recorded.
    pub(crate) fn finish(self) -> Lowered {
        let product = self.products.into_iter().rev().flatten().collect();
        let Self { recording, ops: pass, weights, stuck, demands, trail, .. } = self;
        Lowered { recording, pass, product, weights, stuck, demands, trail }
    }

    pub(crate) fn places(&self) -> Places {
        self.places
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether a product follows.
    pub fn keeping(&self) -> bool {
        self.keeping
    }

    /// Whether log-determinants are asked for. Where they are not, what is added to them is thrown away,
    /// and a block may leave out the work of it.
    pub fn wants_log_det(&self) -> bool {
        self.volume
    }

    /// The flow's numbers while it is recorded. What is read here, and not by a kernel, must not
    /// change in training.
    pub fn state(&self) -> &State<E> {
        &self.state
    }

    /// The batch, which blocks change in place.
    pub fn x(&self) -> Rows {
        self.places.x
    }

    /// Each row's log-determinant, to which blocks add.
    pub fn log_det(&self) -> Slot {
        self.places.log_det
    }

    /// The context, row after row.
    pub fn context(&self) -> Rows {
        self.places.context
    }

    /// The gradient by the batch, which products change in place.
    pub fn gradient(&self) -> Rows {
        self.places.gradient
    }

    /// The gradient by each row's log-determinant.
    pub fn by_log_det(&self) -> Slot {
        self.places.by_log_det
    }

    /// The gradient by the context, to which products add.
    pub fn context_gradient(&self) -> Rows {
        self.places.context_gradient
    }

    /// Records a kernel of the pass.
    pub fn record(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Records a kernel that derives values from the parameters.
    pub fn prepare(&mut self, op: Op) {
        self.weights.prepare.push(op);
    }

    /// Records kernels that derive values from the parameters.
    pub fn prepare_all(&mut self, ops: impl IntoIterator<Item = Op>) {
        self.weights.prepare.extend(ops);
    }

    /// Records a kernel that carries a gradient by derived values on to parameters.
    pub fn finish_weights(&mut self, op: Op) {
        self.weights.finish.push(op);
    }

    /// Records kernels that carry gradients by derived values on to parameters.
    pub fn finish_all(&mut self, ops: impl IntoIterator<Item = Op>) {
        self.weights.finish.extend(ops);
    }

    /// Says that the block derives values in a way that has no kernels: a training then does that for
    /// the whole flow on the CPU.
    pub fn weights_on_cpu(&mut self) {
        let path = self.path().to_owned();
        self.weights.on_cpu.push(path);
    }

    /// Adds `factor · Σ values` to every row's log-determinant, and returns the product, which adds to
    /// `by_values`.
    pub fn constant_log_det(&mut self, values: Slot, by_values: Slot, factor: f64) -> Vec<Op> {
        self.record(add_total(self.log_det(), values, factor));
        if !self.keeping {
            return Vec::new();
        }
        let total = self.scratch(1);
        let all = Vectors { count: self.rows, features: 1, pixels: 1 };
        let by_log_det = Rows::new(self.by_log_det(), 1);
        let mut ops = vec![fill(total, 0.0)];
        let recording = &mut self.recording;
        ops.extend(add_column_products(recording, total, all, by_log_det, None, None, factor));
        ops.push(add_repeated(by_values, total, 1.0));
        ops
    }

    /// Index lists and memory.
    pub fn recording(&mut self) -> &mut Recording {
        &mut self.recording
    }

    /// An index list.
    pub fn table(&mut self, indices: impl IntoIterator<Item = usize>) -> Table {
        self.recording.table(indices.into_iter().map(|i| i as isize))
    }

    /// Memory that lasts until the block's product, where there is one.
    pub fn keep(&mut self, len: usize) -> Slot {
        if self.keeping && !self.briefly {
            self.recording.frame(len)
        } else {
            self.recording.scratch(len)
        }
    }

    /// How many steps of each row there is room for, where a solver chooses them as it goes.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Memory that lasts while the block's pass runs, or while its product runs.
    pub fn scratch(&mut self, len: usize) -> Slot {
        self.recording.scratch(len)
    }

    /// Where a parameter's numbers lie.
    pub fn parameter(&self, slot: &Parameter) -> Slot {
        Slot::new(Area::Parameters, slot.0.start, slot.0.len())
    }

    /// Where a buffer's numbers lie.
    pub fn buffer(&self, slot: &Buffer) -> Slot {
        Slot::new(Area::Buffers, slot.0.start, slot.0.len())
    }

    /// Where derived values lie.
    pub fn derived(&self, slot: &Derived) -> Slot {
        Slot::new(Area::Derived, slot.0.start, slot.0.len())
    }

    /// Where a parameter's gradient is added.
    pub fn parameter_gradient(&self, slot: &Parameter) -> Slot {
        Slot::new(Area::Gradient, slot.0.start, slot.0.len())
    }

    /// Where a derived value's gradient is added.
    pub fn derived_gradient(&self, slot: &Derived) -> Slot {
        Slot::new(Area::DerivedGradient, slot.0.start, slot.0.len())
    }

    /// `into[row, entry] += Σ values[row, place]`, for a product.
    pub fn accumulate(&mut self, into: Rows, values: Rows, pairs: &[(usize, Vec<usize>)]) -> Op {
        accumulate(&mut self.recording, self.rows, into, values, pairs)
    }

    /// Where the block stands that is recorded now.
    pub fn path(&self) -> &str {
        self.leaves.get(self.leaf).map_or("base", String::as_str)
    }

    /// The base distribution is recorded now.
    pub(crate) fn at_base(&mut self) {
        self.leaf = self.leaves.len();
        // What it keeps is read before any block runs again.
        self.briefly = false;
    }

    /// An error that names the block, or the part of it, that has no kernels yet.
    pub fn unsupported(&self, part: Option<&str>) -> FlowError {
        let path = self.path().to_owned();
        let block = Item::text_at(self.items, &path);
        FlowError::NotOnGpu { block, path, part: part.map(str::to_owned) }
    }
}
