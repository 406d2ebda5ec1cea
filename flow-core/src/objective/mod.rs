//! What a flow is trained for: losses of a batch that add up.
//!
//! An [`Objective`] makes a loss of a [`BatchPass`]: of a batch, its latents and the flow.
//! [`Objectives`] are some of them with weights. They share one forward pass, and one that is not
//! due in a step costs nothing in it. A closure that makes a loss is an objective too.
//!
//! - [`Likelihood`], alone or at a small weight beside another loss;
//! - [`FiniteDifferences`] keep a flow and its inverse from amplifying changes;
//! - [`TransportCost`] keeps latents near the data;
//! - [`BoundPenalty`] lowers what is certified of how much a flow and its inverse amplify;
//! - [`LogDeterminantPenalty`] keeps linear blocks near preserving volume;
//! - [`Decorrelation`] leaves a flow free to become unstable.
//!
//! ```
//! use dfdx::prelude::*;
//! use flow_core::objective::{FiniteDifferences, Likelihood, Objectives};
//! use flow_core::prelude::*;
//!
//! flow! {
//!     struct Plane: Vector<2> {
//!         affine_coupling(net = mlp([8], tanh));
//!         affine_coupling(net = mlp([8], tanh));
//!     }
//! }
//!
//! let mut flow = Plane::<f32>::build(&Cpu::default(), 0)?;
//! let data = Rows::from_rows((0..64).map(|i| [0.1 * i as f32, (0.2 * i as f32).sin()]))?;
//! let objectives = Objectives::new()
//!     .plus(1.0, Likelihood)
//!     .plus_every(10, 1e-3, FiniteDifferences::default());
//! Trainer::new(Adam::new(1e-2)).steps(20).silent().fit_objectives(&mut flow, &data, &objectives)?;
//! # Ok::<(), FlowError>(())
//! ```
//!
//! Beside a loss of one's own, such as that of a classifier behind the flow, they stand in
//! [`Trainer::fit_steps`](crate::Trainer::fit_steps): see [`Objectives::loss_beside`].

mod batch_pass;
mod decorrelation;
mod finite_differences;
mod likelihood;
mod objectives;
mod tape;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod weights;

pub use batch_pass::BatchPass;
pub use decorrelation::Decorrelation;
pub use finite_differences::FiniteDifferences;
pub use likelihood::Likelihood;
pub use objectives::{Objective, Objectives};
pub use tape::Loss;
pub use transport::TransportCost;
pub use weights::{BoundPenalty, LogDeterminantPenalty};
