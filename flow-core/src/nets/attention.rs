use super::layer::{Layer, Place};
use super::weights::Weights;
use super::Activation;
use crate::backend::cpu::elementwise::{add_rows, multiply_by, multiply_each, sigmoid};
use crate::engine::{Builder, Pass, State};
use crate::lipschitz::{up, Interval};
use crate::Scalar;

/// Channel attention (Hu, Shen and Sun 2018, "Squeeze-and-excitation networks"): each channel of an
/// image times a gate between 0 and 1, which two linear layers and a logistic function make of the
/// means of all channels. A vector is an image of one pixel.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    squeeze: Layer,
    excite: Layer,
    activation: Activation,
    /// Numbers of an image.
    image: usize,
}

impl Attention {
    /// So many times fewer numbers stand between the two layers than there are channels.
    const REDUCTION: usize = 4;

    /// Layers `0` and `1` under the open path.
    pub(super) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        weights: &mut Weights,
        (pixels, channels): (usize, usize),
        activation: Activation,
    ) -> Self {
        let between = (channels / Self::REDUCTION).max(1);
        let mut layer = |name, sizes| {
            let place = Place { window: None, last: None };
            builder.scope(name, |b| Layer::new(b, weights, sizes, place, None))
        };
        let squeeze = layer(0, (channels, between));
        let excite = layer(1, (between, channels));
        Self { squeeze, excite, activation, image: pixels * channels }
    }

    /// Gates the images in `values`.
    pub(super) fn apply<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        values: &mut [E],
    ) {
        let (rows, channels, image) = (pass.rows(), self.squeeze.inputs(), self.image);
        let mut means = pass.take_zeroed(rows * channels);
        let share = E::of(channels as f64 / image as f64);
        for (mean, image) in means.chunks_exact_mut(channels).zip(values.chunks_exact(image)) {
            add_rows(mean, image);
            mean.iter_mut().for_each(|v| *v *= share);
        }
        let mut between = pass.take(rows * self.squeeze.outputs());
        self.squeeze.apply(pass, weights, &means, &mut between);
        self.activation.apply_saving(pass, &mut between, self.squeeze.bias(pass));
        pass.save_or_give(means);
        let mut gates = pass.take(rows * channels);
        self.excite.apply_with_bias(pass, weights, &between, &mut gates);
        gates.iter_mut().for_each(|v| *v = sigmoid(*v));
        pass.save_or_give(between);
        if pass.saving() {
            let copy = pass.take_copy(values);
            pass.save(copy);
        }
        multiply_each(values, &gates, channels);
        pass.save_or_give(gates);
    }

    /// Gates the images of a box, and returns a bound of the gated images' Jacobian from one of the
    /// images' own.
    ///
    /// A gated image moves with its own change at most by the largest gate, and with its gates by
    /// their own change at most as much as the largest norm of a channel over all pixels. The mean of
    /// p pixels has the norm 1/√p.
    pub(super) fn enclose<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
        image: &mut [Interval],
        jacobian: f64,
    ) -> f64 {
        let channels = self.squeeze.inputs();
        let share = (Interval::point(self.image as f64) / Interval::point(channels as f64)).recip();
        let (mut means, mut squares) = (vec![Interval::ZERO; channels], vec![0.0; channels]);
        for (i, &v) in image.iter().enumerate() {
            means[i % channels] = means[i % channels] + v;
            squares[i % channels] = up(squares[i % channels] + v.square().high);
        }
        means.iter_mut().for_each(|mean| *mean = *mean * share);
        let raw = self.squeeze.enclose(state, weights, &means);
        let (between, slopes): (Vec<_>, Vec<_>) =
            raw.into_iter().map(|v| self.activation.enclose(v)).unzip();
        let raw = self.excite.enclose(state, weights, &between);
        let (mut widest, mut by_gates) = (0.0_f64, vec![0.0; channels]);
        for (channel, &raw) in raw.iter().enumerate() {
            let gate = raw.sigmoid();
            widest = widest.max(gate.high);
            let slope = (gate * (-raw).sigmoid()).high;
            by_gates[channel] =
                if slope == 0.0 { 0.0 } else { up(slope * squares[channel].sqrt().next_up()) };
            let all = image.iter_mut().skip(channel).step_by(channels);
            all.for_each(|v| *v = *v * gate);
        }
        if jacobian == 0.0 {
            return 0.0;
        }
        let squeeze = self.squeeze.norm(state, weights, |row| slopes[row]);
        let excite = self.excite.norm(state, weights, |row| by_gates[row]);
        let gates = up(up(squeeze * excite) * share.high.sqrt().next_up());
        up(jacobian * up(widest + gates))
    }

    /// From the gradient by what [`apply`](Self::apply) wrote to that by what it read.
    pub(super) fn vjp<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        gradient: &mut [E],
    ) {
        let (gates, values) = (pass.restore(), pass.restore());
        let (channels, image) = (self.squeeze.inputs(), self.image);
        let mut by_gate = pass.take_zeroed(gates.len());
        let images = gradient.chunks_exact(image).zip(values.chunks_exact(image));
        for (by, (gradient, values)) in by_gate.chunks_exact_mut(channels).zip(images) {
            let pixels = gradient.chunks_exact(channels).zip(values.chunks_exact(channels));
            for (gradient, values) in pixels {
                let each = by.iter_mut().zip(gradient).zip(values);
                each.for_each(|((by, &g), &v)| *by += g * v);
            }
        }
        for (by, &gate) in by_gate.iter_mut().zip(gates.iter()) {
            *by *= gate * (E::one() - gate);
        }
        multiply_each(gradient, &gates, channels);

        let between = pass.restore();
        self.excite.add_weight_gradient(pass, weights, &between, &by_gate);
        self.excite.add_bias_gradient(pass, &by_gate);
        let mut by_between = between;
        self.excite.apply_transposed(pass, weights, &by_gate, &mut by_between);
        let (means, slopes) = (pass.restore(), pass.restore());
        multiply_by(&mut by_between, &slopes);
        self.squeeze.add_weight_gradient(pass, weights, &means, &by_between);
        self.squeeze.add_bias_gradient(pass, &by_between);
        let mut by_mean = means;
        self.squeeze.apply_transposed(pass, weights, &by_between, &mut by_mean);
        let share = E::of(channels as f64 / image as f64);
        for (image, by_mean) in gradient.chunks_exact_mut(image).zip(by_mean.chunks_exact(channels))
        {
            for pixel in image.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(by_mean).for_each(|(v, &by)| *v += share * by);
            }
        }
        for buffer in [gates, values, by_gate, by_between, slopes, by_mean] {
            pass.give(buffer);
        }
    }
}

#[cfg(feature = "cuda")]
#[path = "attention_lowering.rs"]
mod lowering;
