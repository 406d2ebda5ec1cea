//! The masked net of autoregressive blocks.
//!
//! Everything here is sorted by degree and stored unit by unit, `units × rows`: what a degree sees
//! in a layer is then one run of numbers, and opening it is one matrix product for each layer. So
//! a sequential pass that opens degree after degree costs as many multiplications as one
//! evaluation.

use std::ops::Range;

use super::layer::{check_hidden, Layer, Place};
use super::weights::{Mask, Weights};
use super::{Activation, LastLayer, NetOptions};
use crate::engine::{Builder, State, Values};
use crate::lipschitz::limit::Part;
use crate::{FlowError, Result, Scalar};
use degrees::Units;

mod activations;
mod cotangents;
mod degrees;
mod enclosure;
#[cfg(feature = "cuda")]
mod lowering;
#[cfg(feature = "cuda")]
mod sequential;

pub(crate) use activations::Activations;
pub(crate) use enclosure::Enclosed;

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
/// Parameters stand under `net.`, from `net.0.weight` \[out, in\] and `net.0.bias` \[out\] on. What
/// stands in a weight under its mask is never read, and its gradient is 0. They start as in
/// [`FeedForward`](super::FeedForward), by the number of inputs whether masked or not.
#[derive(Clone, Debug)]
pub struct Made {
    features: usize,
    context: usize,
    each: usize,
    levels: Vec<Level>,
    activation: Activation,
    weights: Weights,
    bands: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
struct Level {
    layer: Layer,
    /// The units it reads, and where they start among all.
    below: Units,
    below_start: usize,
    /// The units it makes.
    above: Units,
}

impl Level {
    /// Where the units it makes start among all.
    fn above_start(&self) -> usize {
        self.below_start + self.below.len()
    }
}

impl Made {
    /// A net that gives `each` numbers to every one of `features` features, over hidden layers of
    /// those widths; `context` numbers a row are seen by all.
    ///
    /// # Errors
    /// [`FlowError::Option`] for no features, for a hidden layer of width 0, and for a Lipschitz
    /// constant that is not a finite number above 0.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        features: usize,
        context: usize,
        each: usize,
        last: LastLayer<'_>,
        hidden: &[usize],
        activation: Activation,
        options: NetOptions,
    ) -> Result<Self> {
        if features == 0 {
            return Err(FlowError::option("features of a masked net", 0, "at least 1"));
        }
        check_hidden(hidden)?;
        let mut units = vec![Units::inputs(features, context)];
        units.extend(hidden.iter().map(|&width| Units::hidden(width, features, context)));
        units.push(Units::outputs(features, each));
        let mut weights = Weights::new(options);
        builder.scope("net", |builder| {
            let (count, mut below_start) = (units.len() - 1, 0);
            let mut levels = Vec::with_capacity(count);
            for (i, pair) in units.windows(2).enumerate() {
                let (below, above) = (pair[0].clone(), pair[1].clone());
                let last = if i + 1 == count { options.last(last) } else { None };
                let layer = builder.scope(i, |b| {
                    let mask = Mask {
                        kept: &|output, input| above.degree(output) >= below.degree(input),
                        rows: above.places(),
                        columns: below.places(),
                    };
                    let sizes = (below.len(), above.len());
                    Layer::new(b, &mut weights, sizes, Place { window: None, last }, Some(mask))
                });
                let width = below.len();
                levels.push(Level { layer, below, below_start, above });
                below_start += width;
            }
            let gain = |i| if i == 0 { 1.0 } else { activation.lipschitz() };
            let parts = (0..count).map(|i| Part::Layer { weight: i, gain: gain(i) });
            weights.limit(builder, parts.collect())?;
            let bands = bands(features, hidden);
            Ok(Self { features, context, each, levels, activation, weights, bands })
        })
    }

    /// All degrees from 0 on, in bands that are opened together where all inputs are known.
    pub(crate) fn bands(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + '_ {
        self.bands.iter().cloned()
    }

    pub(crate) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        self.weights.prepare(values, derived);
    }

    /// Carries the gradients by the sorted weights on to the parameters.
    pub(crate) fn finish<E: Scalar>(
        &self,
        state: &State<E>,
        derived_gradient: &[E],
        gradient: &mut [E],
    ) {
        self.weights.finish(state, derived_gradient, gradient);
    }

    /// The last layer, and those before it.
    fn split(&self) -> (&Level, &[Level]) {
        let (last, hidden) = self.levels.split_last().expect("a net has at least one layer");
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
