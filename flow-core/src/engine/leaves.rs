//! How a pass runs the blocks of a flow, and what it keeps of each for its product.

use super::Pass;
use crate::{Block, Memory, Result, Scalar};

impl<E: Scalar> Pass<'_, E> {
    /// Runs a block's forward direction.
    ///
    /// # Errors
    /// Those of the block; one that cannot be inverted, under [`Memory::Inverted`].
    pub fn forward<B: Block<E>>(
        &mut self,
        block: &B,
        x: &mut [E],
        log_det: &mut [E],
    ) -> Result<()> {
        if B::COMPOSITE {
            return block.forward(self, x, log_det);
        }
        #[cfg(feature = "cuda")]
        if let Some(to) = self.lowering.as_deref_mut() {
            to.leaf(block, self.leaf, x, false)?;
            self.leaf += 1;
            return Ok(());
        }
        if !self.skips(x) {
            self.before(block, x)?;
            block.forward(self, x, log_det)?;
            self.look(x, log_det);
        }
        self.leaf += 1;
        Ok(())
    }

    /// Runs a block's inverse direction.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn inverse<B: Block<E>>(
        &mut self,
        block: &B,
        z: &mut [E],
        log_det: &mut [E],
    ) -> Result<()> {
        if B::COMPOSITE {
            return block.inverse(self, z, log_det);
        }
        self.leaf -= 1;
        #[cfg(feature = "cuda")]
        if let Some(to) = self.lowering.as_deref_mut() {
            return to.leaf(block, self.leaf, z, true);
        }
        if self.skips(z) {
            return Ok(());
        }
        self.before(block, z)?;
        if !self.radius.is_empty() {
            let bound = block.facts().inverse;
            let bound = if self.beside { bound.max(1.0) } else { bound };
            // An exact input has an exact inverse, whatever the bound: 0 · ∞ counts as 0.
            self.radius.iter_mut().filter(|r| **r > 0.0).for_each(|r| *r *= bound);
        }
        block.inverse(self, z, log_det)?;
        self.look(z, log_det);
        Ok(())
    }

    /// Runs the vector-Jacobian product of a block's forward direction.
    ///
    /// # Errors
    /// Those of the block, and of its pass where that runs again; an inverse that has exploded, where
    /// the guard's policy makes that an error.
    pub fn forward_vjp<B: Block<E>>(
        &mut self,
        block: &B,
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()> {
        if B::COMPOSITE {
            return block.forward_vjp(self, gradient, log_det);
        }
        self.leaf -= 1;
        if self.inverts() {
            return self.walk_back(block, gradient, log_det);
        }
        self.recompute(block, false)?;
        block.forward_vjp(self, gradient, log_det)
    }

    /// Runs the vector-Jacobian product of a block's inverse direction.
    ///
    /// # Errors
    /// As [`forward_vjp`](Self::forward_vjp).
    pub fn inverse_vjp<B: Block<E>>(
        &mut self,
        block: &B,
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()> {
        if B::COMPOSITE {
            return block.inverse_vjp(self, gradient, log_det);
        }
        if self.inverts() {
            self.walk_back(block, gradient, log_det)?;
        } else {
            self.recompute(block, true)?;
            block.inverse_vjp(self, gradient, log_det)?;
        }
        self.leaf += 1;
        Ok(())
    }

    /// Keeps of a block's input what the memory says.
    fn before<B: Block<E>>(&mut self, block: &B, x: &[E]) -> Result<()> {
        if self.memory == Memory::Recomputed {
            let copy = self.take_copy(x);
            self.save(copy);
        }
        self.leave_trail(block, x)
    }

    /// Runs a block once more on its kept input, where its activations were not stored.
    fn recompute<B: Block<E>>(&mut self, block: &B, backwards: bool) -> Result<()> {
        if self.memory != Memory::Recomputed {
            return Ok(());
        }
        let mut x = self.restore();
        self.run_saving(block, backwards, &mut x)?;
        self.give(x);
        Ok(())
    }

    fn look(&mut self, x: &[E], log_det: &[E]) {
        if let Some(observer) = self.observer {
            observer(self.leaf, x, log_det);
        }
    }
}
