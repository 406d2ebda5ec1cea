//! Kernels on the CPU.

pub(crate) mod elementwise;
pub(crate) mod matrix;
