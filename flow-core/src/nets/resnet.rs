use super::attention::Attention;
use super::layer::{check_hidden, window, Layer, Place};
use super::tangents::Tangents;
use super::weights::Weights;
use super::{Activation, Conditioner, LastLayer, NetOptions};
use crate::backend::cpu::elementwise::{add, multiply_by};
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::limit::Part;
use crate::lipschitz::{Cell, Enclosure, Interval, MeanValue, Slopes};
use crate::{FlowError, Result, Scalar, Shape};

mod enclosure;
mod jacobian;
#[cfg(feature = "cuda")]
mod jacobian_lowering;
mod slopes;

/// A residual net: a linear layer, blocks `x + second(act(first(act(x))))`, a linear layer. On
/// images the blocks' layers are 3×3 convolutions with zero padding, the two others 1×1.
///
/// This is nflows' `ResidualNet`, but for the start of the blocks, which is PyTorch's default here.
/// Parameters stand under `net.`: `net.initial.weight`, `net.0.0.weight` and `net.0.1.weight` for the
/// first block's layers, `net.final.weight`, and so the biases, of shapes and starts as in
/// [`FeedForward`](super::FeedForward).
///
/// With attention each block's branch is gated before it is added: channel by channel, by what two
/// more linear layers, `net.0.attention.0` from h to max(1, ⌊h/4⌋) numbers and `net.0.attention.1`
/// back, make of the channels' means over the image. On vectors the features are gated in that way,
/// and a feature's mean is itself. Between the two stands the net's own activation. A net with
/// attention has no Lipschitz constant, and its Jacobian is not available.
#[derive(Clone, Debug)]
pub struct ResNet {
    initial: Layer,
    blocks: Vec<Block>,
    last: Layer,
    /// Channels between the layers.
    hidden: usize,
    activation: Activation,
    weights: Weights,
}

#[derive(Clone, Debug)]
struct Block {
    first: Layer,
    second: Layer,
    attention: Option<Attention>,
}

impl ResNet {
    /// A net on vectors or images, with that many blocks on `hidden` features.
    ///
    /// # Errors
    /// [`FlowError::Option`] for no blocks or no hidden features, for a Lipschitz constant that is
    /// not a finite number above 0, and for one beside attention.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        inputs: Shape,
        outputs: usize,
        last: LastLayer<'_>,
        blocks: usize,
        hidden: usize,
        activation: Activation,
        attention: bool,
        options: NetOptions,
    ) -> Result<Self> {
        if blocks == 0 {
            return Err(FlowError::option("blocks", blocks, "at least 1"));
        }
        check_hidden(&[hidden])?;
        if let (true, Some(constant)) = (attention, options.lipschitz) {
            let expected = "none beside attention, which has no bound";
            return Err(FlowError::option("lipschitz", constant, expected));
        }
        let windowed = |kernel| inputs.sides().map(|sides| window(kernel, sides)).transpose();
        let (pixel, square) = (windowed(1)?, windowed(3)?);
        let pixels = inputs.sides().map_or(1, |(height, width)| height * width);
        let mut weights = Weights::new(options);
        let layer = |b: &mut Builder<E>, weights: &mut Weights, name, sizes, window, last| {
            let place = Place { window, last };
            b.scope::<Layer>(name, |b| Layer::new(b, weights, sizes, place, None))
        };
        builder.scope("net", |builder| {
            let sizes = (inputs.features(), hidden);
            let initial = layer(builder, &mut weights, "initial", sizes, pixel, None);
            let sizes = (hidden, hidden);
            let each = (0..blocks).map(|i| {
                builder.scope(i, |b| Block {
                    first: layer(b, &mut weights, "0", sizes, square, None),
                    second: layer(b, &mut weights, "1", sizes, square, None),
                    attention: attention.then(|| {
                        let weights = &mut weights;
                        b.scope("attention", |b| {
                            Attention::new(b, weights, (pixels, hidden), activation)
                        })
                    }),
                })
            });
            let each: Vec<Block> = each.collect();
            let (sizes, start) = ((hidden, outputs), options.last(last));
            let last = layer(builder, &mut weights, "final", sizes, pixel, start);

            let gain = activation.lipschitz() * activation.lipschitz();
            let skip = |i| Part::Skip { weights: vec![1 + 2 * i, 2 + 2 * i], gain };
            let ends = [0, 1 + 2 * blocks].map(|weight| Part::Layer { weight, gain: 1.0 });
            weights.limit(builder, ends.into_iter().chain((0..blocks).map(skip)).collect())?;
            weights.keep_turned(builder);
            Ok(Self { initial, blocks: each, last, hidden, activation, weights })
        })
    }
}

impl<E: Scalar> Conditioner<E> for ResNet {
    fn inputs(&self) -> usize {
        self.initial.inputs()
    }

    fn outputs(&self) -> usize {
        self.last.outputs()
    }

    fn enclose(&self, state: &State<E>, input: &[Interval], beside: usize) -> Enclosure {
        self.on_box(state, input, beside)
    }

    fn add_norm_slopes(
        &self,
        state: &State<E>,
        beside: usize,
        slopes: &mut Slopes<E>,
        by_log: impl Fn(f64) -> f64,
    ) -> bool {
        self.add_slopes(state, beside, slopes, by_log)
    }

    fn mean_value(&self, state: &State<E>, cell: &Cell) -> Option<MeanValue> {
        let mut sum = Tangents::of(cell);
        sum.layer(&self.initial, &self.weights, state);
        for block in &self.blocks {
            if block.attention.is_some() {
                return None;
            }
            let mut branch = sum.clone();
            for layer in [&block.first, &block.second] {
                branch.bend(self.activation);
                branch.layer(layer, &self.weights, state);
            }
            sum.add(&branch);
        }
        sum.layer(&self.last, &self.weights, state);
        Some(sum.finish())
    }

    fn is_lipschitz(&self) -> bool {
        self.blocks.iter().all(|block| block.attention.is_none())
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
        let weights = &self.weights;
        if pass.saving() {
            let copy = pass.take_copy(input);
            pass.save(copy);
        }
        let mut sum = pass.take(pass.rows() * self.initial.outputs());
        self.initial.apply_with_bias(pass, weights, input, &mut sum);
        for block in &self.blocks {
            let mut outer = pass.take_copy(&sum);
            self.activation.apply_saving(pass, &mut outer, &[]);
            let mut inner = pass.take(outer.len());
            block.first.apply(pass, weights, &outer, &mut inner);
            pass.save_or_give(outer);
            self.activation.apply_saving(pass, &mut inner, block.first.bias(pass));
            let mut branch = pass.take(inner.len());
            block.second.apply_with_bias(pass, weights, &inner, &mut branch);
            pass.save_or_give(inner);
            if let Some(attention) = &block.attention {
                attention.apply(pass, weights, &mut branch);
            }
            add(&mut sum, &branch);
            pass.give(branch);
        }
        self.last.apply_with_bias(pass, weights, &sum, output);
        pass.save_or_give(sum);
        Ok(())
    }

    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()> {
        let weights = &self.weights;
        let sum = pass.restore();
        self.last.add_weight_gradient(pass, weights, &sum, output_gradient);
        self.last.add_bias_gradient(pass, output_gradient);
        // What a layer read is no longer needed: its gradient takes the place.
        let mut gradient = sum;
        self.last.apply_transposed(pass, weights, output_gradient, &mut gradient);
        for block in self.blocks.iter().rev() {
            let mut branch = pass.take_copy(&gradient);
            if let Some(attention) = &block.attention {
                attention.vjp(pass, weights, &mut branch);
            }
            for layer in [&block.second, &block.first] {
                let read = pass.restore();
                layer.add_weight_gradient(pass, weights, &read, &branch);
                layer.add_bias_gradient(pass, &branch);
                let mut below = read;
                layer.apply_transposed(pass, weights, &branch, &mut below);
                let slopes = pass.restore();
                multiply_by(&mut below, &slopes);
                pass.give(slopes);
                pass.give(std::mem::replace(&mut branch, below));
            }
            add(&mut gradient, &branch);
            pass.give(branch);
        }
        let input = pass.restore();
        self.initial.add_weight_gradient(pass, weights, &input, &gradient);
        self.initial.add_bias_gradient(pass, &gradient);
        self.initial.apply_transposed(pass, weights, &gradient, input_gradient);
        pass.give(input);
        pass.give(gradient);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
#[path = "resnet_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "resnet_tests.rs"]
mod tests;
