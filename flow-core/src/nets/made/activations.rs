//! The net's evaluation, degree by degree.

use std::ops::Range;

use super::{Level, Made};
use crate::backend::cpu::elementwise::{add_to_rows, transpose};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Pass, Scratch};
use crate::Scalar;

/// The numbers of one evaluation on a group of rows.
pub(crate) struct Activations<E> {
    rows: usize,
    /// Units × rows: the inputs, then layer after layer, each sorted by degree.
    pub(super) units: Scratch<E>,
    /// Slopes of the hidden ones; empty where no product follows.
    pub(super) slopes: Scratch<E>,
    /// The output: features × rows × numbers that each feature gets.
    parameters: Scratch<E>,
}

impl<E: Scalar> Activations<E> {
    /// Keeps them for the product if there will be one.
    pub(crate) fn save_or_give(self, pass: &mut Pass<'_, E>) {
        pass.save_or_give(self.units);
        pass.save_or_give(self.slopes);
        pass.save_or_give(self.parameters);
    }

    /// Takes back what was kept.
    pub(crate) fn restore(pass: &mut Pass<'_, E>) -> Self {
        let parameters = pass.restore();
        let slopes = pass.restore();
        let units = pass.restore();
        Self { rows: pass.rows(), units, slopes, parameters }
    }

    /// Gives their memory back.
    pub(crate) fn give(self, pass: &mut Pass<'_, E>) {
        pass.give(self.units);
        pass.give(self.slopes);
        pass.give(self.parameters);
    }
}

impl Level {
    /// The bias of the units that it makes at those places.
    fn bias<E: Scalar>(&self, pass: &mut Pass<'_, E>, places: Range<usize>) -> Scratch<E> {
        let mut bias = pass.take(places.len());
        let (all, order) = (self.layer.bias(pass), &self.above.order()[places]);
        bias.iter_mut().zip(order).for_each(|(v, &unit)| *v = all[unit]);
        bias
    }
}

impl Made {
    /// The places of the features among all units.
    pub(super) fn places(&self) -> Range<usize> {
        self.context..self.context + self.features
    }

    /// Nothing opened yet: the context, and in the features' place `rows × features` numbers.
    pub(crate) fn start<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E]) -> Activations<E> {
        let rows = pass.rows();
        let (last, hidden) = self.split();
        let (inputs, all) = (self.context + self.features, last.above_start());
        let slopes = if pass.saving() && !hidden.is_empty() { (all - inputs) * rows } else { 0 };
        let mut units = pass.take(all * rows);
        if self.context > 0 {
            transpose(pass.context(), self.context, &mut units[..self.context * rows]);
        }
        transpose(x, self.features, &mut units[self.context * rows..inputs * rows]);
        Activations {
            rows,
            units,
            slopes: pass.take(slopes),
            parameters: pass.take(self.features * self.each * rows),
        }
    }

    /// Computes the units of those degrees, and the output of the features whose index is among
    /// them: for that, all features before must have their values, and lower degrees be open.
    pub(crate) fn open<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &mut Activations<E>,
        degrees: Range<usize>,
    ) {
        let rows = at.rows;
        let (last, hidden) = self.split();
        let inputs = self.context + self.features;
        for level in hidden {
            let (seen, opened) = (level.below.below(degrees.end), level.above.of(&degrees));
            let (below, above) = at.units.split_at_mut(level.above_start() * rows);
            let below = &below[level.below_start * rows..][..seen.len() * rows];
            let above = &mut above[opened.start * rows..opened.end * rows];
            let weight = level.layer.matrix(pass, &self.weights);
            let weight = weight.part(opened.clone(), seen.clone());
            multiply(above, Into::Replace, weight, Matrix::new(below, seen.len(), rows));
            let slopes = match at.slopes.len() {
                0 => &mut [],
                _ => {
                    let start = level.above_start() - inputs;
                    &mut at.slopes[(start + opened.start) * rows..(start + opened.end) * rows]
                }
            };
            let bias = level.bias(pass, opened);
            add_to_rows(above, &bias);
            self.activation.apply(above, &[], slopes, &mut []);
            pass.give(bias);
        }
        let (seen, opened) = (last.below.below(degrees.end), last.above.of(&degrees));
        let below = &at.units[last.below_start * rows..][..seen.len() * rows];
        let mut output = pass.take(opened.len() * rows);
        let weight = last.layer.matrix(pass, &self.weights).part(opened.clone(), seen.clone());
        multiply(&mut output, Into::Replace, weight, Matrix::new(below, seen.len(), rows));
        let bias = last.bias(pass, opened.clone());
        add_to_rows(&mut output, &bias);
        pass.give(bias);
        // One feature's `each × rows` after the other become `rows × each`.
        let size = self.each * rows;
        let parameters = at.parameters[opened.start * rows..].chunks_exact_mut(size.max(1));
        for (from, into) in output.chunks_exact(size.max(1)).zip(parameters) {
            transpose(from, rows, into);
        }
        pass.give(output);
    }

    /// The values of all features, `features × rows`.
    pub(crate) fn features<'a, E>(&self, at: &'a Activations<E>) -> &'a [E] {
        let places = self.places();
        &at.units[places.start * at.rows..places.end * at.rows]
    }

    /// The values of a feature, and `rows × each` numbers that the net gives it.
    pub(crate) fn feature<'a, E>(
        &self,
        at: &'a mut Activations<E>,
        feature: usize,
    ) -> (&'a mut [E], &'a mut [E]) {
        let (rows, place) = (at.rows, self.places().start + feature);
        let size = self.each * rows;
        (&mut at.units[place * rows..][..rows], &mut at.parameters[feature * size..][..size])
    }
}
