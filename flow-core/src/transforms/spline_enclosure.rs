//! What a rational-quadratic spline can make of an interval under intervals of parameters.

use super::Bent;
use crate::blocks::curves::{Curve, Softplus};
use crate::lipschitz::Interval;

/// The knots of all the splines whose parameters lie in given intervals. Rows of `bins + 1`.
pub(super) struct Knots {
    bound: f64,
    sizes: [Vec<Interval>; 2],
    /// Shares of the whole, by whose logits the sizes move.
    shares: [Vec<Interval>; 2],
    stretch: f64,
    /// Along the widths, and along the heights.
    places: [Vec<Interval>; 2],
    slopes: Vec<Interval>,
    /// Upper bounds of the derivatives of the inner slopes by their parameters.
    by_raw: Vec<f64>,
}

const WIDTHS: usize = 0;
const HEIGHTS: usize = 1;

fn point(v: f64) -> Interval {
    Interval::point(v)
}

/// Softmax of bounded intervals: a share rises with its own logit and falls with all others.
fn shares(logits: &[Interval]) -> Vec<Interval> {
    let share = |i: usize, own: f64, other: fn(Interval) -> f64| {
        let others = logits.iter().enumerate().filter(|&(j, _)| j != i);
        let each = others.map(|(_, &v)| (point(other(v)) - point(own)).exp());
        each.fold(point(1.0), |sum, v| sum + v).recip()
    };
    let each = logits.iter().enumerate().map(|(i, v)| {
        Interval::new(share(i, v.low, |v| v.high).low.max(0.0), share(i, v.high, |v| v.low).high)
    });
    each.collect()
}

impl Knots {
    /// Of bounded parameters; the sizes are `2·bound·(least + (1 − K·least)·share)`.
    pub(super) fn new(bins: usize, bound: f64, least: f64, parameters: &[Interval]) -> Self {
        let whole = point(2.0) * point(bound);
        let floor = whole * point(least);
        let stretch = whole * (point(1.0) - point(bins as f64) * point(least));
        let (logits, raw) = parameters.split_at(2 * bins);
        let shares = [shares(&logits[..bins]), shares(&logits[bins..])];
        let sizes = shares
            .each_ref()
            .map(|shares| shares.iter().map(|&share| floor + stretch * share).collect::<Vec<_>>());
        let places = sizes.each_ref().map(|sizes| places(sizes, bound));
        let inner = raw.iter().map(|&v| point(least) + Softplus.enclose(v).0);
        let slopes = std::iter::once(point(1.0)).chain(inner).chain([point(1.0)]).collect();
        let by_raw = raw.iter().map(|v| v.sigmoid().high).collect();
        Self { bound, sizes, shares, stretch: stretch.high, places, slopes, by_raw }
    }

    /// The bins that can hold numbers of an interval along one side.
    fn bins(&self, at: Interval, side: usize) -> impl Iterator<Item = usize> + '_ {
        let places = &self.places[side];
        (0..self.sizes[side].len())
            .filter(move |&i| places[i].low <= at.high && places[i + 1].high >= at.low)
    }

    /// The mean slope of a bin, and the slopes at its ends.
    fn shape(&self, bin: usize) -> (Interval, Interval, Interval) {
        let mean = self.sizes[HEIGHTS][bin] / self.sizes[WIDTHS][bin];
        (mean, self.slopes[bin], self.slopes[bin + 1])
    }

    /// The share of a bin's height at a share ξ of its width:
    /// `(sξ² + aβ)/(s(1 − 2β) + (a + b)β)` with `β = ξ(1 − ξ)`, all of whose terms are positive.
    fn rise(&self, bin: usize, at: f64) -> Interval {
        let (s, a, b) = self.shape(bin);
        let (at, one) = (point(at), point(1.0));
        let between = at * (one - at);
        let below = s * (one - (between + between)) + (a + b) * between;
        let rise = (s * at.square() + a * between) / below;
        Interval::new(rise.low.clamp(0.0, 1.0), rise.high.clamp(0.0, 1.0))
    }

    /// Every value at a number within the bound.
    fn value(&self, x: f64) -> Interval {
        let each = self.bins(point(x), WIDTHS).map(|bin| {
            let at = (point(x) - self.places[WIDTHS][bin]) / self.sizes[WIDTHS][bin];
            let rise = Interval::new(
                self.rise(bin, at.low.clamp(0.0, 1.0)).low,
                self.rise(bin, at.high.clamp(0.0, 1.0)).high,
            );
            self.places[HEIGHTS][bin] + self.sizes[HEIGHTS][bin] * rise
        });
        self.within(each)
    }

    /// Every number whose value is `z`, which is within the bound: shares of the width that are
    /// surely to the left and to the right of it.
    fn argument(&self, z: f64) -> Interval {
        let each = self.bins(point(z), HEIGHTS).map(|bin| {
            let place = (self.places[HEIGHTS][bin], self.sizes[HEIGHTS][bin]);
            let at = |share: f64| place.0 + place.1 * self.rise(bin, share);
            let (mut left, mut right) = ((0.0, 1.0), (0.0, 1.0));
            for _ in 0..24 {
                let middle = 0.5 * (left.0 + left.1);
                if at(middle).high <= z {
                    left.0 = middle
                } else {
                    left.1 = middle
                }
                let middle = 0.5 * (right.0 + right.1);
                if at(middle).low >= z {
                    right.1 = middle
                } else {
                    right.0 = middle
                }
            }
            let share = Interval::new(left.0, right.1);
            self.places[WIDTHS][bin] + self.sizes[WIDTHS][bin] * share
        });
        self.within(each)
    }

    fn within(&self, each: impl Iterator<Item = Interval>) -> Interval {
        let whole = Interval::new(-self.bound, self.bound);
        each.reduce(Interval::hull).and_then(|v| v.meet(whole)).unwrap_or(whole)
    }

    /// The spline on an interval of data, or its inverse on one of latents.
    pub(super) fn enclose(&self, at: Interval, backwards: bool) -> Bent {
        let bins = self.sizes[WIDTHS].len();
        let image = |v: f64| if backwards { self.argument(v) } else { self.value(v) };
        let inside = |v: f64| -self.bound < v && v < self.bound;
        let low = if inside(at.low) { image(at.low).low } else { at.low };
        let high = if inside(at.high) { image(at.high).high } else { at.high };
        let value = Interval::new(low, high);
        let x = if backwards { value } else { at };

        let leaves = x.low <= -self.bound || x.high >= self.bound;
        let mut slope = leaves.then_some(point(1.0));
        let mut by_parameters = vec![0.0_f64; 3 * bins - 1];
        let Some(core) = x.meet(Interval::new(-self.bound, self.bound)) else {
            return Bent { value, slope: point(1.0), by_parameters };
        };
        for bin in self.bins(core, WIDTHS) {
            let here = self.slope(bin);
            slope = Some(slope.map_or(here, |slope| slope.hull(here)));
            self.add_by_parameters(bin, here.high, &mut by_parameters);
        }
        let slope = slope.unwrap_or(Interval::new(0.0, f64::INFINITY));
        Bent { value, slope, by_parameters }
    }

    /// `s` and `(2s + a + b)/4`, between which the denominator of eq. 4 lies.
    fn below(&self, bin: usize) -> Interval {
        let (s, a, b) = self.shape(bin);
        s.hull(point(0.25) * (s + s + a + b))
    }

    /// Every slope in a bin, `s²(bξ² + 2sβ + a(1 − ξ)²)/(s + (a + b − 2s)β)²`: the sum in brackets
    /// is a mean of a, s and b.
    fn slope(&self, bin: usize) -> Interval {
        let (s, a, b) = self.shape(bin);
        let slope = s.square() * s.hull(a).hull(b) / self.below(bin).square();
        Interval::new(slope.low.max(0.0), slope.high)
    }

    /// Raises the bounds to those of a bin with slopes up to `steepest`.
    ///
    /// With the denominator D of eq. 4, `∂f/∂s = hβ(bξ² − a(1 − ξ)²)/D²`, where `ξ³(1 − ξ)` is at
    /// most 27/256, and the slopes at the ends move f by at most `hβ/D` each. By the size of a bin
    /// before this one a value moves by −f' or 1, by this one's between that and 0 but for ∂f/∂s, by
    /// a later one's not at all. A logit moves it by its `share·stretch` times how far the
    /// derivative by its size is from the mean of all: at most `1 − share` of their range.
    fn add_by_parameters(&self, bin: usize, steepest: f64, by: &mut [f64]) {
        let bins = self.sizes[WIDTHS].len();
        let (s, a, b) = self.shape(bin);
        let (width, height) = (self.sizes[WIDTHS][bin], self.sizes[HEIGHTS][bin]);
        let below = self.below(bin);
        let by_mean = point(27.0 / 256.0) * height * a.hull(b) / below.square();
        let twice = point(2.0) * by_mean / width;
        let ranges = [point(steepest) + twice * s, point(1.0) + twice];
        for (side, range) in ranges.into_iter().enumerate() {
            for (j, &share) in self.shares[side].iter().enumerate() {
                let moved = point(self.stretch) * (share * (point(1.0) - share)) * range;
                let slot = &mut by[side * bins + j];
                *slot = slot.max(moved.magnitude());
            }
        }
        let by_slope = point(0.25) * height / below;
        // The knot at the start of bin i is the inner one i − 1.
        for inner in [bin.checked_sub(1), Some(bin)].into_iter().flatten() {
            let Some(&raw) = self.by_raw.get(inner) else { continue };
            let slot = &mut by[2 * bins + inner];
            *slot = slot.max((by_slope * point(raw)).magnitude());
        }
    }
}

/// The ends of bins of those sizes, summed from either side.
fn places(sizes: &[Interval], bound: f64) -> Vec<Interval> {
    let sums = |sizes: &mut dyn Iterator<Item = &Interval>| {
        let mut at = point(-bound);
        let mut all = vec![at];
        for &size in sizes {
            at = at + size;
            all.push(at);
        }
        all
    };
    let (left, right) = (sums(&mut sizes.iter()), sums(&mut sizes.iter().rev()));
    left.iter().zip(right.iter().rev()).map(|(&l, &r)| l.meet(-r).unwrap_or(l.hull(-r))).collect()
}
