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
    stretch: Interval,
    /// The derivatives of the inner slopes by their parameters.
    by_raw: Vec<Interval>,
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
        let by_raw = raw.iter().map(|v| v.sigmoid()).collect();
        let means = sizes[UP].iter().zip(&sizes[ACROSS]).map(|(&up, &across)| up / across);
        let bins = Bins { means: means.collect(), sizes, places, slopes };
        Self { bound, bins, shares, stretch, by_raw }
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
        let unmoved = vec![Interval::ZERO; 3 * bins.means.len() - 1];
        let mut all = leaves.then_some((point(1.0), unmoved.clone()));
        let Some(core) = x.meet(Interval::new(-self.bound, self.bound)) else {
            return Bent { value, slope: point(1.0), by_parameters: unmoved };
        };
        for bin in bins.of(core, ACROSS) {
            let slope = bins.slope(bin, core);
            let by = self.by_parameters(bin, core, slope);
            all = Some(match all {
                None => (slope, by),
                Some((others, all)) => {
                    let both = all.into_iter().zip(by);
                    (others.hull(slope), both.map(|(a, b)| a.hull(b)).collect())
                }
            });
        }
        let nothing = || {
            let unknown = Bent::unknown(unmoved.len());
            (unknown.slope, unknown.by_parameters)
        };
        let (slope, by_parameters) = all.unwrap_or_else(nothing);
        Bent { value, slope, by_parameters }
    }

    /// The derivatives by all parameters at numbers of an interval that lie in a bin, where it has
    /// those slopes.
    ///
    /// With `β = ξ(1 − ξ)`, the denominator D and the numerator N of eq. 4, `∂f/∂s = hβ(bξ² − a(1 − ξ)²)/D²`
    /// and the slopes at the ends move f by `hβ(D − N)/D²` and `−hβN/D²`. By the size of a bin before
    /// this one f moves by −f' or 1, by that of a later one not at all, by this one's as
    /// [`of_sizes`](Self::of_sizes) says; by a logit as softmax moves the sizes.
    fn by_parameters(&self, bin: usize, x: Interval, steepness: Interval) -> Vec<Interval> {
        let bins = self.bins.means.len();
        let (s, a, b) = self.bins.shape(bin);
        let height = self.bins.sizes[UP][bin];
        let (at, one) = (self.bins.shares(bin, x), point(1.0));
        let rest = one - at;
        let between = at * rest;
        let between = between.meet(Interval::new(0.0, 0.25)).unwrap_or(between);
        let below = s * (one - (between + between)) + (a + b) * between;
        let least = self.bins.below(bin);
        let below = below.meet(least).unwrap_or(least);
        let rise = (s * at.square() + a * between) / below;
        let rise = rise.meet(Interval::new(0.0, 1.0)).unwrap_or(rise);
        let bend = height * between / below;
        let by_mean = bend * (b * at.square() - a * rest.square()) / below;
        // ξ³(1 − ξ) is at most 27/256.
        let most = (point(27.0 / 256.0) * height * a.hull(b) / least.square()).magnitude();
        let by_mean = by_mean.meet(Interval::new(-most, most)).unwrap_or(by_mean);

        let own = self.of_sizes(bin, (at, rise), steepness, by_mean);
        let before = [-steepness, one];
        let mut all = Vec::with_capacity(3 * bins - 1);
        for side in [ACROSS, UP] {
            let by_size = |j: usize| match j.cmp(&bin) {
                std::cmp::Ordering::Less => before[side],
                std::cmp::Ordering::Equal => own[side],
                std::cmp::Ordering::Greater => Interval::ZERO,
            };
            let shares = &self.shares[side];
            // The size of share p moves by p(1 − p) with its own logit, by −p·q with that of a share q.
            let each = (0..bins).map(|i| {
                let others = (0..bins).filter(|&j| j != i);
                let apart = others.map(|j| shares[j] * (by_size(i) - by_size(j)));
                let sum = apart.fold(Interval::ZERO, |sum, v| sum + v);
                self.stretch * shares[i] * sum
            });
            all.extend(each);
        }
        // The knot at the start of bin i is the inner one i − 1.
        let mut inner = vec![Interval::ZERO; bins - 1];
        if bin > 0 {
            inner[bin - 1] = bend * (one - rise) * self.by_raw[bin - 1];
        }
        if bin + 1 < bins {
            inner[bin] = -(bend * rise * self.by_raw[bin]);
        }
        all.extend(inner);
        all
    }

    /// The derivatives by a bin's own width and height, where f lies at the share `rise` of the one
    /// at the share `at` of the other: `−f'ξ − s/w·∂f/∂s` and `N/D + ∂f/∂s/w`.
    fn of_sizes(
        &self,
        bin: usize,
        (at, rise): (Interval, Interval),
        steepness: Interval,
        by_mean: Interval,
    ) -> [Interval; 2] {
        let by_mean = by_mean / self.bins.sizes[ACROSS][bin];
        [-(steepness * at) - by_mean * self.bins.means[bin], rise + by_mean]
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
