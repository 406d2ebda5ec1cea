//! Rational-quadratic splines whose knots are known to lie in intervals.

use crate::lipschitz::Interval;

/// Index of what lies along the x axis.
pub(crate) const ACROSS: usize = 0;
/// Index of what lies along the y axis.
pub(crate) const UP: usize = 1;

/// Into so many parts a bin is cut for the extremes of its slope.
const PARTS: u32 = 8;

/// The bins of all splines whose knots lie in given intervals.
pub(crate) struct Bins {
    /// Widths, and heights.
    pub(crate) sizes: [Vec<Interval>; 2],
    /// The knots, one more than bins.
    pub(crate) places: [Vec<Interval>; 2],
    /// Each bin's height by its width.
    pub(crate) means: Vec<Interval>,
    /// The slopes at the knots.
    pub(crate) slopes: Vec<Interval>,
}

fn point(v: f64) -> Interval {
    Interval::point(v)
}

impl Bins {
    /// The bins that can hold numbers of an interval along one side.
    pub(crate) fn of(&self, at: Interval, side: usize) -> impl Iterator<Item = usize> + '_ {
        let places = &self.places[side];
        (0..self.means.len())
            .filter(move |&i| places[i].low <= at.high && places[i + 1].high >= at.low)
    }

    /// The mean slope of a bin, and the slopes at its ends.
    pub(crate) fn shape(&self, bin: usize) -> (Interval, Interval, Interval) {
        (self.means[bin], self.slopes[bin], self.slopes[bin + 1])
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

    /// The shares of a bin's width at which numbers of an interval can lie.
    pub(crate) fn shares(&self, bin: usize, x: Interval) -> Interval {
        let at = (x - self.places[ACROSS][bin]) / self.sizes[ACROSS][bin];
        Interval::new(at.low.clamp(0.0, 1.0), at.high.clamp(0.0, 1.0))
    }

    /// Every value at a number, in the bins that can hold it.
    pub(crate) fn value(&self, x: f64) -> Option<Interval> {
        let each = self.of(point(x), ACROSS).map(|bin| {
            let at = self.shares(bin, point(x));
            let rise = Interval::new(self.rise(bin, at.low).low, self.rise(bin, at.high).high);
            self.places[UP][bin] + self.sizes[UP][bin] * rise
        });
        each.reduce(Interval::hull)
    }

    /// Every number whose value is `z`, in the bins that can hold it: shares of the width that are
    /// surely to the left and to the right of it.
    pub(crate) fn argument(&self, z: f64) -> Option<Interval> {
        let each = self.of(point(z), UP).map(|bin| {
            let place = (self.places[UP][bin], self.sizes[UP][bin]);
            let at = |share: f64| place.0 + place.1 * self.rise(bin, share);
            let (mut left, mut right) = ((0.0, 1.0), (0.0, 1.0));
            for _ in 0..50 {
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
            self.places[ACROSS][bin] + self.sizes[ACROSS][bin] * share
        });
        each.reduce(Interval::hull)
    }

    /// `s` and `(2s + a + b)/4`, between which the denominator of the bin's function lies.
    pub(crate) fn below(&self, bin: usize) -> Interval {
        let (s, a, b) = self.shape(bin);
        s.hull(point(0.25) * (s + s + a + b))
    }

    /// Every slope at numbers of an interval that lie in a bin: `(bξ² + 2sβ + a(1 − ξ)²)·q²` with
    /// `q = 1/(1 − 2β + β(a + b)/s)` (Durkan et al. 2019, "Neural Spline Flows", eq. 5). The sum is a
    /// mean of a, s and b.
    pub(crate) fn slope(&self, bin: usize, x: Interval) -> Interval {
        let shares = self.shares(bin, x);
        let part = (shares.high - shares.low) / f64::from(PARTS);
        let end = |i: u32| if i == PARTS { shares.high } else { shares.low + part * f64::from(i) };
        let each = (0..PARTS).map(|i| self.slope_at(bin, Interval::new(end(i), end(i + 1))));
        each.reduce(Interval::hull).unwrap_or(Interval::EVERYTHING)
    }

    fn slope_at(&self, bin: usize, at: Interval) -> Interval {
        let (s, a, b) = self.shape(bin);
        let one = point(1.0);
        let rest = one - at;
        let ends = [at.low, at.high].map(|at| point(at) * (one - point(at)));
        let mut between = ends[0].hull(ends[1]);
        if at.contains(0.5) {
            between = between.hull(point(0.25));
        }
        let between = Interval::new(between.low.max(0.0), between.high);
        let sum = b * at.square() + (s + s) * between + a * rest.square();
        let every = s.hull(a).hull(b);
        let mean = sum.meet(every).unwrap_or(every);
        let q = (one - (between + between) + between * ((a + b) / s)).recip();
        let slope = mean * q.square();
        Interval::new(slope.low.max(0.0), slope.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slopes by Durkan et al. 2019, eq. 5, at shares of intervals of all kinds, among them those
    /// with the middle of the bin inside, where ξ(1 − ξ) is largest.
    #[test]
    fn slopes_of_a_bin_hold_at_every_share() {
        for (s, a, b) in [(1.0, 0.2, 0.3), (1.0, 5.0, 4.0), (0.5, 1.0, 1.0), (2.0, 0.1, 6.0)] {
            let bins = Bins {
                sizes: [vec![point(1.0)], vec![point(s)]],
                places: [vec![point(0.0), point(1.0)], vec![point(0.0), point(s)]],
                means: vec![point(s)],
                slopes: vec![point(a), point(b)],
            };
            for (low, high) in [(0.2, 0.8), (0.45, 0.525), (0.0, 1.0), (0.3, 0.3), (0.5, 0.9)] {
                let shares = Interval::new(low, high);
                for held in [bins.slope_at(0, shares), bins.slope(0, shares)] {
                    for i in 0..=40 {
                        let at: f64 = low + (high - low) * f64::from(i) / 40.0;
                        let between = at * (1.0 - at);
                        let sum = b * at * at + 2.0 * s * between + a * (1.0 - at).powi(2);
                        let slope = s * s * sum / (s + (a + b - 2.0 * s) * between).powi(2);
                        let wide = held.widened(1e-12);
                        assert!(wide.contains(slope), "{slope} at {at} is not in {held:?}");
                    }
                }
            }
        }
    }
}
