//! Core.

extern crate self as flow_core;

pub mod base;
pub mod blocks;
pub mod nets;
pub mod prelude;
pub mod transforms;

mod architecture;
mod backend;
mod block;
mod engine;
mod error;
mod event;
mod lipschitz;
mod memory;
mod noise;
mod scalar;
#[cfg(test)]
mod testing;

pub use architecture::Architecture;
pub use backend::Backend;
pub use block::{Block, Component, Facts, Item, LogDet, Site};
pub use dfdx::prelude::Cpu;
pub use engine::{
    Buffer, BufferKind, Buffers, Builder, Derived, Entry, Layout, Parameter, Pass, Role, Setup,
    Start, State, Values, Workspace,
};
pub use error::{FlowError, Result};
pub use event::{Context, Event, Image, Shape, Unconditional, Vector};
pub use memory::Memory;
pub use noise::Noise;
pub use scalar::Scalar;
