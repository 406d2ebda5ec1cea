//! Misuse that only shows where code is generated, not under `cargo check`. Of const parameters:
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
//! Nor does the inverse that a flow lacks because of a flow inside it:
//!
//! ```compile_fail,E0080
//! use flow_core::prelude::*;
//!
//! flow! {
//!     pub struct Inner: Vector<2> { planar; }
//!     pub struct Outer: Vector<2> { actnorm; repeat 2 { use Inner; } }
//! }
//!
//! let flow = Outer::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
//! let _ = flow.sample(1, &mut Noise::seed(0));
//! ```
//!
//! Its other direction runs:
//!
//! ```
//! use flow_core::prelude::*;
//!
//! flow! {
//!     pub struct Inner: Vector<2> { planar; }
//!     pub struct Outer: Vector<2> { scale(2.0); repeat 2 { use Inner; } }
//! }
//!
//! let flow = Outer::<f32>::build(&flow_core::Cpu::default(), 0)?;
//! flow.score(&[1.0, -2.0], &[])?;
//! # Ok::<(), FlowError>(())
//! ```
//!
//! The flows above with numbers that fit:
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
//!
//! Contexts are rustc's to check: one that is missing, one that the flow does not declare, one of
//! another size.
//!
//! ```compile_fail,E0599
//! use dfdx::prelude::TensorFrom;
//! use flow_core::prelude::*;
//!
//! flow! { pub struct A: Vector<4> given Vector<2> { actnorm; } }
//!
//! let cpu = flow_core::Cpu::default();
//! let flow = A::<f32>::build(&cpu, 0).unwrap();
//! let _ = flow.log_prob(cpu.tensor([[0.0; 4]]));
//! ```
//!
//! ```compile_fail,E0271
//! use dfdx::prelude::TensorFrom;
//! use flow_core::prelude::*;
//!
//! flow! { pub struct A: Vector<4> { actnorm; } }
//!
//! let cpu = flow_core::Cpu::default();
//! let flow = A::<f32>::build(&cpu, 0).unwrap();
//! let _ = flow.given(cpu.tensor([[0.5, 1.0]]));
//! ```
//!
//! ```compile_fail,E0308
//! use dfdx::prelude::TensorFrom;
//! use flow_core::prelude::*;
//!
//! flow! { pub struct A: Vector<4> given Vector<2> { actnorm; } }
//!
//! let cpu = flow_core::Cpu::default();
//! let flow = A::<f32>::build(&cpu, 0).unwrap();
//! let _ = flow.given(cpu.tensor([[0.5, 1.0, 2.0]]));
//! ```
