//! Derivatives of numbers that depend on the weights alone: of bounds, and of log-determinants.

use crate::engine::{Derived, Gradients, Parameter, Pass, State, Workspace};
use crate::{Block, LogDet, Memory, Result, Scalar};

use super::{Amplification, Kind};

/// Gradients by the weights that blocks add to.
#[derive(Debug)]
pub struct Slopes<E> {
    gradients: Gradients<E>,
}

impl<E: Scalar> Slopes<E> {
    pub(super) fn new(state: &State<E>) -> Self {
        Self { gradients: Gradients::zeros(state, 0) }
    }

    /// Where a parameter's gradient is added.
    pub fn parameter(&mut self, slot: &Parameter) -> &mut [E] {
        self.gradients.parameter(slot)
    }

    /// Where a derived value's gradient is added, which [`Block::finish`] carries on.
    pub fn derived(&mut self, slot: &Derived) -> &mut [E] {
        self.gradients.derived(slot)
    }

    /// The gradient by all parameters.
    pub(super) fn finish<B: Block<E>>(mut self, blocks: &B, state: &State<E>) -> Result<Vec<E>> {
        let (parameters, derived) = self.gradients.whole();
        blocks.finish(state, derived, parameters)?;
        Ok(std::mem::take(parameters))
    }
}

/// What a probe sums up over the blocks, with its gradient, beside or instead of bounds.
pub(super) struct Errand<E> {
    pub(super) kind: ErrandKind,
    pub(super) sum: f64,
    pub(super) slopes: Slopes<E>,
    /// The first block whose bound is infinite or has no derivative.
    pub(super) refused: Option<(usize, Refusal)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrandKind {
    /// `ln` of the bounds of both directions.
    Bounds,
    /// `(log |det W|/size)²` of blocks whose log-determinant does not depend on the input, where a
    /// sample of the flow has `size` numbers.
    LogDeterminants { size: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unbounded,
    NotDifferentiable,
}

impl<E: Scalar> Errand<E> {
    /// Adds a block's bounds.
    pub(super) fn bound<B: Block<E>>(
        &mut self,
        leaf: usize,
        block: &B,
        state: &State<E>,
        certified: Amplification,
    ) {
        let architectural = Amplification::architectural(block.facts());
        let own = certified.or(architectural);
        self.sum += own.forward + own.inverse;
        let pulls = |certified: f64, architectural: f64| f64::from(certified < architectural);
        let by = match own.kind {
            // For all weights, so that none of them matters.
            Kind::Architectural => [0.0; 2],
            Kind::Certified => [
                pulls(certified.forward, architectural.forward),
                pulls(certified.inverse, architectural.inverse),
            ],
        };
        let refusal = if !(own.forward + own.inverse).is_finite() {
            Refusal::Unbounded
        } else if by != [0.0; 2] && !block.add_bound_slopes(state, by, &mut self.slopes) {
            Refusal::NotDifferentiable
        } else {
            return;
        };
        self.refused.get_or_insert((leaf, refusal));
    }

    /// Adds a block's log-determinant, which a row of zeros tells where it depends on none.
    pub(super) fn log_determinant<B: Block<E>>(
        &mut self,
        block: &B,
        state: &State<E>,
        context: usize,
        width: usize,
        size: usize,
    ) -> Result<()> {
        if block.facts().log_det != LogDet::Constant {
            return Ok(());
        }
        let (mut workspace, mut x) = (Workspace::default(), vec![E::zero(); width]);
        let (context, mut log_det) = (vec![E::zero(); context], [E::zero()]);
        let mut pass = Pass::new(1, state, &context, &mut workspace, &mut self.slopes.gradients)
            .keeping(Memory::Stored);
        block.forward(&mut pass, &mut x, &mut log_det)?;
        let stretch = log_det[0].as_f64() / size as f64;
        self.sum += stretch * stretch;
        x.fill(E::zero());
        block.forward_vjp(&mut pass, &mut x, &[E::of(2.0 * stretch / size as f64)])
    }
}
