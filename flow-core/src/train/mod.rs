//! Training on plain rows: what a run needs, and what it leaves behind.
//!
//! [`Trainer`] holds the options; a run reads a batch of [`Rows`] from its [`Batches`], asks a
//! learner (a flow, or models with a loss of their own) for the loss and its gradient, clips,
//! updates by an [`Optimizer`], and records.
//!
//! One seed gives one result to the last bit, on any number of threads, and a run that goes on from
//! its checkpoint ends as one that was never interrupted. The steps of a flow's run use the same
//! memory again and again.

mod batches;
mod checkpoint;
mod clip;
mod divergence;
mod evaluate;
mod history;
mod joint;
mod learner;
mod limits;
mod optimizer;
mod pieces;
mod progress;
mod rows;
mod run;
mod schedule;
mod step;
mod store;
mod trainer;
mod update;
mod watch;

#[cfg(test)]
mod tests;

pub use batches::{Batches, Place, Validated};
pub use clip::Clip;
pub use divergence::OnDivergence;
pub(crate) use evaluate::Running;
pub use evaluate::{evaluate, Evaluation};
pub use history::{Ending, Guarded, History, Record, RollBack};
pub(crate) use learner::fits;
pub use optimizer::{Adam, AdamW, Adamax, Optimizer, Sgd};
pub use rows::{IntoRows, Rows};
pub use schedule::Schedule;
pub use step::Step;
pub use trainer::Trainer;
