//! What a rational-quadratic spline can make of an interval under intervals of parameters.

use super::bins::{Bins, ACROSS, UP};
use super::Bent;
use crate::blocks::curves::{Curve, Softplus};
use crate::lipschitz::Interval;

/// The splines whose parameters lie in given intervals.
pub(super) struct Knots {
    bound: f64,
    bins: Bins,
    /// Shares of the whole, by whose logits the sizes move.
    shares: [Vec<Interval>; 2],
    stretch: f64,
    /// Upper bounds of the derivatives of the inner slopes by their parameters.
    by_raw: Vec<f64>,
}

fn point(v: f64) -> Interval {
    Interval::point(v)
}

/// Softmax of bounded intervals: a share rises with its own logit and falls with all others.
pub(crate) fn shares(logits: &[Interval]) -> Vec<Interval> {
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
        let means = sizes[UP].iter().zip(&sizes[ACROSS]).map(|(&up, &across)| up / across);
        let bins = Bins { means: means.collect(), sizes, places, slopes };
        Self { bound, bins, shares, stretch: stretch.high, by_raw }
    }

    fn within(&self, v: Option<Interval>) -> Interval {
        let whole = Interval::new(-self.bound, self.bound);
        v.and_then(|v| v.meet(whole)).unwrap_or(whole)
    }

    /// The spline on an interval of data, or its inverse on one of latents.
    pub(super) fn enclose(&self, at: Interval, backwards: bool) -> Bent {
        let bins = &self.bins;
        let image = |v: f64| self.within(if backwards { bins.argument(v) } else { bins.value(v) });
        let inside = |v: f64| -self.bound < v && v < self.bound;
        let low = if inside(at.low) { image(at.low).low } else { at.low };
        let high = if inside(at.high) { image(at.high).high } else { at.high };
        let value = Interval::new(low, high);
        let x = if backwards { value } else { at };

        let leaves = x.low <= -self.bound || x.high >= self.bound;
        let mut slope = leaves.then_some(point(1.0));
        let mut by_parameters = vec![0.0_f64; 3 * bins.means.len() - 1];
        let Some(core) = x.meet(Interval::new(-self.bound, self.bound)) else {
            return Bent { value, slope: point(1.0), by_parameters };
        };
        for bin in bins.of(core, ACROSS) {
            let here = bins.slope(bin, core);
            slope = Some(slope.map_or(here, |slope| slope.hull(here)));
            self.add_by_parameters(bin, here.high, &mut by_parameters);
        }
        let slope = slope.unwrap_or(Interval::new(0.0, f64::INFINITY));
        Bent { value, slope, by_parameters }
    }

    /// Raises the bounds to those of a bin with slopes up to `steepest`.
    ///
    /// With the denominator D of eq. 4, `∂f/∂s = hβ(bξ² − a(1 − ξ)²)/D²`, where `ξ³(1 − ξ)` is at
    /// most 27/256, and the slopes at the ends move f by at most `hβ/D` each. By the size of a bin
    /// before this one a value moves by −f' or 1, by this one's between that and 0 but for ∂f/∂s, by
    /// a later one's not at all. A logit moves it by its `share·stretch` times how far the
    /// derivative by its size is from the mean of all: at most `1 − share` of their range.
    fn add_by_parameters(&self, bin: usize, steepest: f64, by: &mut [f64]) {
        let bins = self.bins.means.len();
        let (s, a, b) = self.bins.shape(bin);
        let (width, height) = (self.bins.sizes[ACROSS][bin], self.bins.sizes[UP][bin]);
        let below = self.bins.below(bin);
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
