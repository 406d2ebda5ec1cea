//! The masked net of autoregressive blocks.
//!
//! Everything here is sorted by degree and stored unit by unit, `units × rows`: what a degree sees
//! in a layer is then one run of numbers, and opening it is one matrix product for each layer. So
//! a sequential pass that opens degree after degree costs as many multiplications as one
//! evaluation.

use std::ops::Range;

use super::{Activation, LastLayer};
use crate::engine::{Builder, Derived, Parameter, Start, Values};
use crate::{FlowError, Result, Scalar};
use degrees::Units;

mod activations;
mod cotangents;
mod degrees;

pub(crate) use activations::Activations;

/// A band of degrees that are opened together holds at least so many units of the widest layer,
/// where there are as many: narrower products are slower, wider ones multiply more masked zeros.
const BAND: usize = 128;

/// Linear layers with an activation between them and masked weights, so that the outputs of a
/// feature see the features before it and the context, and nothing else (Germain et al. 2015,
/// "MADE: Masked Autoencoder for Distribution Estimation").
///
/// Degrees of inputs are 1 to d; of hidden unit `j`, from 0, `1 + j mod max(1, d − 1)`; of the
/// outputs of feature `i`, `i`. A weight is kept where the degree of its output is at least that of
/// its input, and greater in the last layer. A context follows the features as input, with degree 0;
/// hidden unit `j` then has degree `j mod d`.
///
/// Parameters: `0.weight` \[out, in\], `0.bias` \[out\], `1.weight`, … under the scope that the block
/// opens. What stands in a weight under its mask is never read, and its gradient is 0.
#[derive(Clone, Debug)]
pub struct Made {
    features: usize,
    context: usize,
    each: usize,
    layers: Vec<Layer>,
    activation: Activation,
    bands: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
struct Layer {
    weight: Parameter,
    bias: Parameter,
    /// The weight with its units sorted on both sides, and zeros under the mask.
    sorted_weight: Derived,
    sorted_bias: Derived,
    /// The units it reads, and where they start among all.
    below: Units,
    below_start: usize,
    /// The units it makes.
    above: Units,
}

impl Layer {
    /// Where the units it makes start among all.
    fn above_start(&self) -> usize {
        self.below_start + self.below.len()
    }

    /// For the units it makes with one of those degrees: their place and how many units each sees.
    fn rows(&self, degrees: Range<usize>) -> impl Iterator<Item = (usize, usize)> + '_ {
        degrees.flat_map(move |degree| {
            let seen = self.below.below(degree + 1).end;
            self.above.of(&(degree..degree + 1)).map(move |place| (place, seen))
        })
    }
}

impl Made {
    /// A net that gives `each` numbers to every one of `features` features, over hidden layers of
    /// those widths; `context` numbers a row are seen by all.
    ///
    /// # Errors
    /// [`FlowError::Option`] for no features and for a hidden layer of width 0.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        features: usize,
        context: usize,
        each: usize,
        last: LastLayer<'_>,
        hidden: &[usize],
        activation: Activation,
        zero_init: bool,
    ) -> Result<Self> {
        if features == 0 {
            return Err(FlowError::option("features of a masked net", 0, "at least 1"));
        }
        if let Some(i) = hidden.iter().position(|&width| width == 0) {
            return Err(FlowError::option(format!("width of hidden layer {i}"), 0, "at least 1"));
        }
        let mut levels = vec![Units::inputs(features, context)];
        levels.extend(hidden.iter().map(|&width| Units::hidden(width, features, context)));
        levels.push(Units::outputs(features, each));
        let mut below_start = 0;
        let mut layers = Vec::with_capacity(levels.len() - 1);
        for (i, pair) in levels.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0].len(), pair[1].len());
            let limit = 1.0 / (inputs.max(1) as f64).sqrt();
            let (weight, bias) = if last.zero && zero_init && i + 2 == levels.len() {
                let bias = (0..outputs).map(|output| E::of((last.bias)(output))).collect();
                (Start::Constant(0.0), Start::Values(bias))
            } else {
                (Start::Uniform(limit), Start::Uniform(limit))
            };
            layers.push(builder.scope(i, |b| Layer {
                weight: b.parameter("weight", &[outputs, inputs], weight),
                bias: b.parameter("bias", &[outputs], bias),
                sorted_weight: b.derived(outputs * inputs),
                sorted_bias: b.derived(outputs),
                below: pair[0].clone(),
                below_start,
                above: pair[1].clone(),
            }));
            below_start += inputs;
        }
        let bands = bands(features, hidden);
        Ok(Self { features, context, each, layers, activation, bands })
    }

    /// All degrees from 0 on, in bands that are opened together where all inputs are known.
    pub(crate) fn bands(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + '_ {
        self.bands.iter().cloned()
    }

    /// Sorts the weights.
    pub(crate) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        for layer in &self.layers {
            let width = layer.below.len();
            let (weight, bias) = (values.parameter(&layer.weight), values.parameter(&layer.bias));
            let sorted = layer.sorted_weight.of_mut(derived);
            sorted.fill(E::zero());
            for (place, seen) in layer.rows(0..self.features + 1) {
                let row = &weight[layer.above.order()[place] * width..];
                let to = &mut sorted[place * width..][..seen];
                to.iter_mut().zip(layer.below.order()).for_each(|(v, &unit)| *v = row[unit]);
            }
            let sorted = layer.sorted_bias.of_mut(derived);
            sorted.iter_mut().zip(layer.above.order()).for_each(|(v, &unit)| *v = bias[unit]);
        }
    }

    /// The last layer, and those before it.
    fn split(&self) -> (&Layer, &[Layer]) {
        let (last, hidden) = self.layers.split_last().expect("a net has at least one layer");
        (last, hidden)
    }
}

/// Cuts the degrees `0..=features` into bands.
fn bands(features: usize, hidden: &[usize]) -> Vec<Range<usize>> {
    let widest = hidden.iter().copied().max().unwrap_or(1);
    let count = (widest / BAND).clamp(1, features + 1);
    let cut = |i: usize| (features + 1) * i / count;
    (0..count).map(|i| cut(i)..cut(i + 1)).collect()
}

#[cfg(test)]
mod tests;
