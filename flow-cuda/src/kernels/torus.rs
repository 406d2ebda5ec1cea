//! Certified norms of convolutions, from what their taps are on a torus.
//!
//! As in flow-core's `lipschitz::convolution`: the greatest norm of the matrices at the torus's
//! frequencies, each by Gram iteration with every rounding carried along. A block of threads takes one
//! frequency after the other through all steps, and leaves one where a bound on the way is below what
//! another is known to reach.

use super::{apart, holds, op, together, TORUS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot, Table};

const START: Kernel = together(TORUS, "torus_start");
const SEARCH: Kernel = together(TORUS, "torus_search");
const SLOPES: Kernel = together(TORUS, "torus_slopes");
const SCALE: Kernel = apart(TORUS, "torus_scale");

/// Threads of a block that works on a whole matrix.
const TEAM: u32 = 256;

/// Gram matrices of which a block can remember the rounding.
const MOST_SQUARES: usize = 20;

/// Blocks that search one convolution's frequencies: two for each processor of a large card. Each has
/// memory of its own.
const BLOCKS: usize = 256;

/// Numbers of f64 that the blocks of a convolution may have together: 512 MB.
const ROOM: usize = 1 << 26;

/// A convolution whose norm is wanted. Its numbers are `[outputs, taps, inputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// Its numbers.
    pub numbers: Slot,
    /// Channels that it writes.
    pub outputs: usize,
    /// Channels that it reads.
    pub inputs: usize,
    /// Its taps.
    pub taps: usize,
    /// Those of them that meet the image.
    pub met: Vec<usize>,
    /// For each frequency of the torus the cosines of the taps that meet the image, then the sines.
    pub twiddles: Vec<f64>,
    /// How many Gram matrices are made of each.
    pub squarings: usize,
}

impl Taps {
    fn side(&self) -> usize {
        self.outputs.min(self.inputs)
    }

    /// Numbers of the weight.
    pub(super) fn len(&self) -> usize {
        self.outputs * self.inputs * self.taps
    }

    fn frequencies(&self) -> usize {
        self.twiddles.len() / (2 * self.met.len())
    }

    /// Numbers of f64 that a block needs for its matrices.
    fn room(&self) -> usize {
        2 * self.outputs * self.inputs + 2 * self.side() * self.side()
    }

    fn blocks(&self) -> usize {
        self.frequencies().min(BLOCKS).min(ROOM / self.room()).max(1)
    }

    fn check(&self) {
        holds("a convolution's weight", self.numbers, self.len());
        let frequencies = self.frequencies();
        assert!(
            self.len() > 0 && frequencies > 0 && self.squarings <= MOST_SQUARES,
            "{} × {}, {frequencies} frequencies, {} squarings",
            self.outputs,
            self.inputs,
            self.squarings
        );
        assert!(self.met.iter().all(|&tap| tap < self.taps), "a tap of {}", self.taps);
    }
}

/// Convolutions whose norms are found together.
#[derive(Clone, Debug)]
pub(super) struct Tori {
    /// Which of all weights they are, and themselves.
    members: Vec<(usize, Taps)>,
    work: Slot,
    places: Table,
    met: Table,
    factors: Table,
}

impl Tori {
    /// Takes the memory that is needed.
    pub(super) fn new(recording: &mut Recording, members: Vec<(usize, Taps)>) -> Self {
        let (mut len, mut places) = (0_usize, Vec::new());
        let (mut met, mut factors): (Vec<isize>, Vec<isize>) = Default::default();
        for (which, taps) in &members {
            taps.check();
            // Every place at a whole line of memory.
            let mut take = |count: usize| {
                let start = len;
                len = (start + 2 * count).next_multiple_of(32);
                start
            };
            let size = taps.outputs * taps.inputs;
            let matrices = take(size * taps.met.len());
            let rooms = take(taps.blocks() * taps.room());
            let known = take(2 + 2 * taps.frequencies());
            let powers = take(4 * size);
            let slopes = take(taps.len());
            let Taps { outputs, inputs, squarings, .. } = *taps;
            places.extend([outputs, inputs, taps.taps, taps.met.len(), squarings]);
            places.extend([taps.frequencies(), taps.blocks(), factors.len(), met.len()]);
            places.extend([matrices, rooms, known, powers, slopes, *which]);
            let place = |tap| taps.met.iter().position(|&met| met == tap);
            met.extend((0..taps.taps).map(|tap| place(tap).map_or(-1, |at| at as isize)));
            factors.extend(taps.twiddles.iter().flat_map(|&v| halves(v)));
        }
        let places = recording.table(places.into_iter().map(|place| place as isize));
        let (met, factors) = (recording.table(met), recording.table(factors));
        Self { members, work: recording.scratch(len), places, met, factors }
    }

    fn op(&self, kernel: Kernel, slots: Vec<Slot>, grid: [u32; 3]) -> Op {
        let mut op = op(kernel, 1).tables([self.places, self.met, self.factors]);
        op.slots = slots;
        op.launch = Launch { grid, block: [TEAM, 1, 1] };
        op
    }

    /// From the numbers of the weights to their bounds and to the derivatives.
    pub(super) fn record(&self, bounds: Slot) -> Vec<Op> {
        if self.members.is_empty() {
            return Vec::new();
        }
        let starts = self.members.iter().enumerate().map(|(place, (_, taps))| {
            self.op(START, vec![taps.numbers, self.work], [1, 1, 1]).sizes([place])
        });
        let mut ops: Vec<Op> = starts.collect();
        let count = to_u32(self.members.len());
        let blocks = self.members.iter().map(|(_, taps)| taps.blocks()).max().unwrap_or(1);
        ops.push(self.op(SEARCH, vec![self.work], [to_u32(blocks), 1, count]));
        ops.push(self.op(SLOPES, vec![self.work, bounds], [count, 1, 1]));
        ops
    }

    /// See [`Norms::scale`](super::norms::Norms::scale).
    pub(super) fn scale(&self, roles: Slot, into: &[[Slot; 2]]) -> Vec<Op> {
        let each = self.members.iter().enumerate().map(|(place, (which, taps))| {
            let [scaled, direction] = into[*which];
            holds("what is scaled", scaled, taps.len());
            holds("the derivative", direction, taps.len());
            op(SCALE, taps.len())
                .slots([scaled, direction, taps.numbers, self.work, roles])
                .tables([self.places])
                .sizes([place, *which])
        });
        each.collect()
    }
}

/// A number of f64 as two indices.
pub(super) fn halves(v: f64) -> [isize; 2] {
    [v.to_bits() >> 32, v.to_bits()].map(|half| half as u32 as i32 as isize)
}
