//! What a run does where a loss is not finite.

#[cfg(doc)]
use crate::FlowError;

/// What a run does where a loss or gradient is not finite. The weights are not updated by it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum OnDivergence {
    /// Ends with [`FlowError::Diverged`], and leaves the flow with the weights that gave that loss.
    #[default]
    Stop,
    /// Goes back to weights (and moments) of at most 100 steps before, and on from there with the
    /// next batch and a lower learning rate.
    RollBack {
        /// What the learning rate is multiplied by, for the rest of the run.
        factor: f64,
        /// Returns after which the run ends as with [`Stop`](Self::Stop).
        most: u64,
    },
}
