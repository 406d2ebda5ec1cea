//! What runs under the tensors: parameters, workspaces and passes on plain buffers.
//!
//! One batch's path: [`Machine`] cuts the rows into groups, gives each group a [`Workspace`], and
//! runs all blocks of the flow on it through a [`Pass`]; the groups' parameter gradients are added
//! in a fixed tree, so that the number of threads never changes a result.

mod batch;
mod builder;
mod channels;
mod gradients;
mod inverting;
mod layout;
mod leaves;
mod machine;
mod mirror;
mod operation;
mod pass;
mod presence;
mod setup;
mod state;
mod turned;
mod watch;
mod workspace;

pub use builder::{Builder, Start};
pub use layout::{Buffer, BufferKind, Derived, Entry, Layout, Parameter, Role};
pub use pass::Pass;
pub use setup::Setup;
pub use state::{State, Values};
pub use workspace::{Scratch, Workspace};

pub use operation::JoinTape;

#[cfg(feature = "cuda")]
pub(crate) use inverting::{stride, Exploded, WHOLE};

pub(crate) use batch::each;
pub(crate) use channels::{to_channels_first, to_channels_last};
pub(crate) use gradients::Gradients;
pub(crate) use machine::{Direction, Machine};
pub(crate) use mirror::{options, AfterStep, Flat, Mirror};
pub(crate) use operation::{
    adds_to, check, ordered, read, split, tensor, AddGradient, Given, Operator,
};
#[cfg(feature = "cuda")]
pub(crate) use operation::{remember, second_tape};
pub(crate) use presence::{answer, call, Present};
pub(crate) use turned::{Source, Turned};
pub(crate) use watch::{News, Watch};
