//! How a pass remembers what its gradient needs.
//!
//! | | kept of each block | computed again | the gradient |
//! |---|---|---|---|
//! | [`Memory::Stored`] | every activation | nothing | the reference |
//! | [`Memory::Recomputed`] | its input | the block | the same to the last bit |
//! | [`Memory::Inverted`] | a fingerprint of its input | the input, by the inverse, and the block | as exact as the guard's threshold and kinks of nets allow |
//!
//! A [`Guard`] watches over the inverse, and [`GuardReport`] says what it saw.

mod guard;
mod report;

pub use guard::{Guard, Policy};
pub use report::{Explosion, GuardReport};

/// What a pass keeps between the forward direction and its gradient.
///
/// ```
/// # use flow_core::prelude::*;
/// assert_eq!(Memory::default(), Memory::Stored);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Memory {
    /// Every activation: the fastest.
    #[default]
    Stored,
    /// Each block's input, the size of a sample. The rest is computed once more in the backward
    /// pass: the same gradient to the last bit, for one more forward pass.
    Recomputed,
    /// The output, and of each block's input a fingerprint of at most eight numbers a sample. The
    /// backward pass reconstructs the inputs by the inverse, block by block, compares them with the
    /// fingerprints under the default [`Guard`], and computes again what the inverse has lost. For
    /// that the forward pass also keeps the inputs of every √n-th block, where they are longer than
    /// their fingerprints. Where an input was kept it takes the place of what came back, so that no
    /// error adds up from there on.
    ///
    /// Where samples have up to eight numbers the fingerprint is the input: each block is inverted
    /// from its true output, and the gradient is off by a rounding. But [`Recomputed`] keeps no more,
    /// takes as long and is exact: there this mode serves to watch the inverse.
    ///
    /// [`Recomputed`]: Self::Recomputed
    ///
    /// Every block must be one that the contract `memory_saving` allows:
    ///
    /// ```
    /// use flow_core::prelude::*;
    /// use dfdx::prelude::*;
    ///
    /// flow! {
    ///     #[require(memory_saving)]
    ///     struct Deep: Vector<2> {
    ///         repeat 20 {
    ///             affine_coupling(keep = first, net = mlp([16], tanh));
    ///             affine_coupling(keep = second, net = mlp([16], tanh));
    ///         }
    ///     }
    /// }
    ///
    /// let cpu = Cpu::default();
    /// let flow = Deep::<f32>::build(&cpu, 0)?;
    /// let x = cpu.tensor([[0.5, -1.0], [2.0, 0.0]]);
    /// let loss = flow.memory(Memory::Inverted).log_prob(x.leaky_trace())?.mean().negate();
    /// let gradients = loss.backward();
    /// let report = flow.guard_report().expect("a backward pass");
    /// assert!(report.held());
    /// # Ok::<(), FlowError>(())
    /// ```
    Inverted,
    /// As [`Inverted`](Self::Inverted), under a guard of one's own.
    InvertedUnder(Guard),
}

impl Memory {
    /// The guard of a mode that inverts.
    pub fn guard(self) -> Option<Guard> {
        match self {
            Self::Inverted => Some(Guard::default()),
            Self::InvertedUnder(guard) => Some(guard),
            Self::Stored | Self::Recomputed => None,
        }
    }
}
