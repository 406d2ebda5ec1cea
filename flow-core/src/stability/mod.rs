//! The stability laboratory: how well a flow's inverse undoes it in floating point, and where it
//! fails.
//!
//! A flow is invertible on paper; its inverse may still amplify rounding until nothing of the input
//! is left (Behrmann et al. 2021, "Understanding and mitigating exploding inverses in invertible
//! neural networks").
//!
//! - [`report`] measures reconstruction errors, singular values, condition numbers and
//!   log-determinants on data, as a table, JSON and a picture.
//! - [`observed`] gives the largest amplification seen on data: a lower bound of the Lipschitz
//!   constants.
//! - [`Attack`] looks for inputs that are reconstructed badly.
//! - [`decorrelate`] is an objective that leaves a flow free to become unstable.
//! - [`gradient_angle`] says how far gradients turn that reconstruct activations by the inverse.
//! - [`stages`] shows the data after each block, and each block's log-determinants.
//! - [`Inputs`] are noise and constants, unlike any data.
//! - [`PlaneMap`] shows a flow of the plane at every point of a window.
//!
//! All run in the flow's own precision and sum up in `f64`, but for [`observed`], which is in `f64`
//! throughout. Conditional flows are studied through a
//! view with their context: `stability::report(&flow.given(context), &data)`.

mod angle;
mod attack;
mod decorrelate;
mod examination;
mod extremes;
mod inputs;
mod maps;
mod observed;
mod picture;
mod probe;
mod report;
mod spread;
mod stages;
mod svd;
mod table;

pub use angle::{gradient_angle, gradient_angle_of, Angle, GradientAngles};
pub use attack::{Attack, Attacked};
pub use decorrelate::decorrelate;
pub use examination::{report, Examination};
pub use inputs::Inputs;
pub use maps::{PlaneMap, Quantity};
pub use observed::{observed, Observed, SingularValue};
pub use report::{Certified, Conditioning, Method, Reconstruction, Report};
pub use spread::{Finite, Spread, LEVELS};
pub use stages::{stages, Stage};
