//! The net on boxes, degree by degree.

use std::ops::Range;

use super::Made;
use crate::engine::State;
use crate::lipschitz::{affine, norm, up, Interval};
use crate::Scalar;

/// The numbers of one evaluation on a box.
pub(crate) struct Enclosed<'a, E: Scalar> {
    net: &'a Made,
    state: &'a State<E>,
    /// Each layer's units in the order of their degrees, the inputs first.
    units: Vec<Vec<Interval>>,
    /// The slopes of the hidden ones.
    slopes: Vec<Vec<Interval>>,
    output: Vec<Interval>,
}

impl Made {
    /// Nothing opened yet: the context, and a box of the features, of which no degree is seen before
    /// its features are.
    pub(crate) fn enclose<'a, E: Scalar>(
        &'a self,
        state: &'a State<E>,
        x: &[Interval],
        context: &[Interval],
    ) -> Enclosed<'a, E> {
        let (_, hidden) = self.split();
        let rest = hidden.iter().map(|level| vec![Interval::ZERO; level.above.len()]);
        Enclosed {
            net: self,
            state,
            slopes: rest.clone().collect(),
            units: std::iter::once([context, x].concat()).chain(rest).collect(),
            output: vec![Interval::ZERO; self.features * self.each],
        }
    }
}

impl<E: Scalar> Enclosed<'_, E> {
    /// Computes the units of those degrees, as the net itself does.
    pub(crate) fn open(&mut self, degrees: Range<usize>) {
        let (net, last) = (self.net, self.net.levels.len() - 1);
        for (i, level) in net.levels.iter().enumerate() {
            let (seen, opened) = (level.below.below(degrees.end), level.above.of(&degrees));
            let bias = self.state.values.parameter(level.layer.bias_slot());
            let order = &level.above.order()[opened.clone()];
            let sums =
                self.product(i, &self.units[i], opened.clone(), seen, |k| bias[order[k]].as_f64());
            for (place, sum) in opened.zip(sums) {
                if i == last {
                    self.output[place] = sum;
                } else {
                    self.units[i + 1][place] = net.activation.enclose(sum).0;
                    self.slopes[i][place] = net.activation.slopes(sum);
                }
            }
        }
    }

    /// Rows of a layer's matrix times what they see, and a bias.
    fn product(
        &self,
        level: usize,
        below: &[Interval],
        rows: Range<usize>,
        seen: Range<usize>,
        bias: impl Fn(usize) -> f64,
    ) -> Vec<Interval> {
        let (net, index) = (self.net, self.net.levels[level].layer.weight());
        let weight = net.weights.used(self.state, index);
        let share = net.weights.rounding::<E>(index);
        let columns = net.levels[level].below.len();
        let below: Vec<Interval> = below[seen.clone()].iter().map(|v| v.widened(share)).collect();
        let entry = |i: usize, j: usize| weight[(rows.start + i) * columns + seen.start + j];
        affine(|i, j| entry(i, j).as_f64(), rows.len(), &below, bias)
    }

    /// The box of a feature.
    pub(crate) fn feature_mut(&mut self, feature: usize) -> &mut Interval {
        &mut self.units[0][self.net.context + feature]
    }

    /// The numbers that the net gives a feature.
    pub(crate) fn parameters(&self, feature: usize) -> &[Interval] {
        &self.output[feature * self.net.each..][..self.net.each]
    }

    /// The derivatives of all outputs by a feature; zeros for features that are not after it.
    pub(crate) fn slopes_by(&self, feature: usize) -> Vec<Interval> {
        let degree = feature + 1;
        let inputs = self.units[0].len();
        let mut at = vec![Interval::ZERO; inputs];
        at[self.net.context + feature] = Interval::point(1.0);
        for (i, level) in self.net.levels.iter().enumerate() {
            let (seen, rows) = (level.below.from(degree), level.above.from(degree));
            let mut above = vec![Interval::ZERO; level.above.len()];
            let sums = self.product(i, &at, rows.clone(), seen, |_| 0.0);
            for (place, sum) in rows.zip(sums) {
                let slope = self.slopes.get(i).map_or(Interval::point(1.0), |slopes| slopes[place]);
                above[place] = sum * slope;
            }
            at = above;
        }
        at
    }

    /// An upper bound of the norm of the Jacobian by the features, its rows scaled by numbers of at
    /// least 0, one for each output.
    pub(crate) fn norm(&self, scale: &[f64]) -> f64 {
        let (net, mut norm) = (self.net, 1.0);
        for (i, level) in net.levels.iter().enumerate() {
            let hidden = if i == 0 { net.context } else { 0 };
            let (mut weight, map) = level.layer.linear_map(self.state, &net.weights);
            // The context is sorted to the front.
            let entries = weight.iter_mut().enumerate();
            entries.filter(|(k, _)| k % map.inputs < hidden).for_each(|(_, w)| *w = 0.0);
            let row =
                |row: usize| self.slopes.get(i).map_or_else(|| scale[row], |s| s[row].magnitude());
            let factor =
                up(norm::scaled(&weight, map, row) * level.layer.growth::<E>(&net.weights));
            norm = if factor == 0.0 || norm == 0.0 { 0.0 } else { up(norm * factor) };
        }
        norm
    }
}
