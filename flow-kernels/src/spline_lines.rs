//! As many splines as a line has numbers, computed together.

use pulp::Simd;

use crate::bend::softplus_and_slope;
use crate::bin::Bin;
use crate::map::exp_of;
use crate::spline::Splines;
use crate::{Element, LANES};

/// A number of each spline.
pub(crate) type Line<E> = [E; LANES];

/// The numbers, and what is left of the line zeros.
#[inline(always)]
pub(crate) fn take<E: Element>(from: &[E]) -> Line<E> {
    let mut line = [E::default(); LANES];
    line[..from.len()].copy_from_slice(from);
    line
}

/// As many numbers as there is room for.
#[inline(always)]
pub(crate) fn keep<E: Element>(line: &Line<E>, to: &mut [E]) {
    to.copy_from_slice(&line[..to.len()]);
}

/// The parameters of a line of splines, a row for each.
pub(crate) struct Lines<E> {
    rows: Vec<Line<E>>,
    bins: usize,
    bound: E,
    /// Sizes of bins are `floor + stretch · share`.
    floor: E,
    stretch: E,
    least: E,
}

/// The bin in which each number lies.
struct Found<E> {
    index: Line<E>,
    left: Line<E>,
    bottom: Line<E>,
    width: Line<E>,
    height: Line<E>,
    /// What the slopes at its two knots are made of.
    slopes: [Line<E>; 2],
}

impl<E: Element> Lines<E> {
    pub(crate) fn new(splines: &Splines) -> Self {
        let &Splines { bins, bound, least } = splines;
        Self {
            rows: vec![[E::default(); LANES]; splines.parameters()],
            bins,
            bound: E::constant(bound),
            floor: E::constant(2.0 * bound * least),
            stretch: E::constant(2.0 * bound * (1.0 - bins as f64 * least)),
            least: E::constant(least),
        }
    }

    /// Takes the parameters of `count` splines, one after the other.
    #[inline(always)]
    pub(crate) fn read(&mut self, parameters: &[E], count: usize) {
        let each = self.rows.len();
        E::transpose(self.rows.as_flattened_mut(), parameters, [LANES, each], [count, each]);
    }

    /// Gives back the parameters of `count` splines, one after the other.
    #[inline(always)]
    pub(crate) fn write(&self, parameters: &mut [E], count: usize) {
        let each = self.rows.len();
        E::transpose(parameters, self.rows.as_flattened(), [each, LANES], [each, count]);
    }

    /// Gives back the rows themselves, shortened to `count` splines.
    #[inline(always)]
    pub(crate) fn keep(&self, parameters: &mut [E], count: usize) {
        let rows = parameters.chunks_exact_mut(count).zip(&self.rows);
        rows.for_each(|(to, row)| keep(row, to));
    }

    /// Takes what [`keep`](Self::keep) gave back.
    #[inline(always)]
    pub(crate) fn read_kept(&mut self, parameters: &[E], count: usize) {
        let rows = parameters.chunks_exact(count).zip(&mut self.rows);
        rows.for_each(|(from, row)| row[..count].copy_from_slice(from));
    }

    /// Turns the logits of widths and of heights into shares.
    #[inline(always)]
    pub(crate) fn shares<S: Simd>(&mut self) {
        let (widths, rest) = self.rows.split_at_mut(self.bins);
        shares::<S, E>(widths);
        shares::<S, E>(&mut rest[..self.bins]);
    }

    /// Whether a spline bends there. NaN counts as outside, and so passes unchanged.
    #[inline(always)]
    fn covers(&self, v: E) -> bool {
        v > -self.bound && v < self.bound
    }

    /// What shares make of the sizes of bins.
    #[inline(always)]
    fn sizes(&self, shares: &Line<E>) -> Line<E> {
        let mut sizes = [E::default(); LANES];
        for i in 0..LANES {
            sizes[i] = self.floor + self.stretch * shares[i];
        }
        sizes
    }

    /// The bins of `values` along the widths, or along the heights.
    #[inline(always)]
    fn find<const HEIGHTS: bool>(&self, values: &Line<E>) -> Found<E> {
        let (widths, rest) = self.rows.split_at(self.bins);
        let (heights, slopes) = rest.split_at(self.bins);
        let none = [E::default(); LANES];
        let (mut left, mut bottom) = ([-self.bound; LANES], [-self.bound; LANES]);
        let (mut width, mut height) = (self.sizes(&widths[0]), self.sizes(&heights[0]));
        let mut found = Found {
            index: none,
            left,
            bottom,
            width,
            height,
            slopes: [none, slopes.first().copied().unwrap_or(none)],
        };
        for k in 1..self.bins {
            for i in 0..LANES {
                left[i] = left[i] + width[i];
                bottom[i] = bottom[i] + height[i];
            }
            (width, height) = (self.sizes(&widths[k]), self.sizes(&heights[k]));
            let start = if HEIGHTS { bottom } else { left };
            // One after the other: the compiler would make branches of all together.
            from(&mut found.index, values, &start, &[E::constant(k as f64); LANES]);
            from(&mut found.left, values, &start, &left);
            from(&mut found.bottom, values, &start, &bottom);
            from(&mut found.width, values, &start, &width);
            from(&mut found.height, values, &start, &height);
            from(&mut found.slopes[0], values, &start, &slopes[k - 1]);
            from(&mut found.slopes[1], values, &start, slopes.get(k).unwrap_or(&none));
        }
        found
    }

    /// The bin of one number, and the derivatives of its slopes by what they are made of.
    #[inline(always)]
    fn bin<S: Simd>(&self, found: &Found<E>, i: usize) -> (Bin<E>, [E; 2]) {
        let (low, by_low) = softplus_and_slope::<S, E>(found.slopes[0][i]);
        let (high, by_high) = softplus_and_slope::<S, E>(found.slopes[1][i]);
        let first = found.index[i] == E::default();
        let last = found.index[i] == E::constant((self.bins - 1) as f64);
        let low = if first { E::ONE } else { self.least + low };
        let high = if last { E::ONE } else { self.least + high };
        let bin = Bin {
            left: found.left[i],
            bottom: found.bottom[i],
            width: found.width[i],
            height: found.height[i],
            slopes: (low, high),
        };
        (bin, [by_low, by_high])
    }

    /// Values become `f(x)`, or `x` on the way `BACK`; `logs` the logarithms of the slopes.
    #[inline(always)]
    pub(crate) fn apply<S: Simd, const BACK: bool>(
        &self,
        values: &mut Line<E>,
        logs: &mut Line<E>,
    ) {
        let found = self.find::<BACK>(values);
        for i in 0..LANES {
            let (bin, _) = self.bin::<S>(&found, i);
            let from = values[i];
            let (value, slope) = if BACK { bin.inverse(from) } else { bin.forward(from) };
            let inside = self.covers(from);
            values[i] = if inside { value } else { from };
            logs[i] = if inside { slope } else { E::ONE }.logarithm::<S>();
        }
    }

    /// `gradient` goes from `f(x)` to `x`, or on the way `BACK` from `x` to `f(x)`; the rows become the
    /// gradient by the logits.
    #[inline(always)]
    pub(crate) fn product<S: Simd, const BACK: bool>(
        &mut self,
        x: &Line<E>,
        gradient: &mut Line<E>,
        by_logs: &Line<E>,
    ) {
        let none = [E::default(); LANES];
        let found = self.find::<false>(x);
        let (mut width, mut height) = ([none; 2], [none; 2]);
        let mut slopes = [none; 2];
        for i in 0..LANES {
            let (bin, by_number) = self.bin::<S>(&found, i);
            let (by, by_log) = (gradient[i], by_logs[i]);
            let by_bin = bin.product(
                x[i],
                #[inline(always)]
                |slope, bent| {
                    if BACK {
                        ((by_log * bent - by) / slope, -by_log)
                    } else {
                        (by, by_log)
                    }
                },
            );
            let inside = self.covers(x[i]);
            let through = if BACK { -by_bin.value } else { by_bin.x };
            gradient[i] = if inside { through } else { by };
            (width[0][i], width[1][i]) = (given(inside, -by_bin.x), given(inside, by_bin.width));
            (height[0][i], height[1][i]) =
                (given(inside, by_bin.value), given(inside, by_bin.height));
            slopes[0][i] = given(inside, by_bin.slopes.0 * by_number[0]);
            slopes[1][i] = given(inside, by_bin.slopes.1 * by_number[1]);
        }
        let (widths, rest) = self.rows.split_at_mut(self.bins);
        let (heights, inner) = rest.split_at_mut(self.bins);
        shares_product(widths, self.stretch, &found.index, &width);
        shares_product(heights, self.stretch, &found.index, &height);
        for (k, row) in inner.iter_mut().enumerate() {
            // The slope between the bins k and k + 1.
            let (below, above) = (E::constant(k as f64), E::constant((k + 1) as f64));
            for i in 0..LANES {
                let index = found.index[i];
                let high = if index == below { slopes[1][i] } else { E::default() };
                row[i] = if index == above { slopes[0][i] } else { high };
            }
        }
    }
}

/// Turns logits into `e^v / Σ e^v`, relative to the largest of each list so that nothing overflows.
#[inline(always)]
fn shares<S: Simd, E: Element>(rows: &mut [Line<E>]) {
    let mut most = rows[0];
    for row in rows.iter() {
        for i in 0..LANES {
            // NaN is never larger than another number, and still makes every share NaN by the sum.
            most[i] = if row[i] > most[i] { row[i] } else { most[i] };
        }
    }
    let mut sum = [E::default(); LANES];
    for row in rows.iter_mut() {
        for i in 0..LANES {
            row[i] = exp_of::<S, E>(row[i] - most[i]);
            sum[i] = sum[i] + row[i];
        }
    }
    sum.iter_mut().for_each(|v| *v = E::ONE / *v);
    for row in rows.iter_mut() {
        for i in 0..LANES {
            row[i] = row[i] * sum[i];
        }
    }
}

/// Turns shares into the gradient by their logits, where the loss depends on the sizes
/// `stretch · share` of the bins before `index` by the first of `by` each, and on that of `index` by the
/// second.
#[inline(always)]
fn shares_product<E: Element>(
    rows: &mut [Line<E>],
    stretch: E,
    index: &Line<E>,
    by: &[Line<E>; 2],
) {
    let mut mean = [E::default(); LANES];
    for (k, row) in rows.iter().enumerate() {
        let k = E::constant(k as f64);
        for i in 0..LANES {
            mean[i] = mean[i] + row[i] * by_size(k, index[i], by[0][i], by[1][i]);
        }
    }
    for (k, row) in rows.iter_mut().enumerate() {
        let k = E::constant(k as f64);
        for i in 0..LANES {
            row[i] = row[i] * stretch * (by_size(k, index[i], by[0][i], by[1][i]) - mean[i]);
        }
    }
}

/// The gradient by the size of bin `k`.
#[inline(always)]
fn by_size<E: Element>(k: E, index: E, before: E, own: E) -> E {
    let here = given(k == index, own);
    if k < index {
        before
    } else {
        here
    }
}

/// Takes the new number where a value is at `start` or beyond it.
#[inline(always)]
fn from<E: Element>(to: &mut Line<E>, values: &Line<E>, start: &Line<E>, new: &Line<E>) {
    for i in 0..LANES {
        let (old, new) = (to[i], new[i]);
        to[i] = if values[i] >= start[i] { new } else { old };
    }
}

/// The number, or nothing.
#[inline(always)]
fn given<E: Element>(there: bool, v: E) -> E {
    if there {
        v
    } else {
        E::default()
    }
}
