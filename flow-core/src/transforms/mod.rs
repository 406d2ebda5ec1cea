//! The scalar bijections that couplings and autoregressive blocks share.
//!
//! A transform maps each transformed feature by a strictly increasing function of one variable
//! with [`parameters`](Transform::parameters) numbers that a net gives. All work on whole groups of
//! rows.

use crate::lipschitz::Interval;
use crate::{LogDet, Result, Scalar};

mod additive;
mod affine;
pub(crate) mod bins;
#[cfg(feature = "cuda")]
pub(crate) mod lowering;
mod spline;
pub(crate) mod spline_enclosure;
#[cfg(test)]
mod testing;

pub use additive::Additive;
pub use affine::{Affine, Scale};
pub use spline::Spline;

/// A strictly increasing scalar function `z = f(x; θ)`, applied to many features at once.
///
/// Buffers are row-major: `values` holds `rows × features` numbers, `parameters` holds the θ of
/// each in the same order, `log_det` one number for each row (so it tells how many rows there are).
///
/// `forward` and `inverse` may leave something else in `parameters`, of the same length, for the
/// products to start from: a spline leaves the shares of its bins instead of logits. Both products
/// take that, whole, and `x`, the data side: what went into `forward`, or came out of `inverse`.
pub trait Transform: Send + Sync + 'static {
    /// The kind of log-determinant that it has at every parameter. [`LogDet::Zero`] says that it
    /// is a translation `x + θ`.
    const LOG_DET: LogDet;

    /// Numbers that a feature takes from the net, `p`.
    fn parameters(&self) -> usize;

    /// The parameter of that index in `0..p` at which, with all others, the function is the
    /// identity or near to it.
    fn start(&self, parameter: usize) -> f64 {
        let _ = parameter;
        0.0
    }

    /// Looks at its options.
    ///
    /// # Errors
    /// [`FlowError::Option`](crate::FlowError::Option) where one is out of its range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// `x` becomes `f(x)`; adds `log f'` of each feature to its row of `log_det`.
    fn forward<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]);

    /// `z` becomes the `x` with `f(x) = z`; subtracts `log f'(x)`.
    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]);

    /// The vector-Jacobian product of `forward`: the gradient by `z` becomes that by `x`, and
    /// `parameters` becomes the gradient by the parameters.
    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    );

    /// The vector-Jacobian product of `inverse`: the gradient by `x` becomes that by `z`.
    ///
    /// With `f` and `ℓ = log f'` at the solution `x`, the implicit function theorem gives
    /// `λ = (g_x − g_ℓ·ℓ_x)/f'`, `g_z = λ` and `g_θ = −λ·f_θ − g_ℓ·ℓ_θ`.
    fn inverse_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    );

    /// Records the function as kernels for a GPU, and returns its product.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), as without code of its own.
    #[cfg(feature = "cuda")]
    fn lower<E: Scalar>(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        steered: crate::cuda::Steered,
    ) -> Result<Vec<flow_cuda::Op>> {
        let _ = steered;
        Err(to.unsupported(Some("its transform")))
    }

    /// The function on an interval of data, or of latents where it goes `backwards`.
    fn enclose(&self, at: Interval, parameters: &[Interval], backwards: bool) -> Bent {
        let _ = (at, backwards);
        Bent::unknown(parameters.len())
    }
}

/// What a transform can make of an interval of numbers under intervals of parameters.
#[derive(Clone, Debug)]
pub struct Bent {
    /// Every value on the other side.
    pub value: Interval,
    /// Every slope `∂z/∂x` at the data side.
    pub slope: Interval,
    /// Every `∂z/∂θ`, for each parameter.
    pub by_parameters: Vec<Interval>,
}

impl Bent {
    /// Nothing is known of a function of `parameters` numbers.
    pub fn unknown(parameters: usize) -> Self {
        let slope = Interval::new(0.0, f64::INFINITY);
        let by_parameters = vec![Interval::EVERYTHING; parameters];
        Self { value: Interval::EVERYTHING, slope, by_parameters }
    }
}

/// Features of a row in a buffer of `len` numbers in `rows` rows.
fn features(len: usize, rows: usize) -> usize {
    // No rows, no numbers: any width serves.
    len.checked_div(rows).unwrap_or(1).max(1)
}
