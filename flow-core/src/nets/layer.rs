use std::borrow::Cow;

use super::weights::{Mask, Weights};
use super::NetOptions;
use crate::backend::cpu::convolution::Window;
use crate::backend::cpu::elementwise::{add, add_rows, multiply_and_add_rows, multiply_by};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Builder, Parameter, Pass, Start, State};
use crate::lipschitz::norm::{self, Map};
use crate::lipschitz::{affine, up, Interval, IntervalMatrix};
use crate::nets::LastLayer;
use crate::Scalar;

/// A linear layer, or a convolution with zero padding: a matrix times the patches of each image.
///
/// Buffers hold one or more images after the other; a vector is an image of one pixel. The
/// functions come in parts so that tangents, which see no bias, can use them too.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    weight: usize,
    bias: Parameter,
    map: Map,
}

/// Where a layer stands in its net.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// A linear layer, or a convolution of that window.
    pub(crate) window: Option<Window>,
    /// How it starts where it is the last layer.
    pub(crate) last: Option<LastLayer<'a>>,
}

impl Layer {
    /// A layer under the open path, with its weight in `weights`.
    pub(crate) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        weights: &mut Weights,
        (inputs, outputs): (usize, usize),
        place: Place<'_>,
        mask: Option<Mask<'_>>,
    ) -> Self {
        let window = place.window.unwrap_or(Window::POINT);
        let map = Map { outputs, inputs, window, image: place.window.is_some() };
        let limit = 1.0 / ((inputs * window.taps()).max(1) as f64).sqrt();
        let zero = |row| place.last.and_then(|last| (last.start)(row));
        let start = |row| if zero(row).is_some() { 0.0 } else { limit };
        let weight = weights.add(builder, map, start, mask);
        let noise = builder.noise("bias");
        let bias = (0..outputs).map(|row| match zero(row) {
            Some(bias) => E::of(bias),
            None => E::of((2.0 * noise.uniform(row as u64) - 1.0) * limit),
        });
        let bias = Start::Values(bias.collect());
        let bias = builder.parameter("bias", &[outputs], bias);
        Self { weight, bias, map }
    }

    /// Numbers of an image that it reads.
    pub(crate) fn inputs(&self) -> usize {
        self.map.inputs * self.map.window.pixels()
    }

    /// Numbers of an image that it writes.
    pub(crate) fn outputs(&self) -> usize {
        self.map.outputs * self.map.window.pixels()
    }

    /// Its bias, one number for each output of a pixel.
    pub(crate) fn bias<'a, E: Scalar>(&self, pass: &Pass<'a, E>) -> &'a [E] {
        pass.parameter(&self.bias)
    }

    /// Where that lies.
    pub(crate) fn bias_slot(&self) -> &Parameter {
        &self.bias
    }

    /// The index of its weight.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn matrix<'a, E: Scalar>(
        &self,
        pass: &Pass<'a, E>,
        weights: &Weights,
    ) -> Matrix<'a, E> {
        let columns = self.map.inputs * self.map.window.taps();
        Matrix::new(weights.used(pass.state(), self.weight), self.map.outputs, columns)
    }

    /// The weight's transpose, as [`Weights::turned`].
    fn turned<'a, E: Scalar>(&self, pass: &Pass<'a, E>, weights: &Weights) -> Option<Cow<'a, [E]>> {
        weights.turned(pass.state(), self.weight)
    }

    /// `output = W·input`, without the bias.
    pub(crate) fn apply<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        input: &[E],
        output: &mut [E],
    ) {
        if self.map.scatters() {
            return self.scatter(pass, weights, input, output);
        }
        let window = self.map.window;
        let columns = self.map.inputs * window.taps();
        let turned = self.turned(pass, weights);
        let weight = match &turned {
            Some(turned) => Matrix::new(turned, columns, self.map.outputs),
            None => self.matrix(pass, weights).t(),
        };
        if window.kernel == 1 {
            let pixels = output.len() / self.map.outputs;
            let input = Matrix::new(input, pixels, self.map.inputs);
            return multiply(output, Into::Replace, input, weight);
        }
        let mut patches = pass.take(window.pixels() * columns);
        let images = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.outputs()));
        for (image, out) in images {
            window.patches(image, &mut patches);
            let patches = Matrix::new(&patches, window.pixels(), columns);
            multiply(out, Into::Replace, patches, weight);
        }
        pass.give(patches);
    }

    /// The weight in f64, and what it does.
    pub(crate) fn linear_map<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
    ) -> (Vec<f64>, Map) {
        let weight = weights.used(state, self.weight);
        (weight.iter().map(|v| v.as_f64()).collect(), self.map)
    }

    /// The weight and what it does, with zeros in the columns of the last `beside` inputs of a pixel.
    pub(crate) fn map_of_features<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
        beside: usize,
    ) -> (Vec<f64>, Map) {
        let (mut weight, map) = self.linear_map(state, weights);
        let seen = map.inputs.saturating_sub(beside);
        let entries = weight.iter_mut().enumerate();
        entries.filter(|(k, _)| k % map.inputs >= seen).for_each(|(_, w)| *w = 0.0);
        (weight, map)
    }

    /// By how much the norm of the true weight can exceed that of the one that is used: a factor.
    pub(crate) fn growth<E: Scalar>(&self, weights: &Weights) -> f64 {
        up(1.0 + up(self.map.spread() * weights.rounding::<E>(self.weight)))
    }

    /// An upper bound of the norm of the weight, with rows scaled by numbers of at least 0, one for
    /// each output of a pixel.
    pub(crate) fn norm<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
        rows: impl Fn(usize) -> f64,
    ) -> f64 {
        let (weight, map) = self.linear_map(state, weights);
        up(norm::scaled(&weight, map, rows) * self.growth::<E>(weights))
    }

    /// All outputs on a box of inputs, the bias included.
    pub(crate) fn enclose<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
        input: &[Interval],
    ) -> Vec<Interval> {
        let (weight, Map { outputs, inputs, window, .. }) = self.linear_map(state, weights);
        let bias = state.values.parameter(&self.bias);
        let columns = inputs * window.taps();
        // A weight is as far off as its input would be.
        let share = weights.rounding::<E>(self.weight);
        let input: Vec<Interval> = input.iter().map(|v| v.widened(share)).collect();
        // Places of the patches' entries in the image, counted from 1; 0 outside.
        let places: Vec<usize> = (1..=self.inputs()).collect();
        let mut patches = vec![0; window.pixels() * columns];
        window.patches(&places, &mut patches);
        let mut all = Vec::with_capacity(self.outputs());
        let mut patch = vec![Interval::ZERO; columns];
        for pixel in 0..window.pixels() {
            let places = &patches[pixel * columns..][..columns];
            for (side, &place) in patch.iter_mut().zip(places) {
                *side = if place == 0 { Interval::ZERO } else { input[place - 1] };
            }
            let out = affine(|i, j| weight[i * columns + j], outputs, &patch, |i| bias[i].as_f64());
            all.extend(out);
        }
        all
    }

    /// [`apply`](Self::apply) to each row of an interval matrix.
    pub(crate) fn carry<E: Scalar>(
        &self,
        state: &State<E>,
        weights: &Weights,
        rows: &IntervalMatrix,
    ) -> IntervalMatrix {
        let (weight, Map { outputs, inputs, window, .. }) = self.linear_map(state, weights);
        let columns = inputs * window.taps();
        // As columns.
        let middle: Vec<f64> =
            (0..weight.len()).map(|i| weight[i % outputs * columns + i / outputs]).collect();
        let share = weights.rounding::<E>(self.weight);
        let radius = match share == 0.0 {
            true => vec![0.0; weight.len()],
            false => middle.iter().map(|w| up(share * w.abs())).collect(),
        };
        let weight = IntervalMatrix::around(columns, outputs, middle, radius);
        let count = rows.rows();
        if window.kernel == 1 {
            let (middle, radius) = (rows.middles().to_vec(), rows.radii().to_vec());
            let pixels = count * window.pixels();
            let out = IntervalMatrix::around(pixels, inputs, middle, radius).times(&weight);
            return out.reshaped(count, self.outputs());
        }
        let patches = |from: &[f64]| -> Vec<f64> {
            let mut all = vec![0.0; count * window.pixels() * columns];
            let images = from.chunks_exact(self.inputs());
            let each = all.chunks_exact_mut(window.pixels() * columns);
            images.zip(each).for_each(|(image, patches)| window.patches(image, patches));
            all
        };
        let (middle, radius) = (patches(rows.middles()), patches(rows.radii()));
        let all = IntervalMatrix::around(count * window.pixels(), columns, middle, radius);
        all.times(&weight).reshaped(count, self.outputs())
    }

    /// The bias at every pixel.
    pub(crate) fn bias_at<'a, E: Scalar>(
        &self,
        state: &'a State<E>,
    ) -> impl Iterator<Item = f64> + 'a {
        state.values.parameter(&self.bias).iter().map(|b| b.as_f64()).cycle()
    }

    /// [`apply`](Self::apply), then the bias.
    pub(crate) fn apply_with_bias<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        input: &[E],
        output: &mut [E],
    ) {
        self.apply(pass, weights, input, output);
        let bias = self.bias(pass);
        output.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias));
    }

    /// `input = Wᵀ·output`.
    pub(crate) fn apply_transposed<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        output: &[E],
        input: &mut [E],
    ) {
        let weight = self.matrix(pass, weights);
        let window = self.map.window;
        if window.kernel == 1 {
            let pixels = output.len() / self.map.outputs;
            let output = Matrix::new(output, pixels, self.map.outputs);
            return multiply(input, Into::Replace, output, weight);
        }
        if self.map.scatters() {
            return self.scatter_transposed(pass, weights, output, input);
        }
        let (pixels, images) = (window.pixels(), output.chunks_exact(self.outputs()));
        let images = input.chunks_exact_mut(self.inputs()).zip(images);
        let mut patches = pass.take(pixels * self.map.inputs * window.taps());
        for (image, out) in images {
            image.fill(E::zero());
            let out = Matrix::new(out, pixels, self.map.outputs);
            multiply(&mut patches, Into::Replace, out, weight);
            window.add_patches(&patches, image);
        }
        pass.give(patches);
    }

    /// Adds to the gradient of the weight that of `Σ gradient · (W·input)`.
    pub(crate) fn add_weight_gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        input: &[E],
        gradient: &[E],
    ) {
        if !pass.learning() {
            return;
        }
        let window = self.map.window;
        let (outputs, inputs) = (self.map.outputs, self.map.inputs);
        if window.kernel == 1 {
            let pixels = gradient.len() / outputs;
            let by_output = Matrix::new(gradient, pixels, outputs).t();
            let by_weight = weights.gradient(pass, self.weight);
            return multiply(by_weight, Into::Add, by_output, Matrix::new(input, pixels, inputs));
        }
        if self.map.scatters() {
            return self.scatter_weight_gradient(pass, weights, input, gradient);
        }
        let (pixels, columns) = (window.pixels(), inputs * window.taps());
        let images = input.chunks_exact(self.inputs()).zip(gradient.chunks_exact(self.outputs()));
        let mut patches = pass.take(pixels * columns);
        for (image, by_output) in images {
            window.patches(image, &mut patches);
            let by_output = Matrix::new(by_output, pixels, outputs).t();
            let by_weight = weights.gradient(pass, self.weight);
            let patches = Matrix::new(&patches, pixels, columns);
            multiply(by_weight, Into::Add, by_output, patches);
        }
        pass.give(patches);
    }

    /// Carries the gradient by what an activation made of the layer's output back to that by the
    /// output with its bias, and adds to the gradient of the bias.
    pub(crate) fn bend_back<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        slopes: &[E],
    ) {
        if pass.learning() {
            multiply_and_add_rows(pass.gradient(&self.bias), gradient, slopes);
        } else {
            multiply_by(gradient, slopes);
        }
    }

    /// Adds to the gradient of the bias.
    pub(crate) fn add_bias_gradient<E: Scalar>(&self, pass: &mut Pass<'_, E>, gradient: &[E]) {
        if pass.learning() {
            add_rows(pass.gradient(&self.bias), gradient);
        }
    }
}

#[path = "layer_scatter.rs"]
mod scatter;

#[cfg(feature = "cuda")]
#[path = "layer_lowering.rs"]
mod lowering;

/// The window of a convolution of that odd kernel on images of those sides.
pub(crate) fn window(kernel: usize, (height, width): (usize, usize)) -> crate::Result<Window> {
    if kernel.is_multiple_of(2) {
        let expected = "an odd side, so that the output is as large as the input";
        return Err(crate::FlowError::option("a kernel's side", kernel, expected));
    }
    Ok(Window { kernel, height, width })
}

/// An error where a net would have a hidden layer of nothing.
pub(crate) fn check_hidden(hidden: &[usize]) -> crate::Result<()> {
    match hidden.iter().position(|&width| width == 0) {
        None => Ok(()),
        Some(i) => {
            Err(crate::FlowError::option(format!("width of hidden layer {i}"), 0, "at least 1"))
        }
    }
}

impl NetOptions {
    /// The last layer as it starts under these options.
    pub(crate) fn last<'a>(self, last: LastLayer<'a>) -> Option<LastLayer<'a>> {
        self.zero_init.then_some(last)
    }
}
