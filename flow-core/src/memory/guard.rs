use crate::{FlowError, Result};

/// Watches over the inverse in the backward pass of [`Memory::Inverted`](super::Memory::Inverted).
///
/// A flow is invertible on paper, but in floating point its inverse may amplify rounding until
/// nothing of the input is left (Behrmann et al. 2021, "Understanding and mitigating exploding
/// inverses in invertible neural networks"), and gradients at such inputs are wrong without a sign
/// of it. So the forward pass keeps a fingerprint of each sample at each block, and the backward
/// pass compares. An input x that came back as x̂ has **exploded** where x̂ holds NaN or an infinity,
/// or where ‖x̂ − x‖ is above the threshold times ‖x‖ (or times the median norm of the samples beside
/// it, if that is larger, so that a sample of zeros needs no exact zeros).
///
/// Up to 8 numbers the fingerprint is x itself, and nothing is missed. Longer inputs leave their norm
/// and four projections on independent normal directions `rⱼ`, drawn anew for each pass from its
/// noise; ¼ Σ (rⱼ·(x̂ − x))² then estimates ‖x̂ − x‖². Whatever the error's direction, four times that
/// over its true value has a χ² distribution of four degrees of freedom, so an error of k times the
/// threshold is missed at one block with the probability
///
/// `P(χ²₄ ≤ 4/k²) = 1 − e^(−2/k²)·(1 + 2/k²) ≤ 2/k⁴`
///
/// | k | 1 | 2 | 3 | 10 | 100 |
/// |---|---|---|---|---|---|
/// | missed | 0.59 | 0.090 | 0.021 | 2.0e-4 | 2.0e-8 |
///
/// and an error of half the threshold is taken for an explosion with probability 3e-3, which costs a
/// little time. (Signs ±1 instead of normals would miss errors of two equal entries every sixteenth
/// time, whatever their size.) A view without noise of its own has the same directions each time.
///
/// What is guarded are inputs. A net with kinks, such as `relu`, has another slope where an input
/// comes back on the other side of one, however small the error: of many samples and units a few may
/// do so even by rounding, and each changes the gradient by its own part in it. Where inputs were kept
/// whole (each of up to 8 numbers, of longer ones every √n-th) they take the place of what came back,
/// so that errors do not add up: in a flow of 24 blocks on 64 numbers, trained until its inverse
/// exploded, the gradient is off by 5e-4 of itself where such a unit counts most and by 4e-7
/// elsewhere, and was off by up to 3e-3 without. Nets without kinks have no such jumps.
///
/// ```
/// use dfdx::prelude::Cpu;
/// use flow_core::memory::{Guard, Policy};
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], tanh));
///         affine_coupling(net = mlp([8], tanh));
///     }
/// }
///
/// let mut flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let rows = Rows::new(vec![0.5, -1.0, 2.0, 0.3], 2)?;
/// let guard = Guard { threshold: 1e-4, policy: Policy::SwitchToRecomputing };
/// let memory = Memory::InvertedUnder(guard);
/// let history = Trainer::default().memory(memory).steps(3).silent().fit(&mut flow, &rows)?;
/// assert_eq!(history.guard.steps, 0, "no step's inverse exploded");
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// The largest relative error of a block's input that counts as inverted. Default: 1e-5.
    pub threshold: f64,
    /// What happens where the inverse has exploded. Default: [`Policy::Fallback`].
    pub policy: Policy,
}

/// What a [`Guard`] does about an inverse that has exploded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Computes the blocks between the last copy and the place of the explosion again, and goes on
    /// from there by the inverse.
    #[default]
    Fallback,
    /// Ends the backward pass with [`FlowError::InverseExploded`].
    Error,
    /// As [`Fallback`](Self::Fallback), but does not invert again: the rest of the pass is computed
    /// from the copies, and later passes of the flow under this policy run as
    /// [`Memory::Recomputed`](super::Memory::Recomputed), until
    /// [`Flow::trust_inverse`](crate::Flow::trust_inverse).
    SwitchToRecomputing,
}

impl Default for Guard {
    fn default() -> Self {
        Self { threshold: 1e-5, policy: Policy::default() }
    }
}

impl Guard {
    /// No guard: no fingerprints, no copies, no comparison. This is what other libraries do, for
    /// comparison with them. A gradient may be wrong, and nothing says so.
    pub fn off_gradients_may_be_wrong() -> Self {
        Self { threshold: f64::INFINITY, ..Self::default() }
    }

    /// Whether anything is compared.
    pub fn watches(self) -> bool {
        self.threshold < f64::INFINITY
    }

    pub(crate) fn check(self) -> Result<()> {
        // Also where it is NaN.
        if self.threshold > 0.0 {
            return Ok(());
        }
        let expected = "a number above 0, such as 1e-5";
        Err(FlowError::option("the threshold of a guard", self.threshold, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_above_zero() {
        for bad in [0.0, -1.0, f64::NAN] {
            let error = Guard { threshold: bad, ..Guard::default() }.check().unwrap_err();
            assert!(error.to_string().contains("the threshold of a guard is"), "{error}");
        }
        assert!(Guard::default().check().is_ok() && Guard::default().watches());
        assert!(!Guard::off_gradients_may_be_wrong().watches());
    }
}
