//! Who sees whom in a masked net.

use std::ops::Range;

/// The units of one layer, sorted by degree.
///
/// Degrees are those of Germain et al. 2015, "MADE", with one change: those of the outputs count
/// from 0, so that in every layer a unit sees the units below whose degree is at most its own.
/// Sorted, these are the first ones.
#[derive(Clone, Debug)]
pub(super) struct Units {
    degrees: Vec<usize>,
    /// Which unit stands at each place.
    order: Vec<usize>,
    /// How many units have at most each degree.
    upto: Vec<usize>,
}

impl Units {
    /// Features 1, 2, …, then the context, whose degree is 0.
    pub(super) fn inputs(features: usize, context: usize) -> Self {
        let degrees = (1..=features).chain(std::iter::repeat_n(0, context));
        Self::new(degrees.collect(), features)
    }

    /// Degrees in turn: every one that an output sees and that sees an input.
    pub(super) fn hidden(width: usize, features: usize, context: usize) -> Self {
        let degree = |unit: usize| match context {
            0 => 1 + unit % features.saturating_sub(1).max(1),
            _ => unit % features,
        };
        Self::new((0..width).map(degree).collect(), features)
    }

    /// `each` outputs for every feature.
    pub(super) fn outputs(features: usize, each: usize) -> Self {
        Self::new((0..features * each).map(|output| output / each).collect(), features)
    }

    fn new(degrees: Vec<usize>, most: usize) -> Self {
        let mut order: Vec<usize> = (0..degrees.len()).collect();
        order.sort_by_key(|&unit| degrees[unit]);
        let upto = (0..=most).map(|k| degrees.iter().filter(|&&degree| degree <= k).count());
        Self { upto: upto.collect(), order, degrees }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn degree(&self, unit: usize) -> usize {
        self.degrees[unit]
    }

    /// The unit that stands at each place.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The place of each unit.
    pub(super) fn places(&self) -> Vec<usize> {
        let mut places = vec![0; self.len()];
        self.order.iter().enumerate().for_each(|(place, &unit)| places[unit] = place);
        places
    }

    /// The places of units below that degree.
    pub(super) fn below(&self, degree: usize) -> Range<usize> {
        0..degree.checked_sub(1).map_or(0, |last| self.upto[last])
    }

    /// The places of units with one of those degrees.
    pub(super) fn of(&self, degrees: &Range<usize>) -> Range<usize> {
        self.below(degrees.start).end..self.below(degrees.end).end
    }

    /// The places of units from that degree on.
    pub(super) fn from(&self, degree: usize) -> Range<usize> {
        self.below(degree).end..self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_those_of_the_definition() {
        let inputs = Units::inputs(3, 2);
        assert_eq!((inputs.order(), &inputs.upto[..]), (&[3, 4, 0, 1, 2][..], &[2, 3, 4, 5][..]));
        // 1, 2, 1, 2, 1.
        let hidden = Units::hidden(5, 3, 0);
        assert_eq!((hidden.order(), &hidden.upto[..]), (&[0, 2, 4, 1, 3][..], &[0, 3, 5, 5][..]));
        // 0, 1, 2, 0, 1.
        let given = Units::hidden(5, 3, 2);
        assert_eq!((given.order(), &given.upto[..]), (&[0, 3, 1, 4, 2][..], &[2, 4, 5, 5][..]));
        let outputs = Units::outputs(3, 2);
        assert_eq!(
            (outputs.order(), &outputs.upto[..]),
            (&[0, 1, 2, 3, 4, 5][..], &[2, 4, 6, 6][..])
        );
        // A lone feature has no other to see.
        assert_eq!(Units::hidden(2, 1, 0).upto, [0, 2]);
        assert_eq!(Units::hidden(2, 1, 1).upto, [2, 2]);
    }

    #[test]
    fn places_and_order_are_inverse() {
        let units = Units::hidden(7, 4, 1);
        let places = units.places();
        assert!(units.order().iter().enumerate().all(|(place, &unit)| places[unit] == place));
    }

    #[test]
    fn ranges_meet() {
        let units = Units::hidden(7, 4, 1);
        assert_eq!((units.below(0), units.from(0)), (0..0, 0..7));
        assert_eq!((units.of(&(0..1)), units.of(&(1..3)), units.of(&(3..5))), (0..2, 2..6, 6..7));
        assert_eq!((units.below(2), units.from(2)), (0..4, 4..7));
    }
}
