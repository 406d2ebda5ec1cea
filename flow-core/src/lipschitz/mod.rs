//! Certified bounds of how much a flow and its inverse can amplify a change.
//!
//! [`Flow::bilipschitz`](crate::Flow::bilipschitz) carries a [`Region`] through the blocks by
//! interval arithmetic and multiplies what each says of its Jacobian there. Every figure is an upper
//! bound in spite of rounding: of the map as its weights define it, in exact arithmetic.

mod bounds;
mod convolution;
mod enclosure;
mod flow;
mod hermitian;
mod interval;
pub(crate) mod limit;
pub(crate) mod linear;
pub(crate) mod norm;
mod probe;
mod region;
mod rounding;
mod slopes;
pub(crate) mod triangle;

pub(crate) use bounds::up;
pub use bounds::{Amplification, BlockBound, Bound, Bounds, Kind, Scope};
pub use enclosure::Enclosure;
pub(crate) use interval::affine;
pub use interval::Interval;
pub use probe::Probe;
pub use region::Region;
pub use slopes::Slopes;
