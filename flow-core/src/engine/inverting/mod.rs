//! Back through a flow by its own inverse, block by block, under a guard.
//!
//! The forward pass leaves a [`Trail`]. The backward pass carries each block's output along with the
//! gradient, in one buffer of twice the rows: composites rearrange both alike, and at each block
//! [`Pass::walk_back`] takes them apart, turns the output into the input, compares that with the
//! trail, and runs the block's product. What was lost is computed again from the last copy, by a
//! forward pass that skips all blocks before and behind the stretch.

mod again;
mod back;
mod fingerprint;
mod trail;

use super::pass::Pass;
use crate::memory::Guard;
use crate::{Item, Result, Scalar};

#[cfg(feature = "cuda")]
pub(crate) use fingerprint::WHOLE;
pub(crate) use trail::{Exploded, Trail};

/// Of so many blocks a copy is kept at each place that is a multiple of this.
pub(crate) fn stride(leaves: usize) -> usize {
    (leaves as f64).sqrt().ceil().max(1.0) as usize
}

/// All blocks of a flow in the direction of a pass.
pub(crate) type Whole<'r, E> =
    dyn Fn(&mut Pass<'_, E>, &mut [E], &mut [E]) -> Result<()> + Sync + 'r;

/// How a pass inverts.
pub(crate) struct Inverting<'a, E: Scalar> {
    pub(crate) guard: Guard,
    /// Whether the pass runs latent to data.
    pub(crate) backwards: bool,
    /// Numbers of a row of the flow.
    pub(crate) size: usize,
    /// The paths of the blocks, data to latent.
    pub(crate) leaves: &'a [String],
    /// The blocks as they stand in the source.
    pub(crate) items: &'static [Item],
    /// On the way back, the way there.
    pub(crate) whole: Option<&'a Whole<'a, E>>,
    /// The places of the stretch that is computed again now.
    pub(crate) stretch: Option<(usize, usize)>,
}

impl<E: Scalar> Inverting<'_, E> {
    fn place(&self, leaf: usize) -> usize {
        if self.backwards {
            self.leaves.len() - 1 - leaf
        } else {
            leaf
        }
    }

    fn leaf(&self, place: usize) -> usize {
        // The other way round it is the same reflection.
        self.place(place)
    }

    /// A copy is kept at each place that is a multiple of this.
    fn stride(&self) -> usize {
        stride(self.leaves.len())
    }

    /// The block as it stands in the source, or its path.
    fn name(&self, leaf: usize) -> String {
        Item::text_at(self.items, &self.leaves[leaf])
    }
}
