//! What `flow!` derives from a flow's source.

use crate::base::Base;
use crate::engine::Builder;
use crate::{Block, Context, Event, Item, Result, Scalar};

/// The blocks of a flow with their events, context and base distribution.
///
/// `flow!` implements it for the struct of a flow's blocks; everything else of a flow is
/// [`Flow`](crate::Flow), which is generic over it.
pub trait Architecture<E: Scalar>: Block<E> + Sized {
    /// One sample of data.
    type Event: Event;
    /// One latent sample.
    type Latent: Event;
    /// What the flow is conditioned on.
    type Context: Context;
    /// The distribution of latents.
    type Base: Base<E>;

    /// The flow's name in the source.
    const NAME: &'static str;

    /// The blocks in their order, as [`summary`](crate::Flow::summary) prints them.
    const ITEMS: &'static [Item];

    /// Makes the blocks with their starting weights.
    fn new(builder: &mut Builder<E>) -> Result<Self>;
}
