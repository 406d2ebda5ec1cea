//! Certified bounds of how much a flow and its inverse can amplify a change.
//!
//! [`Flow::bilipschitz`](crate::Flow::bilipschitz) carries a [`Region`] through the blocks by
//! interval arithmetic and multiplies what each says of its Jacobian there. Every figure is an upper
//! bound in spite of rounding: of the map as its weights define it, in exact arithmetic.
//!
//! A product of many blocks' bounds is loose however small the box. Blocks that give a [`MeanValue`]
//! are therefore followed together too, on boxes of up to 64 numbers, in a frame that turns with
//! them: what they do to the box then is known to first order in its size, and the bound is the less
//! of the two. These blocks do: all couplings and residual blocks with `mlp`, `conv` or `resnet`
//! without attention, autoregressive blocks, linear maps, permutations and rearrangements, maps of
//! one number, `planar`, `radial` and `sylvester`. `ode` does not, for what a solver makes of the way
//! back is a map of its own and not the inverse of its way there; nor do nets with attention, and nets
//! and blocks of one's own that say nothing of their Jacobians. There a segment ends, and bounds of
//! segments multiply.

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
