//! Base distributions: what latents are distributed as.
//!
//! A base adds its log-density to each row's log-determinant, and its gradient to that of the
//! latents. An image's latent arrives here flattened by channels, rows and columns.

use crate::engine::{Builder, Pass, State};
use crate::{Noise, Result, Scalar};

mod logistic;
mod mixture;
mod normal;
mod uniform;

pub use logistic::Logistic;
pub use mixture::Mixture;
pub use normal::Normal;
pub use uniform::Uniform;

/// A distribution over vectors of some size, with trained parameters or none.
pub trait Base<E: Scalar>: Send + Sync + Sized + 'static {
    /// As it stands in `#[base(...)]`.
    fn name() -> String;

    /// A base for latents of `size` numbers. Its parameters stand under `base.`.
    ///
    /// # Errors
    /// A size or an option that it does not take.
    fn new(builder: &mut Builder<E>, size: usize) -> Result<Self>;

    /// Adds `log p(z)` in nats of each row to `out`: −∞ outside the support.
    fn log_prob(&self, pass: &mut Pass<'_, E>, z: &[E], out: &mut [E]);

    /// Adds `weights[row] · ∂ log p(z)/∂z` to `gradient`, and the parameters' gradients.
    fn log_prob_vjp(&self, pass: &mut Pass<'_, E>, z: &[E], weights: &[E], gradient: &mut [E]);

    /// Records the log-density of [`Lowering::x`](crate::cuda::Lowering::x), whose number `i` of a
    /// latent stands at `entries[i]` of a row, and returns its product.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), as without code of its own.
    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        entries: &[usize],
    ) -> Result<Vec<flow_cuda::Op>> {
        let _ = entries;
        Err(to.unsupported(Some(&format!("the base distribution `{}`", Self::name()))))
    }

    /// Records samples of the stream in `stream`, as
    /// [`normals`](flow_cuda::kernels::noise::normals) reads one, in the place of the batch. False
    /// where it has no kernels for that: the samples are then drawn on the CPU.
    #[cfg(feature = "cuda")]
    fn lower_samples(&self, to: &mut crate::cuda::Lowering<E>, stream: flow_cuda::Slot) -> bool {
        let _ = (to, stream);
        false
    }

    /// Fills `out` with samples: row `i` of it is sample `first + i` of the stream. A temperature
    /// scales the spread of each component around its centre: 1 is the distribution itself.
    fn sample(
        &self,
        state: &State<E>,
        noise: &Noise,
        first: usize,
        temperature: f64,
        out: &mut [E],
    );
}
