use super::{fading, inside, log_odds, rising, squashes, tail, Curve};
use crate::lipschitz::Interval;
use crate::{Facts, FlowError, LogDet, Result, Scalar};

/// 1 alone.
fn one() -> Interval {
    Interval::point(1.0)
}

/// `e^−x/(1 + e^−x)²`, the slope of the logistic function.
fn logistic_slope(x: Interval) -> Interval {
    let small = (-x).exp();
    small / (one() + small).square()
}

/// The hyperbolic tangent, onto (−1, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tanh;

impl Curve for Tanh {
    const NAME: &'static str = "tanh";

    fn image(&self) -> &'static str {
        "numbers from -1 to 1"
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::Tanh
    }

    fn facts(&self) -> Facts {
        squashes(1.0)
    }

    /// `log(1 − tanh²) = 2·(log 2 − |x| − log(1 + e^−2|x|))`.
    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let (log, _) = tail(x + x);
        (x.tanh(), E::of(2.0) * (E::LN_2() - x.abs() - log))
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        let (_, small) = tail(x + x);
        let whole = E::one() + small;
        (E::of(4.0) * small / (whole * whole), E::of(-2.0) * x.tanh())
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        let one = E::one();
        if z < -one || z > one {
            return None;
        }
        let size = inside(z.abs(), E::zero());
        let x = E::of(0.5) * ((size + size) / (one - size)).ln_1p();
        Some((x * z.signum(), -(-size).ln_1p() - size.ln_1p()))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        let size = inside(z.abs(), E::zero());
        let slope = ((E::one() - size) * (E::one() + size)).recip();
        (slope, E::of(2.0) * z * slope)
    }

    /// `1 − tanh² x = 4·σ'(2x)`.
    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        let [two, four] = [2.0, 4.0].map(Interval::point);
        (x.tanh(), fading(x, |x| four * logistic_slope(two * x)))
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        let z = z.meet(Interval::new(-1.0, 1.0))?;
        let half = Interval::point(0.5);
        Some(rising(z, |z| half * log_odds(one() + z, one() - z)))
    }
}

/// The logistic function `1/(1 + e^−x)`, onto (0, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid;

impl Sigmoid {
    /// σ, `log σ'`, `σ'` and `d log σ' / dx`.
    fn all<E: Scalar>(x: E) -> [E; 4] {
        let (log, small) = tail(x);
        let above = (E::one() + small).recip();
        let below = small * above;
        let value = if x < E::zero() { below } else { above };
        let bend = -(x * E::of(0.5)).tanh();
        [value, -x.abs() - log - log, below * above, bend]
    }
}

impl Curve for Sigmoid {
    const NAME: &'static str = "sigmoid";

    fn image(&self) -> &'static str {
        "numbers from 0 to 1"
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::Sigmoid
    }

    fn facts(&self) -> Facts {
        squashes(0.25)
    }

    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let [value, log_slope, ..] = Self::all(x);
        (value, log_slope)
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        let [.., slope, bend] = Self::all(x);
        (slope, bend)
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        if z < E::zero() || z > E::one() {
            return None;
        }
        let z = inside(z, E::min_positive_value());
        let (log, log_rest) = (z.ln(), (-z).ln_1p());
        Some((log - log_rest, -log - log_rest))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        let z = inside(z, E::min_positive_value());
        let slope = (z * (E::one() - z)).recip();
        (slope, (z + z - E::one()) * slope)
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        (x.sigmoid(), fading(x, logistic_slope))
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        let z = z.meet(Interval::new(0.0, 1.0))?;
        Some(rising(z, |z| log_odds(z, one() - z)))
    }
}

/// `log(p/(1 − p))` with `p = alpha + (1 − 2·alpha)·x` (Dinh et al. 2017, "Density estimation using
/// Real NVP", section 4.1): `logit(alpha = 0.0)`.
///
/// The domain is where `0 < p < 1`, the whole of what the inverse reaches: (0, 1) for `alpha = 0`,
/// and `alpha/(1 − 2·alpha)` more on either side above it, so that the density of a flow that starts
/// with it integrates to 1 and its samples have one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logit {
    /// At least 0 and less than a half.
    pub alpha: f64,
}

impl Logit {
    /// `1 − 2·alpha`.
    fn stretch(&self) -> f64 {
        1.0 - 2.0 * self.alpha
    }

    /// `alpha` and the true `1 − 2·alpha`.
    fn enclosed(&self) -> (Interval, Interval) {
        let alpha = Interval::point(self.alpha);
        (alpha, one() - Interval::point(2.0) * alpha)
    }

    /// `p` and `1 − p`, each to its own accuracy.
    fn shares<E: Scalar>(&self, x: E) -> (E, E) {
        let (alpha, stretch) = (E::of(self.alpha), E::of(self.stretch()));
        (alpha + stretch * x, alpha + stretch * (E::one() - x))
    }
}

impl Curve for Logit {
    const NAME: &'static str = "logit";

    fn check(&self) -> Result<()> {
        if (0.0..0.5).contains(&self.alpha) {
            Ok(())
        } else {
            Err(FlowError::option("alpha", self.alpha, "at least 0 and less than 0.5"))
        }
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::Logit { alpha: self.alpha }
    }

    /// The slope `(1 − 2·alpha)/(p(1 − p))` is least at `p = ½`.
    fn facts(&self) -> Facts {
        Facts {
            log_det: LogDet::Varying,
            bi_lipschitz: false,
            forward: f64::INFINITY,
            inverse: 1.0 / (4.0 * self.stretch()),
            ..Facts::ISOMETRY
        }
    }

    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let (p, rest) = self.shares(x);
        // So that nets further on see a number of ordinary size.
        let far = -E::epsilon().ln();
        if p <= E::zero() {
            return (-far, E::neg_infinity());
        }
        if rest <= E::zero() {
            return (far, E::neg_infinity());
        }
        let (log, log_rest) = (p.ln(), rest.ln());
        (log - log_rest, E::of(self.stretch().ln()) - log - log_rest)
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        let (p, rest) = self.shares(x);
        if p <= E::zero() || rest <= E::zero() {
            return (E::zero(), E::zero());
        }
        let slope = E::of(self.stretch()) / p / rest;
        (slope, (p - rest) * slope)
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        let [p, log_slope, ..] = Sigmoid::all(z);
        let stretch = E::of(self.stretch());
        Some(((p - E::of(self.alpha)) / stretch, log_slope - E::of(self.stretch().ln())))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        let [.., slope, bend] = Sigmoid::all(z);
        (slope / E::of(self.stretch()), bend)
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        let (alpha, stretch) = self.enclosed();
        let shares = |x: Interval| (alpha + stretch * x, alpha + stretch * (one() - x));
        let slope = |x: f64| {
            let (p, rest) = shares(Interval::point(x));
            stretch / p / rest
        };
        // Least where x is nearest to a half, and there 4·stretch.
        let least = slope(0.5_f64.clamp(x.low, x.high)).low;
        let least = least.max((Interval::point(4.0) * stretch).low);
        let (p, rest) = shares(x);
        if p.low <= 0.0 || rest.low <= 0.0 {
            return (Interval::EVERYTHING, Interval::new(least, f64::INFINITY));
        }
        let value = rising(x, |x| {
            let (p, rest) = shares(x);
            log_odds(p, rest)
        });
        (value, Interval::new(least, slope(x.low).high.max(slope(x.high).high)))
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        let (alpha, stretch) = self.enclosed();
        Some((z.sigmoid() - alpha) / stretch)
    }
}

/// `log(1 + e^x)`, onto the numbers above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softplus;

impl Softplus {
    /// `1 − e^−z`.
    fn slope<E: Scalar>(z: E) -> E {
        -(-z).exp_m1()
    }

    fn inside<E: Scalar>(z: E) -> E {
        if z < E::min_positive_value() {
            E::min_positive_value()
        } else {
            z
        }
    }
}

impl Curve for Softplus {
    const NAME: &'static str = "softplus";

    fn image(&self) -> &'static str {
        "numbers from 0 up"
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::Softplus
    }

    fn facts(&self) -> Facts {
        squashes(1.0)
    }

    /// The slope is σ(x).
    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let (log, _) = tail(x);
        if x < E::zero() {
            (log, x - log)
        } else {
            (x + log, -log)
        }
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        let (slope, _) = Sigmoid.forward(x);
        let (bend, _) = Sigmoid.forward(-x);
        (slope, bend)
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        if z < E::zero() {
            return None;
        }
        let z = Self::inside(z);
        // Near 1 the slope has lost what its distance from 1 still has.
        let log = if z > E::one() { (-(-z).exp()).ln_1p() } else { Self::slope(z).ln() };
        Some((z + log, -log))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        let z = Self::inside(z);
        (Self::slope(z).recip(), -z.exp_m1().recip())
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        // A sum of positive numbers, with two library functions' worth of rounding.
        let value = x.increasing(|x| x.max(0.0) + (-x.abs()).exp().ln_1p());
        let value = value.widened(8.0 * f64::EPSILON);
        (Interval::new(value.low.max(0.0), value.high), x.sigmoid())
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        let z = z.meet(Interval::new(0.0, f64::INFINITY))?;
        // z + log(1 − e^−z).
        Some(rising(z, |z| z + (-(-z).increasing(f64::exp_m1)).ln()))
    }
}
