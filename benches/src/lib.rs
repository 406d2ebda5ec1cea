//! Six flows of usual sizes, ready to be timed: density, sampling and whole training steps.
//!
//! `cargo bench -p flow-benches --bench workloads` times them alone; the
//! program `serve-workloads` does so on request, in turns with the
//! same models of other libraries, for `scripts/compare-peers`.
//!
//! ```
//! use flow_benches::{load, Pass};
//!
//! let mut workload = load("W2", None, None)?;
//! assert_eq!(workload.batch(), 256);
//! let times = workload.time(Pass::Density, 3)?;
//! assert_eq!(times.len(), 3);
//! # Ok::<(), flow_core::FlowError>(())
//! ```

pub mod flows;

mod ceiling;
#[cfg(feature = "cuda")]
mod device;
mod inputs;
mod protocol;
mod weights;
mod workload;

pub use ceiling::matrix_products;
#[cfg(feature = "cuda")]
pub use device::{Off, OnCard, Target};
pub use inputs::{checkerboard, normal};
pub use protocol::{serve, Request};
pub use workload::{load, Pass, Size, Workload, NAMES};
