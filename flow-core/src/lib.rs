#![doc = include_str!("../../README.md")]

extern crate self as flow_core;

pub mod base;
pub mod blocks;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod data;
pub mod io;
pub mod lipschitz;
pub mod memory;
pub mod nets;
pub mod objective;
pub mod plot;
pub mod prelude;
#[doc(hidden)]
pub mod private;
pub mod reference;
pub mod stability;
pub mod train;
pub mod transforms;

mod architecture;
mod backend;
mod block;
mod engine;
mod error;
mod event;
mod flow;
mod levels;
mod module;
mod noise;
mod normalizing_flow;
mod pattern;
mod room;
mod scalar;
mod sums;
#[cfg(test)]
mod testing;
mod view;

pub use architecture::{Architecture, Invertible};
pub use backend::Backend;
pub use block::{Block, Component, Facts, Item, LogDet, Site};
pub use dfdx::prelude::Cpu;
pub use engine::{
    Buffer, BufferKind, Builder, Derived, Entry, JoinTape, Layout, Parameter, Pass, Role, Scratch,
    Setup, Start, State, Values, Workspace,
};
pub use error::{FlowError, Result};
pub use event::{Context, Event, Image, Shape, Unconditional, Vector};
pub use flow::{Flow, Named};
/// The language of flows, all of whose names the [`reference`](mod@reference) explains: what each block,
/// net, scale and base computes, how its parameters are called and how they start.
///
pub use flow_macros::flow;
pub use levels::{Levels, MultiScale};
pub use memory::{Guard, GuardReport, Memory};
pub use noise::Noise;
pub use normalizing_flow::{Data, Joined, Latents, NormalizingFlow, Numbers};
pub use scalar::Scalar;
pub use train::{evaluate, Rows, Trainer};
pub use view::View;
