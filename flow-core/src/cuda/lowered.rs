//! What is recorded of a flow, and where its rows lie.

use flow_cuda::kernels::affine::Moved;
use flow_cuda::kernels::rows::Rows;
use flow_cuda::{Op, Recording, Slot};

use super::inverting::Trail;
use super::loops::{Demand, Stuck};

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Lowered {
    /// Index lists and memory.
    pub(crate) recording: Recording,
    /// The pass.
    pub(crate) pass: Vec<Op>,
    /// The products of its blocks in the order in which they run.
    pub(crate) product: Vec<Op>,
    /// What is done to weights.
    pub(crate) weights: WeightOps,
    /// What to say of each loop that does not end.
    pub(crate) stuck: Vec<Stuck>,
    /// What inverses need of the weights.
    pub(crate) demands: Vec<Demand>,
    /// Of blocks that are inverted, what the way back is made of.
    pub(crate) trail: Option<Trail>,
}

/// What depends on the weights alone.
#[derive(Debug, Default)]
pub(crate) struct WeightOps {
    /// From parameters to derived values.
    pub(crate) prepare: Vec<Op>,
    /// From the gradient by derived values to that by parameters.
    pub(crate) finish: Vec<Op>,
    /// The blocks that have no kernels for that.
    pub(crate) on_cpu: Vec<String>,
}

/// Where the rows of a pass lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) x: Rows,
    pub(crate) log_det: Slot,
    pub(crate) context: Rows,
    pub(crate) gradient: Rows,
    pub(crate) by_log_det: Slot,
    pub(crate) context_gradient: Rows,
    /// The stream of random numbers that blocks draw from.
    pub(crate) noise: Slot,
}

/// A transform of some entries of each row, with the parameters that a net wrote.
#[derive(Clone, Copy, Debug)]
pub struct Steered {
    /// The entries, where their parameters stand, and the direction.
    pub moved: Moved,
    /// The numbers that are changed, and the gradient by them.
    pub x: Rows,
    /// See `x`.
    pub gradient: Rows,
    /// The net's output, row after row.
    pub parameters: Rows,
    /// Where the product writes the gradient by it; zero where no parameter is read.
    pub by_parameters: Slot,
}
