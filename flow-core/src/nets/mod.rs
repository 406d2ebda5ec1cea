//! Conditioners: the nets whose output steers a coupling.

use crate::engine::{Pass, State, Values};
use crate::{Result, Scalar};

mod activation;
mod dfdx_net;
mod made;
mod mlp;
#[cfg(test)]
mod testing;

pub use activation::Activation;
pub use dfdx_net::{DfdxModule, DfdxNet};
pub(crate) use made::Activations;
pub use made::Made;
pub use mlp::{Mlp, MlpOptions};

/// How the last layer of a conditioner starts.
pub struct LastLayer<'a> {
    /// Starts at zero, so that the block starts near the identity.
    pub zero: bool,
    /// The bias of each output where the layer starts at zero.
    pub bias: &'a dyn Fn(usize) -> f64,
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

    /// Whether it has a finite Lipschitz constant at each single weight.
    fn is_lipschitz(&self) -> bool {
        self.lipschitz().is_finite()
    }

    /// A Lipschitz constant for all weights, infinite where none exists.
    fn lipschitz(&self) -> f64 {
        f64::INFINITY
    }
}
