//! The six flows. Each file is a whole crate's source, so that its compile time can be measured.
//!
//! The sizes are those that other libraries' flows of the same kind have in `benches/peers`.

mod autoregressive;
mod deep_affine;
mod glow;
mod residual;
mod small_affine;
mod splines;

pub use autoregressive::Autoregressive;
pub use deep_affine::DeepAffine;
pub use glow::Glow;
pub use residual::Residual;
pub use small_affine::SmallAffine;
pub use splines::Splines;
