mod jacobian;
#[cfg(feature = "cuda")]
mod jacobian_lowering;

use super::layer::{check_hidden, window, Layer, Place};
use super::tangents::Tangents;
use super::weights::Weights;
use super::{Activation, Conditioner, LastLayer, NetOptions};
use crate::backend::cpu::convolution::Window;
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::limit::Part;
use crate::lipschitz::{norm, up, Cell, Enclosure, Interval, MeanValue, Slopes};
use crate::{FlowError, Result, Scalar, Shape};

/// Layers with an activation between them: [`mlp`](Self::mlp) of linear layers on vectors,
/// [`conv`](Self::conv) of convolutions on images.
///
/// Parameters stand under `net.`, from `net.0.weight` and `net.0.bias` on, and start uniform on
/// ±1/√fan_in, PyTorch's default, but for outputs that start at zero.
#[derive(Clone, Debug)]
pub struct FeedForward {
    layers: Vec<Layer>,
    activation: Activation,
    weights: Weights,
}

impl FeedForward {
    /// Linear layers from `inputs` to `outputs` numbers over hidden layers of those widths. Weights
    /// are `[out, in]`.
    ///
    /// # Errors
    /// [`FlowError::Option`] for a hidden layer of width 0, for an image, and for a Lipschitz
    /// constant that is not a finite number above 0.
    pub fn mlp<E: Scalar>(
        builder: &mut Builder<E>,
        inputs: Shape,
        outputs: usize,
        last: LastLayer<'_>,
        hidden: &[usize],
        activation: Activation,
        options: NetOptions,
    ) -> Result<Self> {
        if inputs.sides().is_some() {
            return Err(FlowError::option("the input of an mlp", inputs, "a vector"));
        }
        check_hidden(hidden)?;
        let widths = [inputs.features()].into_iter().chain(hidden.iter().copied());
        let widths: Vec<usize> = widths.chain([outputs]).collect();
        let windows = vec![None; widths.len() - 1];
        Self::new(builder, &widths, windows, last, activation, options)
    }

    /// Convolutions with zero padding and stride 1, one for each of the odd `kernels`, from an
    /// image over `hidden` channels to one of `outputs` channels. Weights are
    /// `[out, in, kernel, kernel]`.
    ///
    /// # Errors
    /// [`FlowError::Option`] for an even kernel or none, for hidden layers without channels, for a
    /// vector, and for a Lipschitz constant that is not a finite number above 0.
    pub fn conv<E: Scalar>(
        builder: &mut Builder<E>,
        inputs: Shape,
        outputs: usize,
        last: LastLayer<'_>,
        kernels: &[usize],
        hidden: usize,
        activation: Activation,
        options: NetOptions,
    ) -> Result<Self> {
        let Some(sides) = inputs.sides() else {
            return Err(FlowError::option("the input of a conv", inputs, "an image"));
        };
        if kernels.is_empty() {
            return Err(FlowError::option("kernels", "an empty list", "at least one"));
        }
        let widths = vec![hidden; kernels.len() - 1];
        check_hidden(&widths)?;
        let widths: Vec<usize> =
            [inputs.features()].into_iter().chain(widths).chain([outputs]).collect();
        let windows = kernels.iter().map(|&kernel| window(kernel, sides).map(Some));
        let windows = windows.collect::<Result<Vec<_>>>()?;
        Self::new(builder, &widths, windows, last, activation, options)
    }

    fn new<E: Scalar>(
        builder: &mut Builder<E>,
        widths: &[usize],
        windows: Vec<Option<Window>>,
        last: LastLayer<'_>,
        activation: Activation,
        options: NetOptions,
    ) -> Result<Self> {
        let mut weights = Weights::new(options);
        let count = windows.len();
        builder.scope("net", |builder| {
            let layers = windows.into_iter().enumerate().map(|(i, window)| {
                let last = if i + 1 == count { options.last(last) } else { None };
                builder.scope(i, |b| {
                    let sizes = (widths[i], widths[i + 1]);
                    Layer::new(b, &mut weights, sizes, Place { window, last }, None)
                })
            });
            let layers: Vec<Layer> = layers.collect();
            let gain = |i| if i == 0 { 1.0 } else { activation.lipschitz() };
            let parts = (0..count).map(|i| Part::Layer { weight: i, gain: gain(i) });
            weights.limit(builder, parts.collect())?;
            weights.keep_turned(builder);
            Ok(Self { layers, activation, weights })
        })
    }

    /// The last layer, and those before it.
    fn split(&self) -> (&Layer, &[Layer]) {
        let (last, hidden) = self.layers.split_last().expect("a net has at least one layer");
        (last, hidden)
    }
}

impl<E: Scalar> Conditioner<E> for FeedForward {
    fn inputs(&self) -> usize {
        self.layers[0].inputs()
    }

    fn outputs(&self) -> usize {
        self.split().0.outputs()
    }

    fn enclose(&self, state: &State<E>, input: &[Interval], beside: usize) -> Enclosure {
        let (mut at, mut before) = (input.to_vec(), 1.0);
        for (i, layer) in self.layers.iter().enumerate() {
            let hidden = if i == 0 { beside } else { 0 };
            let (weight, map) = layer.map_of_features(state, &self.weights, hidden);
            before = up(before * layer.growth::<E>(&self.weights));
            let out = layer.enclose(state, &self.weights, &at);
            if i + 1 == self.layers.len() {
                return Enclosure::layered(out, before, weight, map);
            }
            let mut slopes = vec![0.0_f64; map.outputs];
            let each = out.into_iter().enumerate().map(|(k, v)| {
                let (value, slope) = self.activation.enclose(v);
                slopes[k % map.outputs] = slopes[k % map.outputs].max(slope);
                value
            });
            at = each.collect();
            before = up(before * norm::scaled(&weight, map, |row| slopes[row]));
        }
        Enclosure::unknown(at.len(), f64::INFINITY)
    }

    /// On everything the norm is the product of those of the layers and of the activations' constants.
    fn add_norm_slopes(
        &self,
        state: &State<E>,
        beside: usize,
        slopes: &mut Slopes<E>,
        by_log: impl Fn(f64) -> f64,
    ) -> bool {
        let (mut whole, mut directions) = (1.0, Vec::with_capacity(self.layers.len()));
        for (i, layer) in self.layers.iter().enumerate() {
            let hidden = if i == 0 { beside } else { 0 };
            let (weight, map) = layer.map_of_features(state, &self.weights, hidden);
            let (bound, direction) = norm::norm_and_direction(&weight, map);
            whole *= bound * if i == 0 { 1.0 } else { self.activation.lipschitz() };
            directions.push(direction);
        }
        // At zero, where it has a kink, nothing pulls.
        let by = if whole > 0.0 { by_log(whole) } else { 0.0 };
        for (layer, direction) in self.layers.iter().zip(directions).filter(|_| by != 0.0) {
            let gradient = self.weights.slopes(slopes, layer.weight());
            gradient.iter_mut().zip(direction).for_each(|(g, v)| *g += E::of(by * v));
        }
        true
    }

    fn mean_value(&self, state: &State<E>, cell: &Cell) -> Option<MeanValue> {
        let mut at = Tangents::of(cell);
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                at.bend(self.activation);
            }
            at.layer(layer, &self.weights, state);
        }
        Some(at.finish())
    }

    fn is_lipschitz(&self) -> bool {
        true
    }

    fn lipschitz(&self) -> f64 {
        self.weights.lipschitz()
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.weights.prepare(values, derived);
        Ok(())
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.weights.finish(state, derived_gradient, gradient);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        passes: [flow_cuda::Slot; 2],
        products: [flow_cuda::Slot; 2],
    ) -> Result<Vec<flow_cuda::Op>> {
        self.record(to, passes, products)
    }

    #[cfg(feature = "cuda")]
    fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
        self.weights.lower_weights(to);
    }

    fn forward(&self, pass: &mut Pass<'_, E>, input: &[E], output: &mut [E]) -> Result<()> {
        let (last, hidden) = self.split();
        let mut below = pass.take_copy(input);
        for layer in hidden {
            let mut above = pass.take(pass.rows() * layer.outputs());
            layer.apply(pass, &self.weights, &below, &mut above);
            pass.save_or_give(below);
            self.activation.apply_saving(pass, &mut above, layer.bias(pass));
            below = above;
        }
        last.apply_with_bias(pass, &self.weights, &below, output);
        pass.save_or_give(below);
        Ok(())
    }

    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()> {
        let mut gradient = pass.take_copy(output_gradient);
        self.split().0.add_bias_gradient(pass, &gradient);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let below = pass.restore();
            layer.add_weight_gradient(pass, &self.weights, &below, &gradient);
            if i == 0 {
                layer.apply_transposed(pass, &self.weights, &gradient, input_gradient);
                pass.give(below);
            } else {
                // What the layer read is no longer needed: its gradient takes the place.
                let mut by_input = below;
                layer.apply_transposed(pass, &self.weights, &gradient, &mut by_input);
                let slopes = pass.restore();
                self.layers[i - 1].bend_back(pass, &mut by_input, &slopes);
                pass.give(slopes);
                pass.give(std::mem::replace(&mut gradient, by_input));
            }
        }
        pass.give(gradient);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
#[path = "feed_forward_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "feed_forward_tests.rs"]
mod tests;
