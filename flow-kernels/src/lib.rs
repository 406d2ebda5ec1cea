//! Functions of whole buffers at vector width: activations, exponentials, triangular systems.
//!
//! [`bend`] is an activation with its bias and slopes; [`exp`] and [`ln`] take each number of a
//! buffer, [`factors`] are those of affine maps, [`Splines`] are rational-quadratic splines, and [`solve`] takes triangular systems for many
//! vectors. Functions state their error, which tests check over the whole range.
//!
//! ```
//! use flow_kernels::{bend, Function};
//! let mut values = [0.0, 1.0, -2.0, 1.0];
//! let mut slopes = [0.0; 4];
//! bend(Function::Leaky { below: 0.0 }, &mut values, &[0.5, -3.0], &mut slopes, &mut []);
//! assert_eq!((values, slopes), ([0.5, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]));
//! ```
//!
//! All loops are plain Rust, compiled once for each instruction set and chosen at run time: the
//! compiler turns lines of fixed length into vector instructions, with AVX-512 or AVX2 and fused
//! multiply-add where the processor has them, NEON on ARM, and without any of them elsewhere. Results
//! differ in the last digits between those, never between runs or numbers of threads. `scripts/test-arm`
//! runs the tests under an emulator of ARM.
//!
//! Matrix products are the `gemm` crate's. Kernels of our own, on rows and on runs of features, with
//! weights read where they lie, packed for each product and packed once for all, reached the same
//! rate where everything lay in the first cache and less under the nets of whole flows, whose weights
//! come from memory.

/// Numbers that a function takes together: the length of a line.
pub(crate) const LANES: usize = 16;

mod bend;
mod bin;
mod element;
mod factor;
mod map;
mod spline;
mod spline_lines;
mod transpose;
mod triangle;

pub use bend::{bend, Function};
pub use bin::{Bin, ByBin};
pub use element::Element;
pub use factor::{factors, Factor};
pub use map::{exp, ln};
pub use spline::Splines;
pub use transpose::transpose;
pub use triangle::{solve, Triangle};
