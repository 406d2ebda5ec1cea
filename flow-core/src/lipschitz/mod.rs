//! Certified bounds of how much a flow and its inverse can amplify a change.
//!
//! [`Flow::bilipschitz`](crate::Flow::bilipschitz) carries a [`Region`] through the blocks by
//! interval arithmetic and multiplies what each says of its Jacobian there. Every figure is an upper
//! bound in spite of rounding: of the map as its weights define it, in exact arithmetic.

mod aligned;
mod bounds;
mod convolution;
mod enclosure;
mod flow;
mod hermitian;
mod interval;
mod interval_matrix;
pub(crate) mod limit;
pub(crate) mod linear;
mod mean_value;
pub(crate) mod norm;
mod probe;
mod region;
mod rounding;
mod slopes;
pub(crate) mod triangle;
mod whole;

pub(crate) use bounds::up;
pub use bounds::{Amplification, BlockBound, Bound, Bounds, Kind, Scope, Way};
pub use enclosure::Enclosure;
pub(crate) use interval::affine;
pub use interval::Interval;
pub use interval_matrix::IntervalMatrix;
pub use mean_value::{Cell, MeanValue};
pub use probe::Probe;
pub use region::Region;
pub use slopes::Slopes;
