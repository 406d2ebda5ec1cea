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
    /// The same flow in `f64`, for what must not suffer from rounding.
    type Double: Architecture<f64>;

    /// The flow's name in the source.
    const NAME: &'static str;

    /// The blocks in their order, as [`summary`](crate::Flow::summary) prints them.
    const ITEMS: &'static [Item];

    /// Makes the blocks with their starting weights.
    ///
    /// # Errors
    /// The first of its blocks' own.
    fn new(builder: &mut Builder<E>) -> Result<Self>;
}

/// A flow all of whose blocks have an inverse, so that it can draw samples.
///
/// `flow!` implements it for the blocks of every flow without a forward-only block (`planar`,
/// `radial`, `sylvester`). Generic code that inverts or samples asks for it:
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::{Data, Invertible};
///
/// fn one<F>(flow: &F, noise: &mut Noise) -> Result<Data<F, usize>, FlowError>
/// where
///     F: NormalizingFlow,
///     F::Architecture: Invertible,
/// {
///     flow.sample(1, noise)
/// }
/// ```
///
/// A flow inside a flow counts too, but only where code is generated: a flow that `use`s a
/// forward-only one has this trait, and its inverse is a compile error all the same.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to have an inverse, so it cannot be inverted or sampled",
    label = "a flow with a forward-only block only runs forward",
    note = "`planar`, `radial` and `sylvester` have no inverse: call `forward` or `log_prob`, or build the flow of other blocks",
    note = "generic code asks for an inverse with `where F::Architecture: flow_core::Invertible`"
)]
pub trait Invertible {}

/// Whether every item has an inverse, those of flows inside this one included.
pub(crate) const fn invertible(items: &[Item]) -> bool {
    let mut i = 0;
    while i < items.len() {
        if !items[i].facts.invertible {
            return false;
        }
        i += 1;
    }
    true
}
