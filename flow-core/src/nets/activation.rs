use flow_kernels::Function;

use crate::backend::cpu::elementwise as kernel;
use crate::engine::Pass;
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

    /// Value and slope at `v` by the library's functions, to the last digits.
    pub(crate) fn at<E: Scalar>(self, v: E) -> (E, E) {
        match self {
            Self::Relu => kernel::leaky_relu(v, E::zero()),
            Self::Elu => kernel::elu(v),
            Self::LeakyRelu => kernel::leaky_relu(v, E::of(0.01)),
            Self::Tanh => kernel::tanh(v),
            Self::Swish => kernel::swish(v),
            Self::Gelu => kernel::gelu(v),
            Self::Softplus => kernel::softplus(v),
        }
    }

    /// Adds a bias to every row of `values`, or nothing where that is empty, and applies the function.
    /// Writes slopes and second derivatives (at a kink, 0) where their buffers are not empty.
    pub(crate) fn apply<E: Scalar>(
        self,
        values: &mut [E],
        bias: &[E],
        slopes: &mut [E],
        curvatures: &mut [E],
    ) {
        let function = match self {
            Self::Relu => Function::Leaky { below: E::zero() },
            Self::LeakyRelu => Function::Leaky { below: E::of(0.01) },
            Self::Elu => Function::Elu,
            Self::Tanh => Function::Tanh,
            Self::Swish => Function::Swish,
            Self::Softplus => Function::Softplus,
            Self::Gelu => {
                // The error function is the library's, number by number.
                for (i, v) in values.iter_mut().enumerate() {
                    *v += if bias.is_empty() { E::zero() } else { bias[i % bias.len()] };
                    let (value, slope) = kernel::gelu(*v);
                    if let Some(curvature) = curvatures.get_mut(i) {
                        *curvature = gelu_curvature(*v);
                    }
                    if let Some(at) = slopes.get_mut(i) {
                        *at = slope;
                    }
                    *v = value;
                }
                return;
            }
        };
        flow_kernels::bend(function, values, bias, slopes, curvatures);
    }

    /// [`apply`](Self::apply), which saves the slopes where a product follows.
    pub(crate) fn apply_saving<E: Scalar>(
        self,
        pass: &mut Pass<'_, E>,
        values: &mut [E],
        bias: &[E],
    ) {
        if pass.saving() {
            let mut slopes = pass.take(values.len());
            self.apply(values, bias, &mut slopes, &mut []);
            pass.save(slopes);
        } else {
            self.apply(values, bias, &mut [], &mut []);
        }
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
            v => self.at(v).0,
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
}

/// The second derivative of gelu, `φ(v)(2 − v²)`.
fn gelu_curvature<E: Scalar>(v: E) -> E {
    let density = E::of(0.398_942_280_401_432_7) * (-E::of(0.5) * v * v).exp();
    // Far out the density is 0 before v² overflows.
    if density == E::zero() {
        density
    } else {
        density * (E::of(2.0) - v * v)
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

    /// Value, slope and curvature as the nets compute them.
    fn bent<E: Scalar>(activation: Activation, v: E) -> [E; 3] {
        let [mut value, mut slope, mut curvature] = [[v], [E::nan()], [E::nan()]];
        activation.apply(&mut value, &[], &mut slope, &mut curvature);
        [value[0], slope[0], curvature[0]]
    }

    fn value<E: Scalar>(activation: Activation, v: E) -> E {
        activation.at(v).0
    }

    fn with_slope<E: Scalar>(activation: Activation, v: E) -> (E, E) {
        activation.at(v)
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
                let slope = |v| with_slope(activation, v).1;
                let want = (slope(v + 1e-5) - slope(v - 1e-5)) / 2e-5;
                let [_, _, got] = bent(activation, v);
                assert!((got - want).abs() < 1e-9, "{activation:?} at {v}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn both_ways_to_compute_agree() {
        for activation in ALL {
            for v in
                (-400..400).map(|i| 0.1 * f64::from(i) + 0.05).chain([-1e30, -800.0, 800.0, 1e30])
            {
                let ([value, slope, curvature], want) =
                    (bent(activation, v), with_slope(activation, v));
                // The slope of swish has a zero, and 1 − σ(v) loses digits where v is large.
                let size = (1.0 + v.abs()) * (value / v).abs().max(want.1.abs());
                assert!(
                    (value - want.0).abs() <= 8.0 * f64::EPSILON * want.0.abs(),
                    "{activation:?} of {v}"
                );
                assert!(
                    (slope - want.1).abs() <= 8.0 * f64::EPSILON * size,
                    "{activation:?} at {v}"
                );
                assert!(curvature.is_finite(), "{activation:?} at {v}");
                let mut alone = [v];
                activation.apply(&mut alone, &[], &mut [], &mut []);
                assert_eq!(alone[0], value);
            }
            assert!(bent(activation, f64::NAN)[0].is_nan(), "{activation:?}");
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
