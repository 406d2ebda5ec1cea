use crate::backend::cpu::elementwise as kernel;
use crate::lipschitz::Interval;
use crate::Scalar;

/// The function between two layers of a net.
///
/// Every one is Lipschitz; [`lipschitz`](Self::lipschitz) gives the constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `max(v, 0)`.
    Relu,
    /// `v`, or `e^v − 1` below 0.
    Elu,
    /// `v`, or `0.01·v` below 0.
    LeakyRelu,
    /// The hyperbolic tangent.
    Tanh,
    /// `v·σ(v)`.
    Swish,
    /// `v·Φ(v)` with the standard normal distribution function.
    Gelu,
    /// `ln(1 + e^v)`.
    Softplus,
}

/// Evaluates an expression in which `$f` is the kernel of an activation: the choice is made once,
/// outside the loop over the buffer.
macro_rules! with_kernel {
    ($activation:expr, $f:ident => $run:expr) => {
        match $activation {
            Activation::Relu => {
                let $f = kernel::relu;
                $run
            }
            Activation::Elu => {
                let $f = kernel::elu;
                $run
            }
            Activation::LeakyRelu => {
                let $f = |v| kernel::leaky_relu(v, E::of(0.01));
                $run
            }
            Activation::Tanh => {
                let $f = kernel::tanh;
                $run
            }
            Activation::Swish => {
                let $f = kernel::swish;
                $run
            }
            Activation::Gelu => {
                let $f = kernel::gelu;
                $run
            }
            Activation::Softplus => {
                let $f = kernel::softplus;
                $run
            }
        }
    };
}

impl Activation {
    /// A Lipschitz constant, rounded up: the largest slope.
    ///
    /// It is 1 but for two. The slope of swish is largest where `v·tanh(v/2) = 2`, the zero of its
    /// second derivative `σ(1 − σ)(2 + v(1 − 2σ))`: 1.0998393201… at `v` = 2.3993572805…. The second
    /// derivative of gelu is `φ(v)(2 − v²)`, so its slope is largest at √2: `Φ(√2) + √2·φ(√2)` =
    /// 1.1289041851….
    pub const fn lipschitz(self) -> f64 {
        match self {
            Self::Swish => 1.099_839_321,
            Self::Gelu => 1.128_904_186,
            _ => 1.0,
        }
    }

    /// Adds a bias to every row of `values` and applies the function.
    pub(crate) fn apply<E: Scalar>(self, values: &mut [E], bias: &[E]) {
        with_kernel!(self, f => kernel::map_biased(values, bias, |v| f(v).0));
    }

    /// As [`apply`](Self::apply), and writes the slopes.
    pub(crate) fn apply_with_slope<E: Scalar>(
        self,
        values: &mut [E],
        slopes: &mut [E],
        bias: &[E],
    ) {
        with_kernel!(self, f => kernel::map_biased_with_slope(values, slopes, bias, f));
    }

    /// As [`apply`](Self::apply) where each unit has a row of its own, and so each row its bias;
    /// writes the slopes where `slopes` is not empty.
    pub(crate) fn apply_by_unit<E: Scalar>(self, values: &mut [E], slopes: &mut [E], bias: &[E]) {
        if slopes.is_empty() {
            with_kernel!(self, f => kernel::map_biased_rows(values, bias, |v| f(v).0));
        } else {
            with_kernel!(self, f => kernel::map_biased_rows_with_slope(values, slopes, bias, f));
        }
    }

    /// As [`apply_with_slope`](Self::apply_with_slope), and writes the second derivatives; at a
    /// kink, 0.
    pub(crate) fn apply_with_curvature<E: Scalar>(
        self,
        values: &mut [E],
        slopes: &mut [E],
        curvatures: &mut [E],
        bias: &[E],
    ) {
        with_kernel!(self, f => kernel::map_biased_with_curvature(
            values,
            slopes,
            curvatures,
            bias,
            |v| {
                let (value, slope) = f(v);
                (value, slope, self.curvature(v, value, slope))
            },
        ));
    }

    /// All values on an interval, and an upper bound of the absolute slope there.
    pub(crate) fn enclose(self, v: Interval) -> (Interval, f64) {
        let value = |v: f64| match v {
            f64::NEG_INFINITY => match self {
                Self::Elu | Self::Tanh => -1.0,
                Self::LeakyRelu => v,
                _ => 0.0,
            },
            f64::INFINITY => {
                if self == Self::Tanh {
                    1.0
                } else {
                    v
                }
            }
            v => {
                let mut value = [v];
                self.apply(&mut value, &[0.0]);
                value[0]
            }
        };
        // Where it falls, swish and gelu have their least value between, each rounded down, at those
        // places within 1e-6.
        let (turn, least) = match self {
            Self::Swish => (-1.278_464_5, -0.278_464_543),
            Self::Gelu => (-0.751_791_5, -0.169_971_208),
            _ => (0.0, f64::INFINITY),
        };
        // Swish and gelu lose digits in the left tail: half a unit of the least value covers them.
        let ends = Interval::new(value(v.low).min(value(v.high)), value(v.low).max(value(v.high)));
        let wide = ends.increasing(|v| v);
        let slack = if least < 0.0 { 1e-15 } else { 0.0 };
        let turns = least < 0.0 && v.low < turn + 1e-6 && v.high > turn - 1e-6;
        let low = if turns { wide.low.min(least) } else { wide.low };
        let values = Interval::new(low - slack, wide.high + slack);
        (values, self.slopes(v).magnitude().min(self.lipschitz()))
    }

    /// The second derivative at `v`, from the value and the slope there.
    #[inline]
    fn curvature<E: Scalar>(self, v: E, value: E, slope: E) -> E {
        match self {
            Self::Relu | Self::LeakyRelu => E::zero(),
            // e^v below 0, which is the slope there.
            Self::Elu => {
                if v <= E::zero() {
                    slope
                } else {
                    E::zero()
                }
            }
            Self::Tanh => E::of(-2.0) * value * slope,
            Self::Swish => {
                let (up, down) = (kernel::sigmoid(v), kernel::sigmoid(-v));
                up * down * (E::of(2.0) + v * (down - up))
            }
            Self::Gelu => {
                let density = E::of(0.398_942_280_401_432_7) * (-E::of(0.5) * v * v).exp();
                // Far out the density is 0 before v² overflows.
                if density == E::zero() {
                    density
                } else {
                    density * (E::of(2.0) - v * v)
                }
            }
            Self::Softplus => kernel::sigmoid(v) * kernel::sigmoid(-v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 7] = [
        Activation::Relu,
        Activation::Elu,
        Activation::LeakyRelu,
        Activation::Tanh,
        Activation::Swish,
        Activation::Gelu,
        Activation::Softplus,
    ];

    fn value<E: Scalar>(activation: Activation, v: E) -> E {
        let mut values = [v];
        activation.apply(&mut values, &[E::zero()]);
        values[0]
    }

    fn with_slope<E: Scalar>(activation: Activation, v: E) -> (E, E) {
        let (mut values, mut slopes) = ([v], [E::zero()]);
        activation.apply_with_slope(&mut values, &mut slopes, &[E::zero()]);
        (values[0], slopes[0])
    }

    #[test]
    fn values_are_those_of_fifty_digits() {
        // Computed with fifty decimal digits from the definitions.
        for (activation, v, want) in [
            (Activation::Relu, -0.75_f64, 0.0_f64),
            (Activation::Relu, 3.0, 3.0),
            (Activation::Elu, -9.0, -0.9998765901959134),
            (Activation::Elu, -0.75, -0.5276334472589853),
            (Activation::Elu, 1e-05, 1e-05),
            (Activation::Elu, 0.5, 0.5),
            (Activation::Elu, 3.0, 3.0),
            (Activation::Elu, 8.0, 8.0),
            (Activation::LeakyRelu, -0.75, -0.0075),
            (Activation::LeakyRelu, 3.0, 3.0),
            (Activation::Tanh, -9.0, -0.999999969540041),
            (Activation::Tanh, -0.75, -0.6351489523872873),
            (Activation::Tanh, 1e-05, 9.999999999666668e-06),
            (Activation::Tanh, 0.5, 0.46211715726000974),
            (Activation::Tanh, 3.0, 0.9950547536867305),
            (Activation::Tanh, 8.0, 0.9999997749296758),
            (Activation::Swish, -9.0, -0.0011105511838760856),
            (Activation::Swish, -0.75, -0.24061597561845527),
            (Activation::Swish, 1e-05, 5.0000250000000005e-06),
            (Activation::Swish, 0.5, 0.3112296656009273),
            (Activation::Swish, 3.0, 2.8577223804672998),
            (Activation::Swish, 8.0, 7.997317198956268),
            (Activation::Gelu, -9.0, -1.0157295653584566e-18),
            (Activation::Gelu, -0.75, -0.16997051428265114),
            (Activation::Gelu, 1e-05, 5.0000398942280396e-06),
            (Activation::Gelu, 0.5, 0.34573123063700656),
            (Activation::Gelu, 3.0, 2.99595030590511),
            (Activation::Gelu, 8.0, 7.999999999999995),
            (Activation::Softplus, -9.0, 0.00012340218972325883),
            (Activation::Softplus, -0.75, 0.38687100611489994),
            (Activation::Softplus, 1e-05, 0.6931521805724453),
            (Activation::Softplus, 0.5, 0.9740769841801067),
            (Activation::Softplus, 3.0, 3.048587351573742),
            (Activation::Softplus, 8.0, 8.000335406372896),
        ] {
            let got = value(activation, v);
            // In its tail, erfc multiplies the rounding of its argument by about v².
            let condition = if activation == Activation::Gelu { 1.0 + v * v } else { 1.0 };
            assert!(
                (got - want).abs() <= 4e-16 * condition * want.abs(),
                "{activation:?} of {v} is {got}"
            );
            let single = f64::from(value(activation, v as f32));
            let rounded = f64::from(v as f32);
            let reference = value(activation, rounded);
            assert!(
                (single - reference).abs() <= 4e-7 * reference.abs().max(1e-30),
                "{activation:?} of {rounded} is {single} in f32"
            );
        }
    }

    #[test]
    fn slopes_are_those_of_central_differences() {
        for activation in ALL {
            for i in -40..40 {
                let v = 0.2 * f64::from(i) + 0.05;
                let (same, slope) = with_slope(activation, v);
                assert_eq!(same, value(activation, v));
                let step = 1e-5;
                let (above, below) = (value(activation, v + step), value(activation, v - step));
                let want = (above - below) / (2.0 * step);
                assert!((slope - want).abs() < 1e-9, "{activation:?} at {v}: {slope}, not {want}");
            }
        }
    }

    #[test]
    fn curvatures_are_the_slopes_of_slopes() {
        for activation in ALL {
            for i in -40..40 {
                let v = 0.2 * f64::from(i) + 0.05;
                let (mut values, mut slopes, mut curvatures) = ([v], [0.0], [f64::NAN]);
                let bias = [0.0];
                activation.apply_with_curvature(&mut values, &mut slopes, &mut curvatures, &bias);
                assert_eq!((values[0], slopes[0]), with_slope(activation, v));
                let slope = |v| with_slope(activation, v).1;
                let want = (slope(v + 1e-5) - slope(v - 1e-5)) / 2e-5;
                let got = curvatures[0];
                assert!((got - want).abs() < 1e-9, "{activation:?} at {v}: {got}, not {want}");
            }
            for v in [-1e30_f64, -800.0, 800.0, 1e30] {
                let mut all = [[v], [0.0], [f64::NAN]];
                let [values, slopes, curvatures] = &mut all;
                activation.apply_with_curvature(values, slopes, curvatures, &[0.0]);
                assert!(all.as_flattened().iter().all(|v| v.is_finite()), "{activation:?} of {v}");
            }
        }
    }

    #[test]
    fn enclosures_hold_values_and_slopes() {
        let noise = crate::Noise::seed(4);
        for activation in ALL {
            for k in 0..2000 {
                let (a, b) = (3.0 * noise.normal(3 * k), 3.0 * noise.normal(3 * k + 1));
                let v = Interval::new(a.min(b), a.max(b));
                let (values, most) = activation.enclose(v);
                let wide = most * (v.high - v.low) + 1e-8;
                assert!(values.high - values.low <= wide, "{activation:?} of {v:?}: {values:?}");
                for i in 0..=24 {
                    let at = (v.low + (v.high - v.low) * f64::from(i) / 24.0).min(v.high);
                    let (value, slope) = with_slope(activation, at);
                    assert!(values.contains(value), "{activation:?} of {at}: {value}, {values:?}");
                    assert!(slope.abs() <= most, "{activation:?} at {at}: {slope} over {most}");
                }
            }
            let (values, most) = activation.enclose(Interval::EVERYTHING);
            assert_eq!(most, activation.lipschitz());
            for v in [-1e30, -1.2784645, -0.75179, 0.0, 3.0, 1e30] {
                assert!(values.contains(value(activation, v)), "{activation:?} of {v}");
            }
        }
    }

    #[test]
    fn far_values_are_finite_and_nan_stays() {
        for activation in ALL {
            for v in [-1e30_f64, -800.0, 800.0, 1e30] {
                let (value, slope) = with_slope(activation, v);
                assert!(value.is_finite() && slope.is_finite(), "{activation:?} of {v}");
                let (value, slope) = with_slope(activation, v as f32);
                assert!(value.is_finite() && slope.is_finite(), "{activation:?} of {v} in f32");
            }
            assert!(value(activation, f64::NAN).is_nan(), "{activation:?}");
        }
    }

    #[test]
    fn no_slope_exceeds_the_constant() {
        for activation in ALL {
            let most = (-200_000..200_000)
                .map(|i| with_slope(activation, 5e-5 * f64::from(i)).1)
                .fold(0.0, f64::max);
            let bound = activation.lipschitz();
            assert!(most <= bound && most > bound - 1e-4, "{activation:?}: {most} and {bound}");
        }
    }
}
