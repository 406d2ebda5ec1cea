//! What a device is asked to do: kernels with their operands, in order.

use std::collections::HashMap;

/// The flat memories of a flow on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// What is trained.
    Parameters,
    /// What is saved but not trained.
    Buffers,
    /// What depends on the weights alone.
    Derived,
    /// The gradient by the parameters.
    Gradient,
    /// The gradient by derived values.
    DerivedGradient,
    /// What an optimiser remembers: first moments, then second ones, then the numbers of a step.
    Optimizer,
    /// Rows to train on, and their contexts.
    Data,
    /// A pass's rows, and what it keeps for its product.
    Frame,
    /// What a block needs only while it runs.
    Scratch,
    /// What a device gathers beside the operands of a product. It is the device's own: plans do not
    /// name it.
    Patches,
}

/// A run of numbers in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The memory it lies in.
    pub area: Area,
    /// Its first number.
    pub offset: usize,
    /// How many there are.
    pub len: usize,
}

impl Slot {
    /// A run of numbers.
    pub const fn new(area: Area, offset: usize, len: usize) -> Self {
        Self { area, offset, len }
    }

    /// An operand that is not there: a kernel that is told so does not read it.
    pub const NONE: Self = Self::new(Area::Scratch, 0, 0);

    /// `len` of its numbers from `start` on.
    ///
    /// # Panics
    /// Where it has fewer: a bug of whoever records.
    pub fn part(self, start: usize, len: usize) -> Self {
        assert!(start + len <= self.len, "{start} + {len} numbers of {}", self.len);
        Self { offset: self.offset + start, len, ..self }
    }
}

/// A list of indices among those of a [`Recording`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its first index.
    pub offset: usize,
    /// How many there are.
    pub len: usize,
    /// One more than the largest of them.
    pub end: usize,
}

/// A function that runs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Its name in its file.
    pub name: &'static str,
    /// The file, by its place in [`kernels::FAMILIES`](crate::kernels::FAMILIES).
    pub family: usize,
    /// Whether the threads of a block meet at barriers.
    pub cooperates: bool,
}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
}

impl Launch {
    /// At least `count` threads in a row.
    pub fn of(count: usize) -> Self {
        Self { grid: [to_u32(count.div_ceil(128)).max(1), 1, 1], block: [128, 1, 1] }
    }
}

/// One kernel with its operands. The functions of [`kernels`](crate::kernels) make them: they know
/// what a kernel reads and writes, and refuse operands that are too short.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// The kernel.
    pub kernel: Kernel,
    /// Memory that it reads and writes.
    pub slots: Vec<Slot>,
    /// Index lists that it reads.
    pub tables: Vec<Table>,
    /// Sizes.
    pub sizes: Vec<i32>,
    /// Numbers that do not change from run to run.
    pub numbers: Vec<f32>,
    /// How many threads run it.
    pub launch: Launch,
    /// The loop that it is part of, by its place among those of its plan.
    pub in_loop: Option<usize>,
}

/// Ops of a plan that are done again and again, until no row is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// What the ops write: first how many rows are open, then the first row that is stuck, or −1; see
    /// [`count_open`](crate::kernels::contraction::count_open).
    pub status: Slot,
    /// Turns between two looks at it. More of them than are needed change nothing.
    pub turns: usize,
}

/// Collects index lists and hands out memory while a plan is recorded.
#[derive(Debug, Default)]
pub struct Recording {
    tables: Vec<i32>,
    known: HashMap<Vec<i32>, Table>,
    frame: usize,
    scratch: usize,
    most_scratch: usize,
    loops: Vec<Loop>,
}

impl Recording {
    /// A recording of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory that lasts for the whole plan.
    pub fn frame(&mut self, len: usize) -> Slot {
        let slot = Slot::new(Area::Frame, self.frame, len);
        self.frame += aligned(len);
        slot
    }

    /// Memory that lasts until [`reuse`](Self::reuse).
    pub fn scratch(&mut self, len: usize) -> Slot {
        let slot = Slot::new(Area::Scratch, self.scratch, len);
        self.scratch += aligned(len);
        self.most_scratch = self.most_scratch.max(self.scratch);
        slot
    }

    /// How much scratch memory is in use.
    pub fn mark(&self) -> usize {
        self.scratch
    }

    /// Frees the scratch memory that was taken since a [`mark`](Self::mark).
    pub fn reuse(&mut self, mark: usize) {
        self.scratch = mark;
    }

    /// An index list; equal ones are kept once.
    ///
    /// # Panics
    /// For an index beyond 2³¹: a bug of whoever records.
    pub fn table(&mut self, indices: impl IntoIterator<Item = isize>) -> Table {
        let indices = indices.into_iter();
        let list: Vec<i32> =
            indices.map(|i| i32::try_from(i).expect("indices below 2 to the 31st")).collect();
        if let Some(&table) = self.known.get(&list) {
            return table;
        }
        let end =
            list.iter().copied().max().map_or(0, |most| most.saturating_add(1).max(0) as usize);
        let table = Table { offset: self.tables.len(), len: list.len(), end };
        self.tables.extend(&list);
        self.known.insert(list, table);
        table
    }

    /// Makes a loop of the ops, which must stay together in their order.
    pub fn repeat(&mut self, ops: &mut [Op], each: Loop) {
        ops.iter_mut().for_each(|op| op.in_loop = Some(self.loops.len()));
        self.loops.push(each);
    }

    /// The plan whose parts these are.
    pub fn finish(self, parts: Vec<Vec<Op>>) -> Plan {
        let Self { tables, frame, most_scratch: scratch, loops, .. } = self;
        Plan { parts, tables, frame, scratch, loops }
    }
}

/// What a device is asked to do, in parts that can be asked for one by one: a pass, its product, ….
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    parts: Vec<Vec<Op>>,
    tables: Vec<i32>,
    frame: usize,
    scratch: usize,
    loops: Vec<Loop>,
}

impl Plan {
    /// The kernels of each part.
    pub fn parts(&self) -> &[Vec<Op>] {
        &self.parts
    }

    /// A part cut where loops begin and end: each piece runs once, or is the loop of that number.
    pub fn pieces(&self, part: usize) -> impl Iterator<Item = (&[Op], Option<usize>)> {
        let pieces = self.parts[part].chunk_by(|a, b| a.in_loop == b.in_loop);
        pieces.map(|ops| (ops, ops[0].in_loop))
    }

    /// The loops of all parts.
    pub fn loops(&self) -> &[Loop] {
        &self.loops
    }

    /// The index lists of all.
    pub fn tables(&self) -> &[i32] {
        &self.tables
    }

    /// Numbers in [`Area::Frame`].
    pub fn frame_len(&self) -> usize {
        self.frame
    }

    /// Numbers in [`Area::Scratch`].
    pub fn scratch_len(&self) -> usize {
        self.scratch
    }
}

/// Slots start at a multiple of 32 numbers, where a warp reads a whole line.
fn aligned(len: usize) -> usize {
    len.next_multiple_of(32)
}

pub(crate) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2 to the 32nd blocks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_used_again_and_frames_are_not() {
        let mut recording = Recording::new();
        let first = recording.scratch(40);
        let mark = recording.mark();
        let second = recording.scratch(10);
        recording.reuse(mark);
        assert_eq!(recording.scratch(3).offset, second.offset);
        assert!(second.offset >= first.len);
        let frames = [recording.frame(5), recording.frame(5)];
        assert_ne!(frames[0].offset, frames[1].offset);
        let plan = recording.finish(Vec::new());
        assert_eq!((plan.frame_len(), plan.scratch_len()), (64, 96));
    }

    #[test]
    fn parts_are_cut_at_their_loops() {
        let mut recording = Recording::new();
        let (x, status) = (recording.frame(4), recording.frame(4));
        let op = || crate::kernels::rows::fill(x, 0.0);
        let (mut first, mut second) = (vec![op(), op()], vec![op()]);
        let each = Loop { status, turns: 3 };
        recording.repeat(&mut first, each);
        recording.repeat(&mut second, each);
        let part = [vec![op()], first, second, vec![op(), op(), op()]].concat();
        let plan = recording.finish(vec![part, Vec::new()]);
        let pieces: Vec<_> = plan.pieces(0).map(|(ops, in_loop)| (ops.len(), in_loop)).collect();
        assert_eq!(pieces, [(1, None), (2, Some(0)), (1, Some(1)), (3, None)]);
        assert_eq!((plan.pieces(1).count(), plan.loops().len()), (0, 2));
    }

    #[test]
    fn equal_tables_are_kept_once() {
        let mut recording = Recording::new();
        let (a, b) = (recording.table([3, -1, 2]), recording.table([3, -1, 2]));
        assert_eq!(a, b);
        assert_eq!((a.len, a.end), (3, 4));
        assert_eq!(recording.finish(Vec::new()).tables(), [3, -1, 2]);
    }
}
