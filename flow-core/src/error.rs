//! Everything that can go wrong at run time.

use std::fmt;
use std::path::PathBuf;

use dfdx::optim::OptimizerUpdateError;
use dfdx::tensor::CpuError;

use crate::Shape;

/// What went wrong, where, what was expected, and what to do.
///
/// `{:?}` is the same text as `{}`, so that a `main` that returns one, an `unwrap` and an `expect`
/// say all of it.
///
/// ```
/// use flow_core::prelude::*;
/// let error = Rows::<f32>::new(vec![], 2).unwrap_err();
/// assert_eq!(format!("{error:?}"), "the data has no rows, expected at least one");
/// ```
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A batch without rows.
    #[error("the {what} has no rows, expected at least one")]
    EmptyBatch {
        /// The batch.
        what: String,
    },

    /// A row that holds NaN or an infinity.
    #[error("row {row} of the {what} holds {value} in entry {entry}, expected finite numbers\nhelp: remove or impute such rows first")]
    NonFinite {
        /// The batch.
        what: String,
        /// The first such row, counted from 0.
        row: usize,
        /// The entry in the row, counted from 0.
        entry: usize,
        /// What stands there.
        value: f64,
    },

    /// Data and context with different numbers of rows.
    #[error("the data has {rows} rows, but the context has {context_rows}\nhelp: give one context row for each row, or a single one for all")]
    ContextRows {
        /// Rows of the data.
        rows: usize,
        /// Rows of the context.
        context_rows: usize,
    },

    /// A conditional flow that was asked without a context.
    #[error("{flow} is given a context of {expected} numbers a row, but none was passed\nhelp: flow.given(context), rows.given(context, width) to train, initialize_given or bilipschitz_given")]
    MissingContext {
        /// The flow.
        flow: String,
        /// Numbers a row.
        expected: usize,
    },

    /// A buffer of the wrong length.
    #[error("{what} has {found} numbers, expected {expected}")]
    Length {
        /// Which buffer.
        what: String,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },

    /// A block that was built for another shape.
    #[error("{block} takes {expected}, but stands where the flow has {found}")]
    BlockShape {
        /// The block.
        block: String,
        /// The shape where it stands.
        found: Shape,
        /// The shape it takes.
        expected: Shape,
    },

    /// An option out of its range.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option.
        option: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },

    /// A data-dependent block before its first batch.
    #[error("{block} at {path} was never initialised from data\nhelp: flow.initialize_on(&rows)? before the first pass, or load trained weights")]
    NotInitialized {
        /// The block's name.
        block: &'static str,
        /// Where it stands.
        path: String,
    },

    /// Numbers that a block cannot invert or evaluate.
    #[error("{block} at {path}: {reason}")]
    Block {
        /// The block's name.
        block: &'static str,
        /// Where it stands.
        path: String,
        /// What happened, and what to do.
        reason: String,
    },

    /// A block whose input cannot be reconstructed from its output, in a pass that does that.
    #[error("{block} at {path} cannot be inverted to save memory\nhelp: choose Memory::Recomputed, which keeps each block's input; #[require(memory_saving)] makes the compiler find such blocks")]
    NotMemorySaving {
        /// The block as it stands in the flow.
        block: String,
        /// Where it stands.
        path: String,
    },

    /// A block for which there are no kernels: one of a user's own, or one with such a net.
    #[error("{block} at {path} does not run on a GPU yet{}\nhelp: run this flow on the CPU, where every block runs, or put another block in its place", only(.part))]
    NotOnGpu {
        /// The block as it stands in the flow.
        block: String,
        /// Where it stands.
        path: String,
        /// The part of it that does not, where it is not the block itself.
        part: Option<String>,
    },

    /// A device that failed, or is not there.
    #[error("{0}")]
    Device(String),

    /// An inverse that did not bring a block's input back, where the guard's policy is to fail.
    #[error("the inverse exploded at {path}: row {row} came back with a relative error of {error:.0e}, over the threshold of {threshold:.0e}\nhelp: choose Policy::Fallback, which computes such blocks again, or Memory::Recomputed")]
    InverseExploded {
        /// The block.
        path: String,
        /// The row with the largest error.
        row: usize,
        /// Its error, relative to its norm.
        error: f64,
        /// The largest error that the guard lets pass.
        threshold: f64,
    },

    /// A parameter name or pattern that the flow does not have.
    #[error("no parameter matches `{pattern}`{}", suggestion(.nearest))]
    NoSuchParameter {
        /// What was asked for.
        pattern: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },

    /// A loss or gradient that is not finite.
    #[error("{} at step {step}; {origin}\nhelp: {help}", diverged(*loss))]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
        /// Where a non-finite number first appeared.
        origin: String,
        /// What to do.
        help: String,
    },

    /// The tape of a view was already used.
    #[error("the tape of this view's context was used by an earlier call, so a gradient would be lost\nhelp: make a new view: flow.given(context.trace(gradients))")]
    TapeUsed,

    /// One of the two outputs of a pass was dropped with its tape.
    #[error("the log-determinant was differentiated without the latent of the same pass, whose tape was dropped\nhelp: use both outputs in the loss, or call log_prob")]
    TapeDropped,

    /// A gradient that could not be computed.
    #[error("the gradient of dfdx failed: {0}")]
    Gradient(String),

    /// A dfdx operation that failed: one of a user's net or block, or the making of a tensor.
    #[error("an operation of dfdx failed: {0}")]
    Tensor(String),

    /// A file that cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened, and what to do.
        reason: String,
    },

    /// A table with a bad cell.
    #[error("{}, line {line}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was found and expected.
        reason: String,
    },

    /// A file of weights that belongs to another flow.
    #[error("{}: the weights do not fit {flow}\n{}", path.display(), .differences.join("\n"))]
    WeightsDiffer {
        /// The file.
        path: PathBuf,
        /// The flow they were loaded into.
        flow: String,
        /// One line for each difference.
        differences: Vec<String>,
    },
}

impl FlowError {
    /// A file error with its path.
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }

    /// An option that is out of range.
    pub(crate) fn option(
        option: impl ToString,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Option {
            option: option.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

impl fmt::Debug for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CpuError> for FlowError {
    fn from(error: CpuError) -> Self {
        Self::Tensor(error.to_string())
    }
}

/// An update by one of dfdx's optimisers that failed.
impl From<OptimizerUpdateError<CpuError>> for FlowError {
    fn from(error: OptimizerUpdateError<CpuError>) -> Self {
        match error {
            OptimizerUpdateError::DeviceError(error) => error.into(),
            OptimizerUpdateError::UnusedParams(unused) => Self::Gradient(format!(
                "{} tensors to update have none\nhelp: let the loss depend on all of them",
                unused.ids.len()
            )),
        }
    }
}

/// A finite loss may still have a gradient that is not.
fn diverged(loss: f64) -> String {
    if loss.is_finite() {
        format!("the gradient is not finite, at the loss {loss},")
    } else {
        format!("the loss became {loss}")
    }
}

fn only(part: &Option<String>) -> String {
    match part {
        Some(part) => format!(": {part}"),
        None => String::new(),
    }
}

#[cfg(feature = "cuda")]
impl From<flow_cuda::DeviceError> for FlowError {
    fn from(error: flow_cuda::DeviceError) -> Self {
        Self::Device(error.to_string())
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("\nhelp: the nearest name is `{name}`"),
        None => String::new(),
    }
}

/// A result whose error is a [`FlowError`].
pub type Result<T, E = FlowError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use dfdx::optim::UnusedTensors;

    use super::*;

    #[test]
    fn a_failed_main_says_what_to_do() {
        let error = FlowError::NotInitialized { block: "actnorm", path: "0".into() };
        let shown = format!("{error:?}");
        assert_eq!(shown, error.to_string());
        assert!(shown.contains("\nhelp: flow.initialize_on(&rows)?"), "{shown}");
    }

    #[test]
    fn updates_by_optimisers_of_dfdx_fail_as_a_flow_does() {
        let full: OptimizerUpdateError<CpuError> =
            OptimizerUpdateError::DeviceError(CpuError::OutOfMemory);
        assert_eq!(FlowError::from(full), FlowError::from(CpuError::OutOfMemory));
        let unused = OptimizerUpdateError::UnusedParams(UnusedTensors::default());
        let error = FlowError::from(unused).to_string();
        assert!(error.starts_with("the gradient of dfdx failed: 0 tensors"), "{error}");
    }
}
