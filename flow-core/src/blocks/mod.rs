//! The built-in blocks, one file each. What the names of [`flow!`](crate::flow) mean is in the
//! [`reference`](crate::reference).
//!
//! The contract of this folder:
//! - A constructor takes the [`Builder`](crate::Builder) first and the [`Shape`] where the block
//!   stands second, and returns an error where the block cannot stand there.
//! - A block that treats each feature alike at every pixel sees an image as `rows × pixels` vectors
//!   of `features` numbers, and its log-determinant counts every pixel.
//! - What depends on the weights alone is computed in [`prepare`](crate::Block::prepare), where
//!   loaded buffers are checked too; weights that are not finite spread, they never panic.
//! - A composite ([`Repeat`], [`Level`], [`LastLevel`], [`DualCoupling`]) has no weights of its own and calls its
//!   children through the pass, so that the engine sees every leaf.
//!
//! ```
//! use flow_core::blocks::{LinearLu, Repeat};
//! use flow_core::{Builder, Shape};
//!
//! let mut builder = Builder::<f32>::new(0);
//! let shape = Shape::vector(6);
//! let steps = builder.block("steps", |b| Repeat::new(b, 4, |b| LinearLu::new(b, shape)))?;
//! assert_eq!(steps.len(), 4);
//! # Ok::<(), flow_core::FlowError>(())
//! ```

/// The methods of [`Block`](crate::Block) that record it for a GPU, from the type's own of the same
/// arguments: of its pass and, where something depends on its weights alone, of that. They stand in
/// the file of the block's name that ends in `_lowering`.
macro_rules! lowered {
    ($record:ident $(, $record_weights:ident)?) => {
        #[cfg(feature = "cuda")]
        fn lower(
            &self,
            to: &mut crate::cuda::Lowering<E>,
            entries: &mut [usize],
            backwards: bool,
        ) -> Result<Vec<flow_cuda::Op>> {
            self.$record(to, entries, backwards)
        }

        #[cfg(feature = "cuda")]
        fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
            let _ = &to;
            $(self.$record_weights(to);)?
        }
    };
}
pub(crate) use lowered;

/// The directions of a [`Block`](crate::Block) that is an orthogonal map, and their products, from the
/// type's own functions there and back on rows: the product of one is the other, and the
/// log-determinant is 0.
macro_rules! orthogonal {
    ($there:ident, $back:ident) => {
        fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<()> {
            self.$there(pass, x);
            Ok(())
        }

        fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], _: &mut [E]) -> Result<()> {
            self.$back(pass, z);
            Ok(())
        }

        fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
            self.$back(pass, gradient);
            Ok(())
        }

        fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
            self.$there(pass, gradient);
            Ok(())
        }
    };
}
pub(crate) use orthogonal;

mod actnorm;
mod autoregressive;
mod broyden;
mod contraction;
mod coupling;
pub mod curves;
mod dense;
mod determinant;
mod diagonal;
mod dual_coupling;
mod elementwise;
mod expansion;
mod features;
mod field;
mod haar;
mod householder;
mod inverted;
mod invertible_conv;
mod level;
mod linear_dense;
mod linear_lu;
mod linear_svd;
#[cfg(test)]
mod linear_tests;
mod lu;
mod moments;
mod ode;
mod on_tape;
mod permutation;
mod permute;
mod planar;
mod probe;
mod radial;
mod rearrange;
mod reflections;
mod repeat;
mod residual;
mod rotation;
mod runge_kutta;
mod spline_activation;
mod split;
pub(crate) mod square;
mod standardize;
mod sylvester;
mod triangular;

pub use actnorm::ActNorm;
pub use autoregressive::MaskedAutoregressive;
pub use coupling::Coupling;
pub use determinant::{series_tail, Determinant};
pub use diagonal::Diagonal;
pub use dual_coupling::DualCoupling;
pub use elementwise::Elementwise;
pub use haar::Haar;
pub use householder::Householder;
pub use inverted::Inverted;
pub use invertible_conv::InvertibleConv;
pub use level::{LastLevel, Level};
pub use linear_dense::LinearDense;
pub use linear_lu::LinearLu;
pub use linear_svd::LinearSvd;
pub use ode::{Ode, Solver};
pub use on_tape::{OnTape, TensorBlock};
pub use permute::Permute;
pub use planar::Planar;
pub use probe::Trace;
pub use radial::Radial;
pub use rearrange::Rearrange;
pub use repeat::Repeat;
pub use residual::Residual;
pub use spline_activation::SplineActivation;
pub use split::Split;
pub use standardize::Standardize;
pub use sylvester::Sylvester;

use crate::{Facts, FlowError, LogDet, Result, Shape};

/// An affine map that its weights keep invertible, with no bound over all of them.
const AFFINE: Facts = Facts {
    analytic_inverse: true,
    log_det: LogDet::Constant,
    bi_lipschitz: true,
    memory_saving: true,
    invertible: true,
    forward: f64::INFINITY,
    inverse: f64::INFINITY,
};

/// An invertible map whose inverse has no closed form and is not offered.
const FORWARD_ONLY: Facts = Facts { invertible: false, bi_lipschitz: true, ..Facts::UNKNOWN };

/// How often the preimage of a box under such a map is narrowed: from what it gives at most to what it
/// gives on the preimage so far.
const NARROWINGS: usize = 8;

/// What the inverse of a forward-only block says. A flow with one has no function that asks for it.
fn no_inverse(block: &'static str, path: &str) -> Result<()> {
    let reason = "this block has no inverse\nhelp: run the flow forward only".into();
    Err(FlowError::Block { block, path: path.into(), reason })
}

/// Refuses a shape without numbers, on which rows cannot be told apart.
fn non_empty(shape: Shape) -> Result<Shape> {
    if shape.size() == 0 {
        return Err(FlowError::option("the shape of a block", shape, "at least one number"));
    }
    Ok(shape)
}
