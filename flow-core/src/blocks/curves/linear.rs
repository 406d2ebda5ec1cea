use super::Curve;
use crate::lipschitz::Interval;
use crate::{Facts, FlowError, LogDet, Result, Scalar};

/// `x`, or `slope·x` where that is negative: `leaky_relu(slope = 0.01)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    /// Above 0.
    pub slope: f64,
}

impl LeakyRelu {
    fn at<E: Scalar>(&self, side: E) -> E {
        if side < E::zero() {
            E::of(self.slope)
        } else {
            E::one()
        }
    }
}

impl Curve for LeakyRelu {
    const NAME: &'static str = "leaky_relu";

    fn check(&self) -> Result<()> {
        if self.slope > 0.0 && self.slope.is_finite() {
            Ok(())
        } else {
            Err(FlowError::option("slope", self.slope, "a finite number above 0"))
        }
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::LeakyRelu { slope: self.slope }
    }

    fn facts(&self) -> Facts {
        Facts {
            log_det: LogDet::Varying,
            forward: self.slope.max(1.0),
            inverse: 1.0 / self.slope.min(1.0),
            ..Facts::ISOMETRY
        }
    }

    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        let slope = self.at(x);
        (x * slope, slope.ln())
    }

    fn slopes<E: Scalar>(&self, x: E) -> (E, E) {
        (self.at(x), E::zero())
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        let slope = self.at(z);
        Some((z / slope, -slope.ln()))
    }

    fn inverse_slopes<E: Scalar>(&self, z: E) -> (E, E) {
        (self.at(z).recip(), E::zero())
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        let below = if x.low < 0.0 { self.slope } else { 1.0 };
        let above = if x.high < 0.0 { self.slope } else { 1.0 };
        let slopes = Interval::new(below.min(above), below.max(above));
        (x.increasing(|x| x * self.at(x)), slopes)
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        Some(z.increasing(|z| z / self.at(z)))
    }
}

/// `factor·x`: `scale(factor)`. Its log-determinant is `log |factor|` for each number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Any number but 0.
    pub factor: f64,
}

impl Curve for Scale {
    const NAME: &'static str = "scale";

    fn check(&self) -> Result<()> {
        if self.factor != 0.0 && self.factor.is_finite() {
            Ok(())
        } else {
            Err(FlowError::option("factor", self.factor, "a finite number other than 0"))
        }
    }

    fn falls(&self) -> bool {
        self.factor < 0.0
    }

    #[cfg(feature = "cuda")]
    fn lowered(&self) -> flow_cuda::kernels::curves::Curve {
        flow_cuda::kernels::curves::Curve::Scale { factor: self.factor }
    }

    fn facts(&self) -> Facts {
        let size = self.factor.abs();
        let log_det = if size == 1.0 { LogDet::Zero } else { LogDet::Constant };
        Facts { log_det, forward: size, inverse: 1.0 / size, ..Facts::ISOMETRY }
    }

    fn forward<E: Scalar>(&self, x: E) -> (E, E) {
        (x * E::of(self.factor), E::of(self.factor.abs().ln()))
    }

    fn slopes<E: Scalar>(&self, _: E) -> (E, E) {
        (E::of(self.factor), E::zero())
    }

    fn inverse<E: Scalar>(&self, z: E) -> Option<(E, E)> {
        Some((z / E::of(self.factor), -E::of(self.factor.abs().ln())))
    }

    fn inverse_slopes<E: Scalar>(&self, _: E) -> (E, E) {
        (E::of(self.factor).recip(), E::zero())
    }

    fn enclose(&self, x: Interval) -> (Interval, Interval) {
        (x * Interval::point(self.factor), Interval::point(self.factor.abs()))
    }

    fn enclose_inverse(&self, z: Interval) -> Option<Interval> {
        Some(z / Interval::point(self.factor))
    }
}
