//! Hot loops for the nets of flows, compiled once for each instruction set and chosen at run time.
//!
//! A net on a few dozen rows is small for a packed matrix product: moving the operands into
//! place costs as much as the product. Here nothing is moved. Numbers lie in *runs*: those of one
//! feature for all rows stand side by side, so that one vector instruction serves as many rows, a
//! weight is read where it lies and meets a whole line of them, and every function of one number
//! runs at the same width.
//!
//! ```
//! use flow_kernels::{product, Runs, Weight};
//! // y = W·x + b on three rows: x in runs has two features, y one.
//! let layout = Runs::of(3);
//! let mut x = vec![0.0; layout.len(2)];
//! layout.gather(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0], 2, &mut x);
//! let mut y = vec![0.0; layout.len(1)];
//! product(layout, &mut y, Weight::new(&[2.0, 1.0], 1, 2), &x, Some(&[0.5]));
//! let mut rows = [0.0; 3];
//! layout.scatter(&y, 1, &mut rows);
//! assert_eq!(rows, [12.5, 24.5, 36.5]);
//! ```
//!
//! flow-core does not build on them yet. By themselves the products reach 85 to 97 billion operations
//! a second on a thread of an AMD EPYC (Zen 3), where a packed product of 500 × 128 × 128 reaches 62 to
//! 70; under the nets of whole flows, whose weights come from memory for each group of rows, they
//! were on a par forward and 10 to 30 % slower in training. Weights that are brought into panels
//! once for each step, and sums of outer products that are not added across vectors, are the next to try.
//!
//! All loops are plain Rust: the compiler turns lines of fixed length into vector instructions,
//! with AVX2 and fused multiply-add where the processor has them, NEON on ARM, and without either
//! anywhere else. Results differ in the last digits between those, never between runs or numbers of
//! threads.

/// Rows that a kernel computes together: the length of a line.
pub(crate) const LANES: usize = 16;

mod bend;
mod element;
mod map;
mod product;
mod runs;
mod single;

pub use bend::{bend, Function};
pub use element::Element;
pub use map::{exp, ln};
pub use product::{add_outer, add_sums, product, product_transposed, Weight};
pub use runs::Runs;
