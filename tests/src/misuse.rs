//! Misuse of const parameters, which only shows where code is generated, not under `cargo check`:
//!
//! ```compile_fail,E0080
//! use flow_core::prelude::*;
//!
//! flow! {
//!     pub struct Pairs<const D: usize>: Vector<D> {
//!         affine_coupling(net = mlp([8], relu));
//!         affine_coupling(net = mlp([8], relu));
//!     }
//! }
//!
//! let _ = Pairs::<1>::build(&flow_core::Cpu::default(), 0);
//! ```
//!
//! ```compile_fail,E0080
//! use flow_core::prelude::*;
//!
//! flow! {
//!     pub struct Halves<const D: usize>: Vector<D> {
//!         multiscale 2 { actnorm; }
//!     }
//! }
//!
//! let _ = Halves::<3>::build(&flow_core::Cpu::default(), 0);
//! ```
//!
//! The same flows with numbers that fit:
//!
//! ```
//! use flow_core::prelude::*;
//!
//! flow! {
//!     pub struct Pairs<const D: usize>: Vector<D> {
//!         affine_coupling(net = mlp([8], relu));
//!         affine_coupling(net = mlp([8], relu));
//!     }
//!     pub struct Halves<const D: usize>: Vector<D> {
//!         multiscale 2 { actnorm; }
//!     }
//! }
//!
//! Pairs::<2>::build(&flow_core::Cpu::default(), 0)?;
//! Halves::<4>::build(&flow_core::Cpu::default(), 0)?;
//! # Ok::<(), FlowError>(())
//! ```
