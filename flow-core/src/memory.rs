//! How a pass remembers what its gradient needs.

/// What a pass keeps between the forward direction and its gradient.
///
/// ```
/// # use flow_core::prelude::*;
/// assert_eq!(Memory::default(), Memory::Stored);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Memory {
    /// Every activation: the fastest.
    #[default]
    Stored,
    /// Each block's input, the size of a sample. The rest is computed once more in the backward
    /// pass: the same gradient to the last bit, for one more forward pass.
    Recomputed,
}
