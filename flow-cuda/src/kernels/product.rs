//! Matrix products with what stands beside them.

use super::{holds, op, rows, together, PRODUCT};
use std::ops::Range;

use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot};

/// How kernels make products: their blocks make `tall × wide` sums with so many threads.
///
/// For each number that a block reads from memory it does `tall · wide/(tall + wide)` multiplications
/// with addition: 16 for the small tiles, 43 for the large ones; and for each that a thread reads from
/// shared memory two, or four. A card with 67 Tflop/s and 3.3 TB/s does ten for a number.
#[derive(Clone, Copy, Debug)]
struct Tile {
    /// Which of two kernels.
    place: usize,
    tall: usize,
    wide: usize,
    threads: u32,
}

/// The kernels of small and of large tiles.
pub(super) const PRODUCTS: [&str; 2] = ["product", "large_product"];
const KERNELS: [Kernel; 2] = [together(PRODUCT, PRODUCTS[0]), together(PRODUCT, PRODUCTS[1])];
const SMALL: Tile = Tile { place: 0, tall: 32, wide: 32, threads: 64 };
const LARGE: Tile = Tile { place: 1, tall: 128, wide: 64, threads: 128 };

/// The flag of a product that is added to what is there.
#[cfg(any(feature = "gpu", test))]
pub(super) const ADDS: i32 = 8;

/// Blocks that keep a card of a hundred and more processors busy.
const ENOUGH: usize = 128;

impl Tile {
    /// Large tiles where they are enough for a card; small ones make more blocks.
    fn of(m: usize, n: usize, parts: usize) -> Self {
        if LARGE.count(m, n) * parts >= ENOUGH && n > SMALL.wide {
            LARGE
        } else {
            SMALL
        }
    }

    fn count(self, m: usize, n: usize) -> usize {
        m.div_ceil(self.tall) * n.div_ceil(self.wide)
    }
}

/// A matrix in a slot, row-major, or the transpose of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    slot: Slot,
    rows: usize,
    columns: usize,
    /// From row to row, and from column to column.
    strides: (usize, usize),
}

impl Matrix {
    /// A matrix of those sides.
    pub fn new(slot: Slot, rows: usize, columns: usize) -> Self {
        holds("a matrix", slot, rows * columns);
        Self { slot, rows, columns, strides: (columns, 1) }
    }

    /// Its transpose.
    pub fn t(self) -> Self {
        let Self { slot, rows, columns, strides } = self;
        Self { slot, rows: columns, columns: rows, strides: (strides.1, strides.0) }
    }

    /// Some rows of some columns.
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "a part of a matrix");
        if rows.is_empty() || columns.is_empty() {
            return Self { rows: rows.len(), columns: columns.len(), ..self };
        }
        let start = rows.start * self.strides.0 + columns.start * self.strides.1;
        let slot = self.slot.part(start, self.slot.len - start);
        Self { slot, rows: rows.len(), columns: columns.len(), ..self }
    }
}

/// The function between two layers of a net; see flow-core's `Activation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Function {
    Identity = 0,
    Relu = 1,
    Elu = 2,
    LeakyRelu = 3,
    Tanh = 4,
    Swish = 5,
    Gelu = 6,
    Softplus = 7,
}

/// What happens to a product before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Added to every row.
    pub bias: Option<Slot>,
    /// Added to every column instead.
    pub bias_by_row: Option<Slot>,
    /// Then applied.
    pub function: Option<Function>,
    /// Where its slopes are written.
    pub slopes: Option<Slot>,
    /// Multiplies the result number by number.
    pub factor: Option<Slot>,
}

/// `out = f(left · right + bias) · factor`.
pub fn product(out: Slot, left: Matrix, right: Matrix, epilogue: Epilogue) -> Op {
    record(out, left, right, epilogue, false, (1, left.columns))
}

/// `out += left · right`.
pub fn add_into(out: Slot, left: Matrix, right: Matrix) -> Op {
    record(out, left, right, Epilogue::default(), true, (1, left.columns))
}

/// `out += left · right`: the sum over a long inner side is cut into parts that are added in a fixed
/// order.
pub fn add_product(recording: &mut Recording, out: Slot, left: Matrix, right: Matrix) -> Vec<Op> {
    let sides = [left.rows, right.columns, left.columns];
    add_in_parts(recording, out, sides, |out, adds, parts| {
        record(out, left, right, Epilogue::default(), adds, parts)
    })
}

/// As [`add_product`] for any product of those sides: `record` makes one that is written to a place, or
/// added to it, in so many parts of such a depth.
pub(super) fn add_in_parts(
    recording: &mut Recording,
    out: Slot,
    [m, n, k]: [usize; 3],
    record: impl Fn(Slot, bool, (usize, usize)) -> Op,
) -> Vec<Op> {
    // Each with at least 64 of the sum.
    let parts = (2 * ENOUGH / SMALL.count(m, n).max(1)).clamp(1, k.div_ceil(64).max(1));
    let chunk = k.div_ceil(parts).next_multiple_of(16);
    let parts = k.div_ceil(chunk);
    if parts <= 1 {
        return vec![record(out, true, (1, k))];
    }
    let partials = recording.scratch(parts * m * n);
    let first = record(partials, false, (parts, chunk));
    vec![first, rows::add_chunks(out.part(0, m * n), partials, parts, 1.0)]
}

fn record(
    out: Slot,
    left: Matrix,
    right: Matrix,
    epilogue: Epilogue,
    adds: bool,
    parts: (usize, usize),
) -> Op {
    assert_eq!(left.columns, right.rows, "the inner sides of a product");
    let sides = [left.rows, right.columns, left.columns];
    let strides = [left.strides.0, left.strides.1, right.strides.0, right.strides.1];
    tiled(KERNELS, [left.slot, right.slot, out], sides, strides, epilogue, adds, parts)
}

/// A product of those sides by kernels that know from four numbers where their operands lie.
pub(super) fn tiled(
    kernels: [Kernel; 2],
    [left, right, out]: [Slot; 3],
    [m, n, k]: [usize; 3],
    geometry: [usize; 4],
    epilogue: Epilogue,
    adds: bool,
    (parts, chunk): (usize, usize),
) -> Op {
    holds("a product", out, parts * m * n);
    let Epilogue { bias, bias_by_row, function, slopes, factor } = epilogue;
    assert!(bias.is_none() || bias_by_row.is_none(), "a bias by row and one by column");
    if let Some(bias) = bias {
        holds("a bias", bias, n);
    }
    if let Some(bias) = bias_by_row {
        holds("a bias by row", bias, m);
    }
    for each in [slopes, factor].into_iter().flatten() {
        holds("what stands beside a product", each, m * n);
    }
    let by_row = bias_by_row.is_some();
    let bias = bias.or(bias_by_row);
    let flags = [bias.is_some(), slopes.is_some(), factor.is_some(), adds, by_row];
    let flags = flags.iter().enumerate().map(|(i, &on)| usize::from(on) << i).sum();
    let none = |slot: Option<Slot>| slot.unwrap_or(Slot::NONE);
    let function = function.unwrap_or(Function::Identity) as usize;
    let tile = Tile::of(m, n, parts);
    let [first, second, third, fourth] = geometry;
    let mut op = op(kernels[tile.place], m * n)
        .slots([left, right, out, none(bias), none(slopes), none(factor)])
        .sizes([m, n, k, first, second, third, fourth, function, flags, chunk]);
    let grid = [to_u32(tile.count(m, n)), 1, to_u32(parts)];
    op.launch = Launch { grid, block: [tile.threads, 1, 1] };
    op
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Area;

    /// A grid has 65,535 blocks at most but in its first dimension.
    #[test]
    fn products_of_millions_of_rows_are_one_grid() {
        let m = 5_000_000;
        let slot = |len| Slot::new(Area::Frame, 0, len);
        let (left, right) = (Matrix::new(slot(m), m, 1), Matrix::new(slot(2), 1, 2));
        let op = product(slot(2 * m), left, right, Epilogue::default());
        assert_eq!(op.launch.grid, [m.div_ceil(SMALL.tall) as u32, 1, 1]);
    }
}
