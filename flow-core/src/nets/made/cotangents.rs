//! The net's vector-Jacobian product, degree by degree in the opposite order.

use std::ops::Range;

use super::{Activations, Level, Made};
use crate::backend::cpu::elementwise::{multiply_by, transpose};
use crate::backend::cpu::matrix::{multiply, multiply_part, Into, Matrix};
use crate::engine::{Pass, Scratch};
use crate::Scalar;

/// Gradients of a loss by the numbers of one evaluation.
pub(crate) struct Cotangents<E> {
    rows: usize,
    /// Units × rows: as the units of [`Activations`], by what the activation takes, and then the
    /// output.
    units: Scratch<E>,
}

impl Made {
    /// Nothing closed yet: zero for the context, and in the features' place `rows × features`
    /// numbers.
    pub(crate) fn cotangents<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &[E],
    ) -> Cotangents<E> {
        let rows = pass.rows();
        let (last, places) = (self.split().0, self.places());
        let mut units = pass.take((last.above_start() + last.above.len()) * rows);
        units[..places.start * rows].fill(E::zero());
        let features = &mut units[places.start * rows..places.end * rows];
        transpose(gradient, self.features, features);
        Cotangents { rows, units }
    }

    /// Lets `product` replace a feature's gradient, given what stands in its place and its values
    /// and numbers, which it turns into the gradient by those numbers.
    pub(crate) fn product<E: Scalar>(
        &self,
        at: &mut Activations<E>,
        by: &mut Cotangents<E>,
        feature: usize,
        product: impl FnOnce(&[E], &mut [E], &mut [E]),
    ) {
        let rows = by.rows;
        let (x, parameters) = self.feature(at, feature);
        let place = self.places().start + feature;
        product(x, parameters, &mut by.units[place * rows..][..rows]);
        let place = self.split().0.above_start() + feature * self.each;
        transpose(parameters, self.each, &mut by.units[place * rows..][..self.each * rows]);
    }

    /// Carries gradients on to the units of those degrees: for that, the features whose index is
    /// among them must have their [`product`](Self::product), and higher degrees be closed.
    pub(crate) fn close<E: Scalar>(
        &self,
        pass: &Pass<'_, E>,
        at: &Activations<E>,
        by: &mut Cotangents<E>,
        degrees: Range<usize>,
    ) {
        let rows = by.rows;
        for (i, level) in self.levels.iter().enumerate().rev() {
            let (closed, seeing) = (level.below.of(&degrees), level.above.from(degrees.start));
            let (below, above) = by.units.split_at_mut(level.above_start() * rows);
            let above = &above[seeing.start * rows..level.above.len() * rows];
            let places = level.below_start + closed.start..level.below_start + closed.end;
            let below = &mut below[places.start * rows..places.end * rows];
            let weight = level.layer.matrix(pass, &self.weights).part(seeing.clone(), closed);
            let above = Matrix::new(above, seeing.len(), rows);
            if i == 0 {
                multiply(below, Into::Add, weight.t(), above);
            } else {
                multiply(below, Into::Replace, weight.t(), above);
                let start = self.context + self.features;
                let places = (places.start - start) * rows..(places.end - start) * rows;
                multiply_by(below, &at.slopes[places]);
            }
        }
    }

    /// Adds the gradients of weights, biases and context to the pass's, and writes those of the
    /// features, `rows × features`. All degrees must be closed.
    pub(crate) fn give_gradients<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: Activations<E>,
        by: Cotangents<E>,
        gradient: &mut [E],
    ) {
        let rows = by.rows;
        let levels = if pass.learning() { &self.levels[..] } else { &[] };
        for level in levels {
            let above = &by.units[level.above_start() * rows..][..level.above.len() * rows];
            let below = &at.units[level.below_start * rows..][..level.below.len() * rows];
            self.weight_gradient(pass, level, above, below);
            let bias = pass.gradient(level.layer.bias_slot());
            for (unit, above) in level.above.order().iter().zip(above.chunks_exact(rows.max(1))) {
                bias[*unit] += above.iter().copied().sum::<E>();
            }
        }
        let (context, features) =
            by.units[..self.places().end * rows].split_at(self.context * rows);
        if self.context > 0 {
            let by_context = pass.context_gradient().chunks_exact_mut(self.context);
            for (row, to) in by_context.enumerate() {
                let from = context[row..].iter().step_by(rows);
                to.iter_mut().zip(from).for_each(|(to, &v)| *to += v);
            }
        }
        transpose(features, rows, gradient);
        at.give(pass);
        pass.give(by.units);
    }

    /// Adds the gradient by a layer's weight. Of what lies under the mask, bands leave out most, and
    /// what they take along goes no further than here.
    fn weight_gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        level: &Level,
        above: &[E],
        below: &[E],
    ) {
        let (rows, width) = (pass.rows(), level.below.len());
        for band in self.bands() {
            let (opened, seen) = (level.above.of(&band), level.below.below(band.end).len());
            let above = &above[opened.start * rows..opened.end * rows];
            let above = Matrix::new(above, opened.len(), rows);
            let below = Matrix::new(&below[..seen * rows], seen, rows);
            let by_weight = self.weights.gradient(pass, level.layer.weight());
            let by_weight = &mut by_weight[opened.start * width..opened.end * width];
            multiply_part(by_weight, width, Into::Add, above, below.t());
        }
    }
}
