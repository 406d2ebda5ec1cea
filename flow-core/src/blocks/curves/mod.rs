//! Fixed functions of one variable, for [`Elementwise`](super::Elementwise).
//!
//! Each formula keeps its relative accuracy in the tails: where a slope is far below the smallest
//! number there is, its logarithm is still right.

mod linear;
mod normal;
mod squash;

pub use linear::{LeakyRelu, Scale};
pub use normal::NormalCdf;
pub use squash::{Logit, Sigmoid, Softplus, Tanh};

use crate::lipschitz::Interval;
use crate::{Facts, LogDet, Result, Scalar};

/// A strictly monotone function `f` of one variable, with its inverse and the derivatives of both.
///
/// NaN goes through every function: weights that are not finite show in the loss.
pub trait Curve: Send + Sync + 'static {
    /// Its name in `flow!`.
    const NAME: &'static str;

    /// What the function takes in its inverse direction, in words.
    fn image(&self) -> &'static str {
        "any number"
    }

    /// An error where its number is out of range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What holds for a block of it.
    fn facts(&self) -> Facts;

    /// Whether it decreases.
    fn falls(&self) -> bool {
        false
    }

    /// The kernel of it on a GPU.
    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve;

    /// `f(x)` and `log |f'(x)|`. Outside the domain a finite number and −∞.
    fn forward<E: Scalar>(&self, x: E) -> (E, E);

    /// `f'(x)` and `d log |f'(x)| / dx`, both 0 outside the domain.
    fn slopes<E: Scalar>(&self, x: E) -> (E, E);

    /// The `x` with `f(x) = z` and `log |dx/dz|`, or nothing where `z` is outside the image. The
    /// image's open ends, which `f` reaches by rounding, count as the numbers next to them.
    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)>;

    /// `dx/dz` and `d log |dx/dz| / dz`, where there is an inverse.
    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E);

    /// Every value on an interval, and every `|f'|`; of an interval that leaves the domain every
    /// number, and the slopes within the domain.
    fn enclose(&self, x: Interval) -> (Interval, Interval);

    /// Every `x` whose value lies in an interval, or nothing where that is outside the image.
    fn enclose_inverse(&self, z: Interval) -> Option<Interval>;
}

/// An increasing function on an interval, from its enclosures at the ends.
fn rising(x: Interval, at: impl Fn(Interval) -> Interval) -> Interval {
    Interval::new(at(Interval::point(x.low)).low, at(Interval::point(x.high)).high)
}

/// A slope that falls as |x| rises, from its enclosures at points.
fn fading(x: Interval, at: impl Fn(Interval) -> Interval) -> Interval {
    let near = if x.contains(0.0) { 0.0 } else { x.low.abs().min(x.high.abs()) };
    let (far, near) = (at(Interval::point(x.magnitude())), at(Interval::point(near)));
    Interval::new(far.low.max(0.0), near.high)
}

/// `log(p/rest)`.
fn log_odds(p: Interval, rest: Interval) -> Interval {
    p.ln() - rest.ln()
}

/// Facts of a function whose slope is at most `forward` and tends to 0.
fn squashes(forward: f64) -> Facts {
    Facts {
        log_det: LogDet::Varying,
        bi_lipschitz: false,
        forward,
        inverse: f64::INFINITY,
        ..Facts::ISOMETRY
    }
}

/// The number nearest to `z` inside the open interval (`low`, 1).
fn inside<E: Scalar>(z: E, low: E) -> E {
    let most = E::one() - E::epsilon() / E::of(2.0);
    if z > most {
        most
    } else if z < low {
        low
    } else {
        z
    }
}

/// `log(1 + e^−|x|)` beside `e^−|x|`.
fn tail<E: Scalar>(x: E) -> (E, E) {
    let small = (-x.abs()).exp();
    (small.ln_1p(), small)
}

#[cfg(test)]
mod tests;
