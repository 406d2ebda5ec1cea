use super::{Activation, Conditioner, LastLayer};
use crate::backend::cpu::elementwise::{add_bias, add_rows, multiply_by};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Builder, Parameter, Pass, Start, State, Values};
use crate::lipschitz::limit::Limit;
use crate::{FlowError, Result, Scalar};

/// What a net may have beside its layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MlpOptions {
    /// Starts the last layer at zero where the block asks for it, so that the block starts near
    /// the identity.
    pub zero_init: bool,
    /// A Lipschitz constant that the whole net keeps at every weight: where the product of the
    /// certified norms of its n weights and of its activations' constants is P > c, every weight is
    /// used times (c/P)^(1/n).
    pub lipschitz: Option<f64>,
}

impl Default for MlpOptions {
    fn default() -> Self {
        Self { zero_init: true, lipschitz: None }
    }
}

/// Linear layers with an activation between them.
///
/// Parameters: `0.weight` \[out, in\], `0.bias` \[out\], `1.weight`, … under the scope that the block
/// opens. They start uniform on ±1/√in, PyTorch's default, but for a last layer that starts at
/// zero.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    activation: Activation,
    limit: Option<Limit>,
}

#[derive(Clone, Debug)]
struct Layer {
    weight: Parameter,
    bias: Parameter,
    inputs: usize,
    outputs: usize,
}

impl Mlp {
    /// A net from `inputs` to `outputs` numbers over hidden layers of those widths.
    ///
    /// # Errors
    /// [`FlowError::Option`] for a hidden layer of width 0, and for a Lipschitz constant that is
    /// not a finite number above 0.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        inputs: usize,
        outputs: usize,
        last: LastLayer<'_>,
        hidden: &[usize],
        activation: Activation,
        options: MlpOptions,
    ) -> Result<Self> {
        if let Some(i) = hidden.iter().position(|&width| width == 0) {
            return Err(FlowError::option(format!("width of hidden layer {i}"), 0, "at least 1"));
        }
        let widths: Vec<usize> =
            [inputs].into_iter().chain(hidden.iter().copied()).chain([outputs]).collect();
        let zero = last.zero && options.zero_init;
        let layers: Vec<Layer> = widths
            .windows(2)
            .enumerate()
            .map(|(i, pair)| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let limit = 1.0 / (inputs.max(1) as f64).sqrt();
                let (weight, bias) = if zero && i + 2 == widths.len() {
                    let bias = (0..outputs).map(|output| E::of((last.bias)(output))).collect();
                    (Start::Constant(0.0), Start::Values(bias))
                } else {
                    (Start::Uniform(limit), Start::Uniform(limit))
                };
                builder.scope(i, |b| Layer {
                    weight: b.parameter("weight", &[outputs, inputs], weight),
                    bias: b.parameter("bias", &[outputs], bias),
                    inputs,
                    outputs,
                })
            })
            .collect();
        let limit = match options.lipschitz {
            Some(constant) => {
                let gain = activation.lipschitz().powi(hidden.len() as i32);
                let weights = layers.iter().map(|l| (l.weight.clone(), l.outputs, l.inputs));
                Some(Limit::new(builder, constant, gain, weights)?)
            }
            None => None,
        };
        Ok(Self { layers, activation, limit })
    }

    /// The weight of a layer as it is used.
    fn weight<'a, E: Scalar>(&self, pass: &Pass<'a, E>, layer: usize) -> Matrix<'a, E> {
        let Layer { weight, outputs, inputs, .. } = &self.layers[layer];
        let weight = match &self.limit {
            Some(limit) => pass.derived(limit.used(layer)),
            None => pass.parameter(weight),
        };
        Matrix::new(weight, *outputs, *inputs)
    }

    /// Where the gradient by that is added.
    fn weight_gradient<'a, E: Scalar>(
        &self,
        pass: &'a mut Pass<'_, E>,
        layer: usize,
    ) -> &'a mut [E] {
        match &self.limit {
            Some(limit) => pass.derived_gradient(limit.used(layer)),
            None => pass.gradient(&self.layers[layer].weight),
        }
    }

    /// The last layer, and those before it.
    fn split(&self) -> (&Layer, &[Layer]) {
        let (last, hidden) = self.layers.split_last().expect("a net has at least one layer");
        (last, hidden)
    }
}

impl<E: Scalar> Conditioner<E> for Mlp {
    fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    fn outputs(&self) -> usize {
        self.split().0.outputs
    }

    fn is_lipschitz(&self) -> bool {
        true
    }

    fn lipschitz(&self) -> f64 {
        self.limit.as_ref().map_or(f64::INFINITY, Limit::constant)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        if let Some(limit) = &self.limit {
            limit.prepare(values, derived);
        }
        Ok(())
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        if let Some(limit) = &self.limit {
            limit.finish(state, derived_gradient, gradient);
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass<'_, E>, input: &[E], output: &mut [E]) -> Result<()> {
        let (last, hidden) = self.split();
        let rows = pass.rows();
        let mut below = pass.take_copy(input);
        for (i, layer) in hidden.iter().enumerate() {
            let mut above = pass.take(rows * layer.outputs);
            let at = Matrix::new(&below, rows, layer.inputs);
            multiply(&mut above, Into::Replace, at, self.weight(pass, i).t());
            let bias = pass.parameter(&layer.bias);
            pass.save_or_give(below);
            if pass.saving() {
                let mut slopes = pass.take(above.len());
                self.activation.apply_with_slope(&mut above, &mut slopes, bias);
                pass.save(slopes);
            } else {
                self.activation.apply(&mut above, bias);
            }
            below = above;
        }
        let at = Matrix::new(&below, rows, last.inputs);
        multiply(output, Into::Replace, at, self.weight(pass, hidden.len()).t());
        add_bias(output, pass.parameter(&last.bias));
        pass.save_or_give(below);
        Ok(())
    }

    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()> {
        let rows = pass.rows();
        let mut gradient = pass.take_copy(output_gradient);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let below = pass.restore();
            let by_output = Matrix::new(&gradient, rows, layer.outputs);
            let by_weight = self.weight_gradient(pass, i);
            multiply(by_weight, Into::Add, by_output.t(), Matrix::new(&below, rows, layer.inputs));
            add_rows(pass.gradient(&layer.bias), &gradient);
            let weight = self.weight(pass, i);
            if i == 0 {
                multiply(input_gradient, Into::Replace, by_output, weight);
                pass.give(below);
            } else {
                // What the layer read is no longer needed: its gradient takes the place.
                let mut by_input = below;
                multiply(&mut by_input, Into::Replace, by_output, weight);
                let slopes = pass.restore();
                multiply_by(&mut by_input, &slopes);
                pass.give(slopes);
                pass.give(std::mem::replace(&mut gradient, by_input));
            }
        }
        pass.give(gradient);
        Ok(())
    }
}

#[cfg(test)]
#[path = "mlp_tests.rs"]
mod tests;
