//! The net's vector-Jacobian product, degree by degree in the opposite order.

use std::ops::Range;

use super::{Activations, Layer, Made};
use crate::backend::cpu::elementwise::{multiply_by, transpose};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Buffer, Pass};
use crate::Scalar;

/// Gradients of a loss by the numbers of one evaluation.
pub(crate) struct Cotangents<E> {
    rows: usize,
    /// Units × rows: as the units of [`Activations`], by what the activation takes, and then the
    /// output.
    units: Buffer<E>,
}

impl Layer {
    /// The weight as it is used, sorted.
    pub(super) fn weight<'a, E: Scalar>(&self, pass: &Pass<'a, E>) -> Matrix<'a, E> {
        Matrix::new(pass.derived(&self.sorted_weight), self.above.len(), self.below.len())
    }
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
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (closed, seeing) = (layer.below.of(&degrees), layer.above.from(degrees.start));
            let (below, above) = by.units.split_at_mut(layer.above_start() * rows);
            let above = &above[seeing.start * rows..layer.above.len() * rows];
            let places = layer.below_start + closed.start..layer.below_start + closed.end;
            let below = &mut below[places.start * rows..places.end * rows];
            let weight = layer.weight(pass).part(seeing.clone(), closed);
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
    pub(crate) fn finish<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: Activations<E>,
        by: Cotangents<E>,
        gradient: &mut [E],
    ) {
        let rows = by.rows;
        for layer in &self.layers {
            let above = &by.units[layer.above_start() * rows..][..layer.above.len() * rows];
            let below = &at.units[layer.below_start * rows..][..layer.below.len() * rows];
            self.weight_gradient(pass, layer, above, below);
            let bias = pass.gradient(&layer.bias);
            for (unit, above) in layer.above.order().iter().zip(above.chunks_exact(rows.max(1))) {
                bias[*unit] += above.iter().copied().sum::<E>();
            }
        }
        let (context, features) =
            by.units[..self.places().end * rows].split_at(self.context * rows);
        let by_context = pass.context_gradient().chunks_exact_mut(self.context.max(1));
        for (row, to) in by_context.enumerate() {
            let from = context[row..].iter().step_by(rows);
            to.iter_mut().zip(from).for_each(|(to, &v)| *to += v);
        }
        transpose(features, rows, gradient);
        at.give(pass);
        pass.give(by.units);
    }

    /// Adds a layer's gradient where the mask lets weights through.
    fn weight_gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        layer: &Layer,
        above: &[E],
        below: &[E],
    ) {
        let (rows, width) = (pass.rows(), layer.below.len());
        for band in self.bands() {
            let (opened, seen) = (layer.above.of(&band), layer.below.below(band.end).len());
            let mut sorted = pass.take(opened.len() * seen);
            let above =
                Matrix::new(&above[opened.start * rows..opened.end * rows], opened.len(), rows);
            let below = Matrix::new(&below[..seen * rows], seen, rows);
            multiply(&mut sorted, Into::Replace, above, below.t());
            let by_weight = pass.gradient(&layer.weight);
            let each = sorted.chunks_exact(seen.max(1));
            for (from, (place, seen)) in each.zip(layer.rows(band)) {
                let to = &mut by_weight[layer.above.order()[place] * width..][..width];
                for (&v, &unit) in from[..seen].iter().zip(layer.below.order()) {
                    to[unit] += v;
                }
            }
            pass.give(sorted);
        }
    }
}
