use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::{fading, inside, rising, squashes, Curve};
use crate::lipschitz::Interval;
use crate::{Facts, Scalar};

/// The standard normal distribution function Φ, onto (0, 1).
///
/// Computed in f64 for either scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalCdf;

/// Φ(x), to its relative accuracy in the left tail.
fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The logarithm of the standard normal density.
fn log_density(x: f64) -> f64 {
    -0.5 * (x * x + (2.0 * PI).ln())
}

/// The `x` with `Φ(x) = p`, for `0 < p < 1`.
///
/// A rational function within 4.5e-4 for any `p` up to a half (Abramowitz and Stegun 1964, 26.2.23)
/// and two of Halley's steps, which cube the error each; the upper half is the mirror image, so
/// that both tails are as accurate.
fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515517 + t * (0.802853 + t * 0.010328);
    let below = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    let mut x = above / below - t;
    for _ in 0..2 {
        let newton = (cdf(x) - p) / log_density(x).exp();
        x -= newton / (1.0 + 0.5 * x * newton);
    }
    x
}

/// `z` in (0, 1), with the ends as the scalar's numbers next to them.
fn open<E: Scalar>(z: E) -> f64 {
    inside(z, E::min_positive_value()).as_f64()
}

/// Φ at a point. Its argument's rounding moves erfc by a share of up to `(x² + 1)·ε` in the left
/// tail, where `erfc'(t)/erfc(t)` is near `2t`; the library's erfc errs by less than one unit.
fn enclosed(x: Interval) -> Interval {
    let tail = x.low.min(0.0);
    let wide = Interval::point(cdf(x.low)).widened((tail * tail + 16.0) * f64::EPSILON);
    // Denormal numbers have lost digits.
    let lost = f64::MIN_POSITIVE;
    Interval::new((wide.low - lost).max(0.0), (wide.high + lost).min(1.0))
}

/// A number on the far side of the quantile of `p`, whatever the rounding there: steps away from
/// it double until Φ says so.
fn beyond(p: f64, sign: f64) -> f64 {
    let start = quantile(p);
    let mut step = sign * 1e-14 * (1.0 + start.abs());
    for _ in 0..60 {
        let image = enclosed(Interval::point(start + step));
        if if sign < 0.0 { image.high <= p } else { image.low >= p } {
            return start + step;
        }
        step += step;
    }
    sign * f64::INFINITY
}

impl Curve for NormalCdf {
    const NAME: &'static str = "normal_cdf";

    fn image(&self) -> &'static str {
        "numbers from 0 to 1"
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::NormalCdf
    }

    fn facts(&self) -> Facts {
        squashes(1.0 / (2.0 * PI).sqrt())
    }

    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let x = x.as_f64();
        (E::of(cdf(x)), E::of(log_density(x)))
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        (E::of(log_density(x.as_f64()).exp()), -x)
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        if z < E::zero() || z > E::one() {
            return None;
        }
        let x = quantile(open(z));
        Some((E::of(x), E::of(-log_density(x))))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        let x = quantile(open(z));
        let slope = (-log_density(x)).exp();
        (E::of(slope), E::of(x * slope))
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        // 1/√(2π).
        let most = Interval::new(0.3989422804014326, 0.3989422804014328);
        let slope = |x: Interval| (Interval::point(-0.5) * x.square()).exp() * most;
        (rising(x, enclosed), fading(x, slope))
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        let z = z.meet(Interval::new(0.0, 1.0))?;
        Some(Interval::new(beyond(z.low, -1.0), beyond(z.high, 1.0)))
    }
}
