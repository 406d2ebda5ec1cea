//! The device under a normalizing flow: plans of CUDA kernels, and what runs them.
//!
//! A [`Plan`] is a straight list of [`Op`]s, each a kernel with places in a few flat memories. It has
//! no branches and no allocation, so that it can be replayed at will; the one exception are fixed
//! points, whose iteration is a [`Loop`] that goes on until a kernel has counted no open row. What a flow needs is recorded
//! with the functions of [`kernels`]; flow-core does so for its blocks. Two devices run a plan:
//!
//! - `Gpu` (feature `gpu`): a card, through its driver. The kernels are compiled for it by NVRTC
//!   once and kept on disk. Nothing of CUDA is needed to build, and without a card `Gpu::new` is an
//!   error that says what is missing.
//! - `Emulated` (feature `emulation`): the CPU, from the very same sources compiled as C++, block by
//!   block and thread by thread. It is slow, and proves the kernels where there is no card.
//!
//! ```
//! use flow_cuda::kernels::rows;
//! use flow_cuda::{Area, Device, Recording};
//!
//! # #[cfg(feature = "emulation")]
//! # fn main() -> Result<(), flow_cuda::DeviceError> {
//! # let Ok(device) = flow_cuda::Emulated::new() else { return Ok(()) };
//! let mut recording = Recording::new();
//! let x = recording.frame(6); // three rows of two numbers
//! let sums = recording.frame(3);
//! let mut ops = vec![rows::fill(sums, 0.0)];
//! ops.push(rows::add_row_sums(sums, x, 3, rows::Sum { square: true, factor: 1.0, constant: 0.0 }));
//! let plan = recording.finish(vec![ops]);
//!
//! let mut frame = device.memory(plan.frame_len())?;
//! device.write(&mut frame, x.offset, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let tables = device.tables(plan.tables())?;
//! device.run(&plan.parts()[0], &mut |area| (area == Area::Frame).then_some(&frame), &tables)?;
//! let mut squares = [0.0; 3];
//! device.read(&frame, sums.offset, &mut squares)?;
//! assert_eq!(squares, [5.0, 25.0, 61.0]);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "emulation"))]
//! # fn main() {}
//! ```

mod bases;
mod device;
mod either;
#[cfg(feature = "emulation")]
mod emulated;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
pub mod kernels;
mod plan;

pub use device::Device;
pub use either::Either;
#[cfg(feature = "emulation")]
pub use emulated::Emulated;
pub use error::{DeviceError, Result};
#[cfg(feature = "gpu")]
pub use gpu::{Cache, Compiler, Gpu, Products, ARCHITECTURES};
pub use plan::{Area, Kernel, Launch, Loop, Op, Plan, Recording, Slot, Table};
