//! Certified norms of weights with their derivatives, and weights that are scaled by them so that a net
//! keeps a Lipschitz constant.
//!
//! Gram iteration as in flow-core's `lipschitz::norm`, with every rounding carried along; all matrices
//! of a net go through each step together. Convolutions of more than one pixel have their own kernels,
//! in [`torus`](super::torus).

use super::torus::{halves, Taps, Tori};
use super::{apart, holds, op, together, NORMS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot, Table};

/// A kernel for matrices in f32, and the same in f64.
type Both = [Kernel; 2];

const START: Both = [together(NORMS, "norm_start_single"), together(NORMS, "norm_start_double")];
const GRAM: Both = [apart(NORMS, "gram_single"), apart(NORMS, "gram_double")];
const STEP: Both = [together(NORMS, "norm_step_single"), together(NORMS, "norm_step_double")];
const ALONG: Both = [apart(NORMS, "norm_along_single"), apart(NORMS, "norm_along_double")];
const BOUND: Both = [together(NORMS, "norm_bound_single"), together(NORMS, "norm_bound_double")];
const FACTOR: Kernel = apart(NORMS, "limit_factor");
const SCALE: Both = [apart(NORMS, "limit_scale_single"), apart(NORMS, "limit_scale_double")];
const INNER: Kernel = together(NORMS, "limit_inner");
const SPREAD: Kernel = apart(NORMS, "limit_spread");

/// Threads of a block that works on a whole matrix.
const TEAM: u32 = 256;

/// Numbers of f64 that are known of a matrix: four, and three for each Gram matrix.
const STATE: usize = 64;

/// A matrix whose norm is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normed {
    /// Its numbers, row-major.
    pub numbers: Slot,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// How often its Gram matrix is squared.
    pub squarings: usize,
    /// Whether Gram matrices are in f64.
    pub double: bool,
}

/// A weight whose norm is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A matrix.
    Matrix(Normed),
    /// A convolution of more than one pixel.
    Convolution(Taps),
}

/// The norms of some weights.
#[derive(Clone, Debug)]
pub struct Norms {
    count: usize,
    /// Matrices in f32, and those in f64.
    groups: [Group; 2],
    tori: Tori,
    /// A number of f64 for each weight: the bound on its norm.
    bounds: Slot,
}

/// Matrices that go through the steps together.
#[derive(Clone, Debug)]
struct Group {
    /// Which of all weights they are, and themselves.
    members: Vec<(usize, Normed)>,
    work: Slot,
    places: Table,
}

impl Norms {
    /// Takes the memory that is needed.
    ///
    /// # Panics
    /// For a weight without numbers, or one that is squared too often: a bug of whoever records.
    pub fn new(recording: &mut Recording, weights: Vec<Measured>) -> Self {
        let count = weights.len();
        let (mut groups, mut tori) = ([vec![], vec![]], vec![]);
        for (i, weight) in weights.into_iter().enumerate() {
            match weight {
                Measured::Matrix(matrix) => groups[usize::from(matrix.double)].push((i, matrix)),
                Measured::Convolution(taps) => tori.push((i, taps)),
            }
        }
        let [single, double] = groups;
        let groups = [Group::new(recording, single), Group::new(recording, double)];
        let tori = Tori::new(recording, tori);
        Self { count, groups, tori, bounds: recording.scratch(2 * count) }
    }

    /// Where the bounds lie: a number of f64 for each weight.
    pub fn bounds(&self) -> Slot {
        self.bounds
    }

    /// From the numbers of the weights to their bounds and to the derivatives.
    pub fn record(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        for (kind, group) in self.groups.iter().enumerate().filter(|(_, g)| !g.members.is_empty()) {
            let Group { members, work, places } = group;
            let count = to_u32(members.len());
            let each = |size: fn(&Normed) -> usize| {
                members.iter().map(|(_, matrix)| size(matrix)).max().unwrap_or(0)
            };
            let team = |kernel: Both, slots: Vec<Slot>, number: usize, blocks: u32| {
                let mut op = op(kernel[kind], 1).tables([*places]).sizes([number]);
                op.slots = slots;
                op.launch = Launch { grid: [blocks, 1, 1], block: [TEAM, 1, 1] };
                op
            };
            let entries = |kernel: Both, number: usize, len: usize| {
                let mut op = op(kernel[kind], len).slots([*work]).tables([*places]).sizes([number]);
                op.launch.grid[2] = count;
                op
            };
            for (place, (_, matrix)) in members.iter().enumerate() {
                ops.push(team(START, vec![matrix.numbers, *work], place, 1));
            }
            for number in 0..=each(|m| m.squarings) {
                ops.push(entries(GRAM, number, each(|m| m.rows.min(m.columns).pow(2))));
                ops.push(team(STEP, vec![*work], number, count));
            }
            ops.push(entries(ALONG, 0, each(|m| m.rows * m.columns)));
            ops.push(team(BOUND, vec![*work, self.bounds], 0, count));
        }
        ops.extend(self.tori.record(self.bounds));
        ops
    }

    /// Scales the weights as the limit asks, from their bounds: `factor` gets the number that those
    /// which everything passes are multiplied by, and for each weight the first slot of `into` its
    /// numbers as they are used, the second its part in the derivative of the logarithm of all.
    pub fn scale(
        &self,
        recording: &mut Recording,
        limit: &Limit,
        factor: Slot,
        into: &[[Slot; 2]],
    ) -> Vec<Op> {
        holds("the factor", factor, 1);
        let count = self.count;
        let roles = recording.scratch(4 * count);
        let list = limit.list(recording, count);
        let sizes = [limit.parts.len(), count, limit.passed().count()];
        let mut ops =
            vec![op(FACTOR, 1).slots([factor, self.bounds, roles]).tables([list]).sizes(sizes)];
        for (kind, Group { members, work, places }) in self.groups.iter().enumerate() {
            for (place, &(i, matrix)) in members.iter().enumerate() {
                let Normed { numbers, rows, columns, .. } = matrix;
                let len = rows * columns;
                let [scaled, direction] = into[i];
                holds("what is scaled", scaled, len);
                holds("the derivative", direction, len);
                let slots = [scaled, direction, numbers, *work, roles];
                ops.push(op(SCALE[kind], len).slots(slots).tables([*places]).sizes([place, i]));
            }
        }
        ops.extend(self.tori.scale(roles, into));
        ops
    }
}

impl Group {
    fn new(recording: &mut Recording, members: Vec<(usize, Normed)>) -> Self {
        let (mut len, mut places) = (0_usize, Vec::new());
        for &(i, Normed { numbers, rows, columns, squarings, double }) in &members {
            holds("a matrix", numbers, rows * columns);
            let side = rows.min(columns);
            assert!(
                side > 0 && 4 + 3 * (squarings + 1) <= STATE,
                "{rows} × {columns}, {squarings}"
            );
            // Every place at a whole line of memory.
            let mut take = |count: usize, wide: bool| {
                let start = len;
                len = (start + if wide { 2 * count } else { count }).next_multiple_of(32);
                start
            };
            let [tall, first, pair, along] =
                [rows * columns, side * side, 2 * side * side, rows * columns]
                    .map(|count| take(count, double));
            let state = take(STATE, true);
            places.extend([rows, columns, squarings, tall, first, pair, along, state, i]);
        }
        let places = recording.table(places.into_iter().map(|place| place as isize));
        Self { members, work: recording.scratch(len), places }
    }
}

/// A factor of a net's Lipschitz constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The weights whose norms are multiplied.
    pub weights: Vec<usize>,
    /// Times that.
    pub gain: f64,
    /// Whether there is a way past them, which adds 1.
    pub skips: bool,
}

/// What keeps a net's Lipschitz constant; see flow-core's `lipschitz::limit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The constant.
    pub constant: f64,
    /// By what share the factor is less than it could be, for rounding.
    pub slack: f64,
    /// Every weight stands in one of them.
    pub parts: Vec<Part>,
}

/// A weight of a limited net, on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Its numbers before they were scaled.
    pub numbers: Slot,
    /// The gradient by it as it is used.
    pub by_used: Slot,
    /// Its part in the derivative; see [`Norms::scale`].
    pub direction: Slot,
    /// Gets the gradient by its numbers.
    pub by_numbers: Slot,
}

impl Limit {
    /// The weights that everything passes.
    fn passed(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().filter(|part| !part.skips).flat_map(|part| part.weights.iter().copied())
    }

    /// All of it as indices, numbers of f64 as two.
    fn list(&self, recording: &mut Recording, count: usize) -> Table {
        let mut list = [halves(self.constant), halves(self.slack)].concat();
        for Part { weights, gain, skips } in &self.parts {
            assert!(weights.iter().all(|&i| i < count), "a weight of a part");
            list.push(isize::from(*skips));
            list.extend(halves(*gain));
            list.push(weights.len() as isize);
            list.extend(weights.iter().map(|&i| i as isize));
        }
        recording.table(list)
    }

    /// The gradients by the numbers of all weights, where `factor` is what [`Norms::scale`] wrote.
    pub fn spread(&self, recording: &mut Recording, factor: Slot, all: &[Spread]) -> Vec<Op> {
        holds("the factor", factor, 1);
        let sums = recording.scratch(2 * all.len());
        let passed: Vec<usize> = self.passed().collect();
        let list = recording.table(passed.iter().map(|&i| i as isize));
        let mut ops = Vec::new();
        for &i in &passed {
            let Spread { numbers, by_used, .. } = all[i];
            holds("the gradient by a weight", by_used, numbers.len);
            let mut op = op(INNER, 1).slots([by_used, numbers, sums]).sizes([numbers.len, i]);
            op.launch = Launch { grid: [1, 1, 1], block: [TEAM, 1, 1] };
            ops.push(op);
        }
        for (i, &Spread { numbers, by_used, direction, by_numbers }) in all.iter().enumerate() {
            let len = numbers.len;
            holds("the gradient by a weight", by_used, len);
            holds("the derivative", direction, len);
            holds("the gradient by numbers", by_numbers, len);
            let passes = usize::from(passed.contains(&i));
            let op = op(SPREAD, len).slots([by_numbers, by_used, direction, factor, sums]);
            ops.push(op.tables([list]).sizes([len, passes, passed.len()]));
        }
        ops
    }
}
