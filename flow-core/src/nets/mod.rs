//! Conditioners: the nets whose output steers a coupling, or is one with its input in a residual
//! or continuous block.
//!
//! A constructor takes the [`Builder`](crate::Builder), the shape of its input (features that it
//! sees and context; at every pixel of an image), the number of its outputs (at every pixel), and
//! how its last layer starts. Its parameters stand under `net.`.

use crate::engine::{Pass, Scratch, State, Values};
use crate::lipschitz::{Cell, Enclosure, Interval, MeanValue, Slopes};
use crate::{Result, Scalar};

mod activation;
mod activation_slopes;
mod attention;
mod dfdx_net;
mod feed_forward;
mod layer;
#[cfg(feature = "cuda")]
mod linearized;
mod made;
mod mexican_hat;
mod resnet;
mod tangents;
#[cfg(test)]
mod testing;
mod weights;

pub use activation::Activation;
pub use dfdx_net::{DfdxModule, DfdxNet};
pub use feed_forward::FeedForward;
#[cfg(feature = "cuda")]
pub use linearized::{Linearized, Pairs};
pub use made::Made;
pub(crate) use made::{Activations, Enclosed};
pub use mexican_hat::MexicanHat;
pub use resnet::ResNet;

/// How the outputs of a conditioner's last layer start.
#[derive(Clone, Copy)]
pub struct LastLayer<'a> {
    /// For an output of a pixel, the bias beside weights of zero, so that the block starts near the
    /// identity; none for an output whose weights start at random.
    pub start: &'a dyn Fn(usize) -> Option<f64>,
}

/// What a net may have beside its layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetOptions {
    /// Starts the last layer as the block asks for, so that the block starts near the identity: with
    /// weights of zero and biases of the block's, but for outputs that the block wants random.
    /// Otherwise it starts at random like the others.
    pub zero_init: bool,
    /// A Lipschitz constant that the whole net keeps at every weight: where the product P of the
    /// certified norms of its weights and of its activations' constants is more, the weights of the
    /// n layers that everything passes are used times (c/P)^(1/n). A residual net's blocks have a
    /// way past them: with layers a and b between activations of constant L each stands in P as
    /// 1 + L²·‖a‖·‖b‖, and n is 2.
    pub lipschitz: Option<f64>,
    /// Trains direction and length of each row of a weight apart: `W = g·v/‖v‖` with `weight_g`
    /// `[out]` and `weight_v`, of the weight's shape (Salimans and Kingma 2016, "Weight
    /// normalization"). v starts as the weight would at random, g at ‖v‖ or, of an output that starts
    /// at zero, at 0.
    pub weight_norm: bool,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self { zero_init: true, lipschitz: None, weight_norm: false }
    }
}

/// A net from rows of `inputs` numbers to rows of `outputs` numbers, on plain buffers.
pub trait Conditioner<E: Scalar>: Send + Sync + 'static {
    /// Numbers a row of its input: the features that pass, then the context.
    fn inputs(&self) -> usize;

    /// Numbers a row of its output.
    fn outputs(&self) -> usize;

    /// Evaluates the net on `pass.rows()` rows, and [saves](Pass::save) what its product needs when
    /// [`saving`](Pass::saving).
    fn forward(&self, pass: &mut Pass<'_, E>, input: &[E], output: &mut [E]) -> Result<()>;

    /// The vector-Jacobian product: `output_gradient` may be used up, `input_gradient` is
    /// overwritten, parameters' gradients are added to the pass.
    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()>;

    /// As [`Block::prepare`](crate::Block::prepare).
    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let _ = (values, derived);
        Ok(())
    }

    /// As [`Block::finish`](crate::Block::finish).
    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        let _ = (state, derived_gradient, gradient);
        Ok(())
    }

    /// Records the net as kernels for a GPU, from `input` to `output`, and returns its product, which
    /// reads `by_output` and overwrites `by_input`: rows of numbers in each.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), as without code of its own.
    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        [input, output]: [flow_cuda::Slot; 2],
        [by_output, by_input]: [flow_cuda::Slot; 2],
    ) -> Result<Vec<flow_cuda::Op>> {
        let _ = (input, output, by_output, by_input);
        Err(to.unsupported(Some("its net")))
    }

    /// As [`Block::lower_weights`](crate::Block::lower_weights).
    #[cfg(feature = "cuda")]
    fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
        to.weights_on_cpu();
    }

    /// All outputs on a box of inputs, with a bound of the Jacobian there by the inputs but the last
    /// `beside` of each pixel (the context).
    fn enclose(&self, state: &State<E>, input: &[Interval], beside: usize) -> Enclosure {
        let _ = (state, input, beside);
        Enclosure::unknown(self.outputs(), self.lipschitz())
    }

    /// Adds the gradient of a function of the net's norm on everything, whose derivative by the
    /// logarithm of that norm is `by_log`, to `slopes`: by the weights that count for
    /// [`enclose`](Self::enclose). False where it cannot, as without code of its own.
    fn add_norm_slopes(
        &self,
        state: &State<E>,
        beside: usize,
        slopes: &mut Slopes<E>,
        by_log: impl Fn(f64) -> f64,
    ) -> bool
    where
        Self: Sized,
    {
        let _ = (state, beside, slopes, by_log);
        false
    }

    /// The net on a box of inputs, with its Jacobian by all of them; none where it does not know that.
    fn mean_value(&self, state: &State<E>, cell: &Cell) -> Option<MeanValue> {
        let _ = (state, cell);
        None
    }

    /// Whether it has a finite Lipschitz constant at each single weight.
    fn is_lipschitz(&self) -> bool {
        self.lipschitz().is_finite()
    }

    /// A Lipschitz constant for all weights, infinite where none exists.
    fn lipschitz(&self) -> f64 {
        f64::INFINITY
    }
}

/// A conditioner whose Jacobian `J` can be used and differentiated: what the log-determinants of
/// residual and continuous blocks are made of.
///
/// Tangents and cotangents come in the same number for each row: `rows × count × inputs` and
/// `rows × count × outputs` numbers.
pub trait Differentiable<E: Scalar>: Conditioner<E> {
    /// Evaluates the net on `pass.rows()` rows, and keeps what the other functions need: where
    /// `twice`, also for [`gradient`](Self::gradient).
    fn linearize(
        &self,
        pass: &mut Pass<'_, E>,
        input: &[E],
        output: &mut [E],
        twice: bool,
    ) -> Result<Linearization<E>>;

    /// `output = J·tangent` for each.
    fn push(&self, pass: &mut Pass<'_, E>, at: &Linearization<E>, tangents: &[E], output: &mut [E]);

    /// As [`push`](Self::push), and keeps what [`gradient`](Self::gradient) needs of the tangents.
    fn push_keeping(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) -> Pushed<E>;

    /// `input = Jᵀ·cotangent` for each.
    fn pull(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        cotangents: &[E],
        input: &mut [E],
    );

    /// The gradient of `⟨output_gradient, output⟩ + Σ ⟨cotangent, J·tangent⟩` with fixed tangents,
    /// which were pushed before, and cotangents: that by the input overwrites `input_gradient`, those
    /// of parameters are added to the pass.
    fn gradient(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: Pushed<E>,
        output_gradient: &[E],
        cotangents: &[E],
        input_gradient: &mut [E],
    );

    /// Records the net at a point on a GPU, from `input` to `output`, and keeps what the other
    /// functions need there: its Jacobian where a product follows or not, its curvature where one does.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), as without code of its own; the functions
    /// below are not called then.
    #[cfg(feature = "cuda")]
    fn lower_at(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        [input, output]: [flow_cuda::Slot; 2],
    ) -> Result<Linearized> {
        let _ = (input, output);
        Err(to.unsupported(Some("the Jacobian of its net")))
    }

    /// [`push`](Self::push) on a GPU, for `count` tangents of each row.
    #[cfg(feature = "cuda")]
    fn lower_push(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        count: usize,
        [tangents, output]: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        let _ = (to, at, count, tangents, output);
        Vec::new()
    }

    /// [`pull`](Self::pull) on a GPU, for `count` cotangents of each row.
    #[cfg(feature = "cuda")]
    fn lower_pull(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        count: usize,
        [cotangents, input]: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        let _ = (to, at, count, cotangents, input);
        Vec::new()
    }

    /// [`gradient`](Self::gradient) on a GPU, from `by_output` to `by_input`, or that of the output
    /// alone.
    #[cfg(feature = "cuda")]
    fn lower_gradient(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        [by_output, by_input]: [flow_cuda::Slot; 2],
        pairs: Option<Pairs>,
    ) -> Vec<flow_cuda::Op> {
        let _ = (to, at, by_output, by_input, pairs);
        Vec::new()
    }
}

/// What [`Differentiable::linearize`] keeps. [`release`](Self::release) gives it back.
#[derive(Debug)]
pub struct Linearization<E> {
    kept: Vec<Scratch<E>>,
}

/// What [`Differentiable::push_keeping`] keeps. [`Differentiable::gradient`] uses it up, or
/// [`release`](Self::release) gives it back.
#[derive(Debug)]
pub struct Pushed<E> {
    kept: Vec<Scratch<E>>,
}

impl<E: Scalar> Linearization<E> {
    /// Gives the memory back to the pass.
    pub fn release(self, pass: &mut Pass<'_, E>) {
        self.kept.into_iter().for_each(|buffer| pass.give(buffer));
    }

    /// Keeps it for the block's product, until the matching [`restore`](Self::restore).
    pub fn save(self, pass: &mut Pass<'_, E>) {
        save_all(pass, self.kept);
    }

    /// What was saved last.
    pub fn restore(pass: &mut Pass<'_, E>) -> Self {
        Self { kept: restore_all(pass) }
    }
}

impl<E: Scalar> Pushed<E> {
    /// Gives the memory back to the pass.
    pub fn release(self, pass: &mut Pass<'_, E>) {
        self.kept.into_iter().for_each(|buffer| pass.give(buffer));
    }

    /// Keeps it for the block's product, until the matching [`restore`](Self::restore).
    pub fn save(self, pass: &mut Pass<'_, E>) {
        save_all(pass, self.kept);
    }

    /// What was saved last.
    pub fn restore(pass: &mut Pass<'_, E>) -> Self {
        Self { kept: restore_all(pass) }
    }
}

/// Saves buffers, and above them how many they are.
fn save_all<E: Scalar>(pass: &mut Pass<'_, E>, buffers: Vec<Scratch<E>>) {
    let mut count = pass.take(1);
    count[0] = E::of(buffers.len() as f64);
    buffers.into_iter().for_each(|buffer| pass.save(buffer));
    pass.save(count);
}

fn restore_all<E: Scalar>(pass: &mut Pass<'_, E>) -> Vec<Scratch<E>> {
    let count = pass.restore();
    let mut buffers: Vec<_> = (0..count[0].as_f64() as usize).map(|_| pass.restore()).collect();
    pass.give(count);
    buffers.reverse();
    buffers
}
