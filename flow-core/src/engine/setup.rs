//! Data-dependent initialisation, block by block.

use super::gradients::Gradients;
use super::pass::Pass;
use super::state::{State, Values};
use super::workspace::Workspace;
use crate::{Block, Result, Scalar};

/// Carries a first batch through a flow, letting each block set itself from its own input.
pub struct Setup<'a, E: Scalar> {
    state: &'a mut State<E>,
    context: &'a [E],
    rows: usize,
}

impl<'a, E: Scalar> Setup<'a, E> {
    pub(crate) fn new(state: &'a mut State<E>, context: &'a [E], rows: usize) -> Self {
        // Blocks change one by one.
        state.turned.clear();
        Self { state, context, rows }
    }

    /// Samples in the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Parameters and buffers, to set.
    pub fn values(&mut self) -> &mut Values<E> {
        &mut self.state.values
    }

    /// Initialises a block from its input `x`, then turns `x` into its output.
    ///
    /// # Errors
    /// Those of the block.
    pub fn initialize<B: Block<E>>(&mut self, block: &B, x: &mut [E]) -> Result<()> {
        block.initialize(self, x)?;
        if B::COMPOSITE {
            return Ok(());
        }
        let State { values, derived, .. } = &mut *self.state;
        block.prepare(values, derived)?;
        let (mut workspace, mut gradients) = (Workspace::default(), Gradients::default());
        let mut pass =
            Pass::new(self.rows, self.state, self.context, &mut workspace, &mut gradients);
        block.forward(&mut pass, x, &mut vec![E::zero(); self.rows])
    }
}
