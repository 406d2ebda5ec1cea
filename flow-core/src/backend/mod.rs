//! Where a flow computes.
//!
//! The kernels that blocks are made of live here, one folder a backend, so that blocks themselves
//! hold no hand-tuned loops.

pub(crate) mod cpu;

use dfdx::prelude::Cpu;

/// A device that a [`Flow`](crate::Flow) has its weights on: [`Cpu`], dfdx's own, and no other in this
/// version. With the feature `cuda`, `flow.on(gpu)?` gives a flow of another type, on a GPU.
pub trait Backend: Clone + Default + Send + Sync + sealed::Sealed + 'static {}

impl Backend for Cpu {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for dfdx::prelude::Cpu {}
}
