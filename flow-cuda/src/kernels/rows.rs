//! Rows of numbers: brought together, put back, added up.

use super::product::Function;
use super::{apart, holds, op, reaches, together, ROWS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot, Table};

const GATHER: Kernel = apart(ROWS, "gather");
const SCATTER: Kernel = apart(ROWS, "scatter");
const ACCUMULATE: Kernel = apart(ROWS, "accumulate");
const GATHER_UNITS: Kernel = apart(ROWS, "gather_units");
const SCATTER_UNITS: Kernel = apart(ROWS, "scatter_units");
const ADD_UNITS: Kernel = apart(ROWS, "add_units");
const FILL: Kernel = apart(ROWS, "fill");
const SCALED_COPY: Kernel = apart(ROWS, "scaled_copy");
const ADD_REPEATED: Kernel = apart(ROWS, "add_repeated");
const BEND: Kernel = apart(ROWS, "bend");
const MULTIPLY: Kernel = apart(ROWS, "multiply");
const ADD_ROW_SUMS: Kernel = together(ROWS, "add_row_sums");
const ADD_TOTAL: Kernel = apart(ROWS, "add_total");
const NORMAL_PRODUCT: Kernel = apart(ROWS, "normal_product");
const COLUMN_PRODUCTS: Kernel = together(ROWS, "column_products");
const ADD_CHUNKS: Kernel = apart(ROWS, "add_chunks");

/// Rows in a slot: how many, and how many numbers each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Where they lie.
    pub slot: Slot,
    /// Numbers of a row.
    pub width: usize,
}

impl Rows {
    /// Rows of that width.
    pub const fn new(slot: Slot, width: usize) -> Self {
        Self { slot, width }
    }

    fn check(self, what: &str, rows: usize) -> usize {
        holds(what, self.slot, rows * self.width);
        self.width
    }
}

/// `out[row, k] = x[row, from[k]]`, or entry `-2 - from[k]` of the row's context, or 0 for −1.
pub fn gather(rows: usize, x: Rows, context: Rows, from: Table, out: Slot) -> Op {
    holds("what is gathered", out, rows * from.len);
    let widths = (x.check("x", rows), context.check("the context", rows));
    reaches("what is gathered", from, from.len, widths.0);
    op(GATHER, rows * from.len)
        .slots([x.slot, context.slot, out])
        .tables([from])
        .sizes([rows, from.len, widths.0, widths.1])
}

/// `x[row, to[k]] = values[row, k]`.
pub fn scatter(rows: usize, x: Rows, to: Table, values: Slot) -> Op {
    holds("what is scattered", values, rows * to.len);
    reaches("where it goes", to, to.len, x.check("x", rows));
    op(SCATTER, rows * to.len).slots([x.slot, values]).tables([to]).sizes([rows, to.len, x.width])
}

/// For each pair of an entry and its places: `into[row, entry] += Σ values[row, place]`.
pub fn accumulate(
    recording: &mut Recording,
    rows: usize,
    into: Rows,
    values: Rows,
    pairs: &[(usize, Vec<usize>)],
) -> Op {
    let mut starts = vec![0];
    let mut places = Vec::new();
    for (_, each) in pairs {
        places.extend(each.iter().map(|&place| place as isize));
        starts.push(places.len() as isize);
    }
    let to = recording.table(pairs.iter().map(|&(entry, _)| entry as isize));
    let (starts, places) = (recording.table(starts), recording.table(places));
    reaches("where sums go", to, pairs.len(), into.check("into", rows));
    reaches("what is added up", places, places.len, values.check("values", rows));
    op(ACCUMULATE, rows * pairs.len())
        .slots([into.slot, values.slot])
        .tables([to, starts, places])
        .sizes([rows, pairs.len(), into.width, values.width])
}

/// As [`gather`], unit by unit: `out[k, row] = x[row, from[k]]`.
pub fn gather_units(rows: usize, x: Rows, context: Rows, from: Table, out: Slot) -> Op {
    let mut op = gather(rows, x, context, from, out);
    op.kernel = GATHER_UNITS;
    op
}

/// As [`scatter`], unit by unit: `x[row, to[k]] = units[k, row]`.
pub fn scatter_units(rows: usize, x: Rows, to: Table, units: Slot) -> Op {
    let mut op = scatter(rows, x, to, units);
    op.kernel = SCATTER_UNITS;
    op
}

/// `into[row, k] += units[k, row]`.
pub fn add_units(rows: usize, into: Rows, units: Slot) -> Op {
    let width = into.check("into", rows);
    holds("the units", units, rows * width);
    op(ADD_UNITS, rows * width).slots([into.slot, units]).sizes([rows, width])
}

/// Every number becomes `value`.
pub fn fill(slot: Slot, value: f64) -> Op {
    op(FILL, slot.len).slots([slot]).sizes([slot.len]).numbers([value])
}

/// `into[i] = factor · from[i]`.
pub fn scaled_copy(into: Slot, from: Slot, factor: f64) -> Op {
    holds("what is copied", from, into.len);
    op(SCALED_COPY, into.len).slots([into, from]).sizes([into.len]).numbers([factor])
}

/// `into[i] += factor · by[i mod len(by)]`.
pub fn add_repeated(into: Slot, by: Slot, factor: f64) -> Op {
    holds("what is added", by, 1);
    op(ADD_REPEATED, into.len).slots([into, by]).sizes([into.len, by.len]).numbers([factor])
}

/// `into[i] = f(from[i])`, and the slopes where they are asked for.
pub fn bend(into: Slot, from: Slot, function: Function, slopes: Option<Slot>) -> Op {
    holds("what is bent", from, into.len);
    if let Some(slopes) = slopes {
        holds("the slopes", slopes, into.len);
    }
    op(BEND, into.len).slots([into, from, slopes.unwrap_or(Slot::NONE)]).sizes([
        into.len,
        function as usize,
        usize::from(slopes.is_some()),
    ])
}

/// `into[i] *= by[i]`.
pub fn multiply(into: Slot, by: Slot) -> Op {
    holds("what multiplies", by, into.len);
    op(MULTIPLY, into.len).slots([into, by]).sizes([into.len])
}

/// What is added up of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Squares instead of the numbers.
    pub square: bool,
    /// Times that.
    pub factor: f64,
    /// And this for the row.
    pub constant: f64,
}

/// `into[row] += constant + factor · Σ v` or `Σ v²` over the row, whose width is what `values` holds
/// for each.
pub fn add_row_sums(into: Slot, values: Slot, rows: usize, sum: Sum) -> Op {
    holds("into", into, rows);
    let width = values.len / rows;
    let mut op = op(ADD_ROW_SUMS, rows)
        .slots([into, values])
        .sizes([rows, width, usize::from(sum.square)])
        .numbers([sum.factor, sum.constant]);
    op.launch = Launch { grid: [to_u32(rows.div_ceil(4)), 1, 1], block: [32, 4, 1] };
    op
}

/// `into[row] += factor · Σ v`, the same for every row.
pub fn add_total(into: Slot, values: Slot, factor: f64) -> Op {
    op(ADD_TOTAL, into.len).slots([into, values]).sizes([into.len, values.len]).numbers([factor])
}

/// `gradient[row, k] -= weight[row] · z[row, k]`: the product of a standard normal's log-density.
pub fn normal_product(gradient: Slot, weight: Slot, z: Slot, rows: usize) -> Op {
    holds("the weights", weight, rows);
    holds("z", z, gradient.len);
    op(NORMAL_PRODUCT, gradient.len).slots([gradient, weight, z]).sizes([rows, gradient.len / rows])
}

/// Vectors of features, one at each of some places of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// How many there are in all rows.
    pub count: usize,
    /// Numbers of each.
    pub features: usize,
    /// How many of them a row has.
    pub pixels: usize,
}

/// `into[f] += factor · Σ left[v, f] · right[v, f]` over all vectors, in a fixed order: parts of
/// them, then the parts. Without `right`, the sum of the left. `entries` tells where the left's
/// numbers lie in a row, otherwise they are dense.
pub fn add_column_products(
    recording: &mut Recording,
    into: Slot,
    vectors: Vectors,
    left: Rows,
    entries: Option<Table>,
    right: Option<Slot>,
    factor: f64,
) -> Vec<Op> {
    let Vectors { count, features, pixels } = vectors;
    holds("the sums", into, features);
    left.check("the left", count / pixels);
    match entries {
        Some(entries) => reaches("the left", entries, pixels * features, left.width),
        None => assert!(pixels * features <= left.width, "a row of the left"),
    }
    if let Some(right) = right {
        holds("the right", right, count * features);
    }
    // As many parts as keep a card busy, none of less than 64 vectors.
    let parts = count.div_ceil(64).clamp(1, 64);
    let chunk = count.div_ceil(parts);
    let parts = count.div_ceil(chunk);
    let partials = recording.scratch(parts * features);
    let dense = Table { offset: 0, len: 0, end: 0 };
    let mut first = op(COLUMN_PRODUCTS, parts * features)
        .slots([left.slot, right.unwrap_or(Slot::NONE), partials])
        .tables([entries.unwrap_or(dense)])
        .sizes([
            count,
            features,
            pixels,
            left.width,
            chunk,
            usize::from(right.is_some()),
            usize::from(entries.is_some()),
        ]);
    first.launch =
        Launch { grid: [to_u32(features.div_ceil(32)), to_u32(parts), 1], block: [32, 8, 1] };
    vec![first, add_chunks(into.part(0, features), partials, parts, factor)]
}

/// `into[i] += factor · Σ partials[chunk, i]`.
pub(super) fn add_chunks(into: Slot, partials: Slot, chunks: usize, factor: f64) -> Op {
    holds("the parts", partials, chunks * into.len);
    op(ADD_CHUNKS, into.len).slots([into, partials]).sizes([into.len, chunks]).numbers([factor])
}
