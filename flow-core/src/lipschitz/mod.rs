//! Lipschitz bounds.

mod convolution;
mod hermitian;
pub(crate) mod limit;
pub(crate) mod norm;
mod rounding;
