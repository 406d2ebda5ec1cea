//! What row groups gather for weights and context.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::{Derived, Parameter};
use super::state::State;
use crate::Scalar;

/// Gradients that one row group gathers.
#[derive(Debug, Default)]
pub(crate) struct Gradients<E> {
    parameters: Gathered<E>,
    derived: Gathered<E>,
    /// By the group's context, row after row.
    pub(crate) context: Vec<E>,
}

impl<E: Scalar> Gradients<E> {
    /// Zeros for the weights of that state and so many numbers of context.
    pub(crate) fn zeros(state: &State<E>, context: usize) -> Self {
        let mut gradients = Self::default();
        gradients.start([state.values.parameters.len(), state.derived.len(), context], true);
        gradients
    }

    /// Zeros of those lengths, or anything where nobody will ask for them.
    pub(crate) fn start(&mut self, [parameters, derived, context]: [usize; 3], learning: bool) {
        self.parameters.start(parameters, learning);
        self.derived.start(derived, learning);
        if learning {
            self.context.clear();
        }
        self.context.resize(context, E::zero());
    }

    /// Where a parameter's gradient is added.
    pub(crate) fn parameter(&mut self, slot: &Parameter) -> &mut [E] {
        self.parameters.part(slot.0.clone())
    }

    /// Where a derived value's gradient is added.
    pub(crate) fn derived(&mut self, slot: &Derived) -> &mut [E] {
        self.derived.part(slot.0.clone())
    }

    /// All of them: by the parameters, and by what is derived from those.
    pub(crate) fn whole(&mut self) -> (&mut Vec<E>, &[E]) {
        (self.parameters.whole(), self.derived.whole())
    }
}

/// Adds all groups' gradients of parameters and derived values into the first, in their order.
pub(crate) fn add_up<E: Scalar>(groups: &mut [Gradients<E>]) {
    if let [first, others @ ..] = groups {
        first.parameters.add(others.iter().map(|group| &group.parameters).collect());
        first.derived.add(others.iter().map(|group| &group.derived).collect());
    }
}

/// Numbers that are zeros until something is added to them.
///
/// They are written page by page, each when it is first asked for: a large model's gradient is then in
/// the cache where the first product is added to it, and is not sent to memory twice.
#[derive(Debug, Default)]
struct Gathered<E> {
    numbers: Vec<E>,
    /// The pages that hold numbers of an earlier pass.
    stale: Vec<bool>,
}

/// Numbers of a page. Pages are also what threads share out among each other.
const PAGE: usize = 1 << 12;

impl<E: Scalar> Gathered<E> {
    fn start(&mut self, len: usize, learning: bool) {
        self.numbers.resize(len, E::zero());
        self.stale.clear();
        self.stale.resize(len.div_ceil(PAGE), learning);
    }

    fn part(&mut self, range: Range<usize>) -> &mut [E] {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        for page in pages.filter(|_| !range.is_empty()) {
            self.refresh(page);
        }
        &mut self.numbers[range]
    }

    fn whole(&mut self) -> &mut Vec<E> {
        (0..self.stale.len()).for_each(|page| self.refresh(page));
        &mut self.numbers
    }

    #[inline]
    fn refresh(&mut self, page: usize) {
        if std::mem::take(&mut self.stale[page]) {
            let end = self.numbers.len().min((page + 1) * PAGE);
            self.numbers[page * PAGE..end].fill(E::zero());
        }
    }

    /// Adds others of the same length.
    fn add(&mut self, others: Vec<&Self>) {
        let pages = self.numbers.par_chunks_mut(PAGE).zip(&mut self.stale).enumerate();
        pages.with_min_len(4).for_each(|(page, (sum, stale))| {
            for other in others.iter().filter(|other| !other.stale[page]) {
                let numbers = other.numbers[page * PAGE..].iter();
                match std::mem::take(stale) {
                    true => sum.iter_mut().zip(numbers).for_each(|(sum, &v)| *sum = v),
                    false => sum.iter_mut().zip(numbers).for_each(|(sum, &v)| *sum += v),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gradient of that many numbers, left over from a pass that made them sevens.
    fn used(len: usize) -> Gradients<f64> {
        let mut gradients = Gradients::default();
        gradients.start([len, 1, 2], true);
        gradients.parameters.part(0..len).fill(7.0);
        gradients.derived.part(0..1).fill(7.0);
        gradients.context.fill(7.0);
        gradients.start([len, 1, 2], true);
        gradients
    }

    #[test]
    fn what_an_earlier_pass_left_is_never_seen() {
        for len in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5] {
            let mut gradients = used(len);
            assert_eq!(gradients.context, [0.0; 2]);
            for range in [0..len.min(1), len / 2..len, 0..len] {
                let part = gradients.parameter(&Parameter(range));
                assert!(part.iter().all(|&v| v == 0.0), "{len}");
            }
            let (parameters, derived) = gradients.whole();
            assert_eq!((parameters.len(), derived), (len, &[0.0][..]));
        }
    }

    #[test]
    fn every_group_is_added_whatever_it_wrote() {
        let len = 2 * PAGE + 3;
        for count in 1..=8 {
            let mut groups: Vec<_> = (0..count).map(|_| used(len)).collect();
            let mut expected = vec![0.0; len];
            for (k, group) in groups.iter_mut().enumerate().filter(|(k, _)| k % 3 != 0) {
                let range = k * PAGE / 4..k * PAGE / 4 + 5;
                expected[range.clone()].iter_mut().for_each(|v| *v += k as f64);
                group.parameter(&Parameter(range)).iter_mut().for_each(|v| *v += k as f64);
                group.derived(&Derived(0..1))[0] += 1.0;
            }
            add_up(&mut groups);
            let (parameters, derived) = groups[0].whole();
            assert_eq!(*parameters, expected);
            assert_eq!(derived, [(0..count).filter(|k| k % 3 != 0).count() as f64]);
        }
    }
}
