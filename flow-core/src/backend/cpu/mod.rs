//! Kernels on the CPU.

pub(crate) mod convolution;
pub(crate) mod elementwise;
pub(crate) mod matrix;
