//! What the splines make of a box.

use super::{SplineActivation, LEAST_SHARE};
use crate::lipschitz::{up, Amplification, Cell, Interval, MeanValue, Probe};
use crate::transforms::bins::{Bins, ACROSS, UP};
use crate::transforms::spline_enclosure::shares;
use crate::Scalar;

fn point(v: f64) -> Interval {
    Interval::point(v)
}

impl SplineActivation {
    /// Carries a probe's box through the splines. The Jacobian is diagonal.
    pub(super) fn on_box<E: Scalar>(&self, probe: &mut Probe<'_, E>) -> Amplification {
        let splines: Vec<_> =
            (0..self.features).map(|feature| self.enclosed(probe, feature)).collect();
        let backwards = probe.backwards();
        let (mut most, mut least) = (0.0_f64, f64::INFINITY);
        for pixel in probe.region().chunks_exact_mut(self.features) {
            for (v, spline) in pixel.iter_mut().zip(&splines) {
                let Some(spline) = spline else {
                    *v = Interval::EVERYTHING;
                    (most, least) = (f64::INFINITY, 0.0);
                    continue;
                };
                let image = spline.image(*v, backwards);
                let slope = spline.slope(if backwards { image } else { *v });
                *v = image;
                (most, least) = (most.max(slope.high), least.min(slope.low));
            }
        }
        Amplification::certified(most, up(1.0 / least))
    }

    /// The splines on a cell.
    pub(super) fn on_cell<E: Scalar>(
        &self,
        probe: &Probe<'_, E>,
        cell: &Cell,
    ) -> Option<MeanValue> {
        let splines: Option<Vec<_>> =
            (0..self.features).map(|feature| self.enclosed(probe, feature)).collect();
        let (splines, backwards) = (splines?, probe.backwards());
        let each = cell.centre.iter().zip(&cell.sides).zip(splines.iter().cycle());
        let each = each.map(|((&c, &side), spline)| {
            let slope = match backwards {
                true => spline.slope(spline.image(side, true)).recip(),
                false => spline.slope(side),
            };
            (spline.image(point(c), backwards), slope)
        });
        let (centre, slopes): (Vec<_>, Vec<_>) = each.unzip();
        Some(MeanValue::of_diagonal(centre, &slopes))
    }

    /// The spline of a feature in exact arithmetic; none where its weights are not finite.
    ///
    /// Bins below the least size count with it and without, whatever the precision of the flow.
    fn enclosed<E: Scalar>(&self, probe: &Probe<'_, E>, feature: usize) -> Option<Tailed> {
        let count = self.bins + 1;
        let part = |slot| -> Option<Vec<Interval>> {
            let all = &probe.parameter(slot)[feature * count..(feature + 1) * count];
            let finite = all.iter().all(|v| v.is_finite());
            finite.then(|| all.iter().map(|v| point(v.as_f64())).collect())
        };
        let (widths, heights, raw) =
            (part(&self.widths)?, part(&self.heights)?, part(&self.slopes)?);
        let extent = probe.parameter(&self.extent)[feature].as_f64();
        if !(extent > 0.0 && extent.is_finite()) {
            return None;
        }
        let (low, range) = (point(self.low), point(self.high) - point(self.low));
        let limits = Interval::new(self.low, self.high);
        let limited = |raw: Interval| (low + range * raw.sigmoid()).meet(limits).unwrap_or(limits);
        let least = LEAST_SHARE * E::epsilon().as_f64();
        let (extent, two) = (point(extent), point(2.0));

        let mut sizes = [Vec::new(), Vec::new()];
        let mut means = Vec::new();
        let mut sums = [vec![], vec![]];
        let mut at = [Interval::ZERO; 2];
        for (share, height) in shares(&widths).into_iter().zip(heights) {
            let ratio = limited(height);
            let mut rise = share * ratio;
            let floor = least * self.high;
            let short = share.low < least || rise.low < floor;
            let share =
                Interval::new(share.low, if short { share.high.max(least) } else { share.high });
            rise = Interval::new(rise.low, if short { rise.high.max(floor) } else { rise.high });
            let ratio = if short { ratio.hull(point(self.high)) } else { ratio };
            for (side, size) in [share, rise].into_iter().enumerate() {
                at[side] = at[side] + size;
                sums[side].push(at[side]);
                sizes[side].push(two * size * extent);
            }
            means.push(ratio);
        }
        let [across, up] = sums;
        let whole = at[UP];
        let places = [
            across.into_iter().map(|sum| (two * sum - point(1.0)) * extent).collect(),
            up.into_iter().map(|sum| (two * sum - whole) * extent).collect(),
        ];
        // The first share lies before the first knot.
        sizes.iter_mut().chain([&mut means]).for_each(|each| {
            each.remove(0);
        });
        Some(Tailed(Bins { sizes, places, means, slopes: raw.into_iter().map(limited).collect() }))
    }
}

/// A spline that goes on as a straight line on either side.
struct Tailed(Bins);

impl Tailed {
    /// The tails that can hold a number along one side: the index of the knot that each starts from.
    fn tails(&self, at: Interval, side: usize) -> impl Iterator<Item = usize> + '_ {
        let places = &self.0.places[side];
        let last = places.len() - 1;
        let (left, right) = (at.low <= places[0].high, at.high >= places[last].low);
        left.then_some(0).into_iter().chain(right.then_some(last))
    }

    /// All values, or arguments where it goes backwards, of numbers of an interval: it rises.
    fn image(&self, at: Interval, backwards: bool) -> Interval {
        let end = |v: f64| if backwards { self.argument(v) } else { self.value(v) };
        Interval::new(end(at.low).low, end(at.high).high)
    }

    fn value(&self, x: f64) -> Interval {
        if x.is_infinite() {
            return point(x);
        }
        let Bins { places, slopes, .. } = &self.0;
        let line = |k: usize| places[UP][k] + slopes[k] * (point(x) - places[ACROSS][k]);
        let all = self.tails(point(x), ACROSS).map(line).chain(self.0.value(x));
        all.reduce(Interval::hull).unwrap_or(Interval::EVERYTHING)
    }

    fn argument(&self, z: f64) -> Interval {
        if z.is_infinite() {
            return point(z);
        }
        let Bins { places, slopes, .. } = &self.0;
        let line = |k: usize| places[ACROSS][k] + (point(z) - places[UP][k]) / slopes[k];
        let all = self.tails(point(z), UP).map(line).chain(self.0.argument(z));
        all.reduce(Interval::hull).unwrap_or(Interval::EVERYTHING)
    }

    /// Every slope at numbers of an interval.
    fn slope(&self, x: Interval) -> Interval {
        let tails = self.tails(x, ACROSS).map(|k| self.0.slopes[k]);
        let bins = self.0.of(x, ACROSS).map(|bin| self.0.slope(bin, x));
        tails.chain(bins).reduce(Interval::hull).unwrap_or(Interval::EVERYTHING)
    }
}
