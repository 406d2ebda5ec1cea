//! Flows on a GPU.
//!
//! [`Flow::on`](crate::Flow::on) brings a flow to a [`Device`]: a [`Gpu`], or its emulation. Its
//! blocks are lowered to a plan of kernels once for each number of rows, and parameters, data and
//! what a pass keeps stay there. Blocks that only move numbers, such as permutations and `squeeze`,
//! cost nothing: those after them read where the numbers are.
//!
//! ```no_run
//! use dfdx::prelude::*;
//! use flow_core::cuda::Gpu;
//! use flow_core::prelude::*;
//!
//! flow! {
//!     struct Tiny: Vector<2> {
//!         affine_coupling(net = mlp([64, 64], relu));
//!         affine_coupling(net = mlp([64, 64], relu));
//!     }
//! }
//!
//! let cpu = dfdx::prelude::Cpu::default();
//! let flow = Tiny::<f32>::build(&cpu, 0)?;
//! let on_gpu = flow.on(Gpu::new(0)?)?;
//! let x = cpu.tensor([[0.5, -1.0], [2.0, 0.0]]);
//! let (z, log_det) = on_gpu.forward(x)?;
//! # Ok::<(), FlowError>(())
//! ```
//!
//! What runs again, a pass over as many rows or a step of a training, runs as a CUDA graph from the
//! second time on: the processor then starts all its kernels by one call. Graphs are dropped with the
//! plan that they came from, when a training begins for that of its steps; `Gpu::without_graphs` turns
//! them off, and [`OnDevice::graphs`] says what could not be captured.
//!
//! Blocks and nets of one's own are an error that names them,
//! [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), unless they record themselves out of the
//! [`kernels`] that are there ([`Block::lower`](crate::Block::lower)). A fixed point, as in the inverse of a residual
//! block, and steps of a solver that chooses them as it goes, run until every row has its answer; the
//! processor looks every few turns. A plan has room for 64 such steps of each row where gradients are
//! asked for; where one takes more it is made once more, with room for them, whichever way it was asked for:
//! of plain rows, on dfdx's tape, of tensors on the card, or in a step of a training.

mod counts;
mod flow;
mod graphs;
mod guarded;
mod inverting;
mod loops;
mod lowered;
mod lowering;
#[cfg(feature = "dfdx-cuda")]
mod on_card;
mod plans;
mod samples;
mod store;
mod tape;
#[cfg(feature = "dfdx-cuda")]
mod tensors;
mod training;

#[cfg(feature = "cuda-emulation")]
pub use flow_cuda::Emulated;
pub use flow_cuda::{
    kernels, Area, Cache, Device, DeviceError, Either, Gpu, Op, Products, Recording, Slot, Table,
    ARCHITECTURES,
};

pub use flow::{DeviceGradients, OnDevice};
pub use graphs::Graphs;
pub(crate) use loops::Failure;
pub use lowered::Steered;
pub use lowering::Lowering;
pub use training::Training;
