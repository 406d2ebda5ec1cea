//! Activations with their derivatives.

use pulp::{Arch, Simd, WithSimd};

use crate::element::multiply_add;
use crate::map::{exp_of, ln_1p_of};
use crate::{Element, LANES};

/// A function between two layers of a net.
///
/// In f32, values are within four units in the last place of the true ones and slopes within six (that
/// of swish, which has a zero, at least of σ(v)), beside what underflows: the least denormal number
/// times `|v|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function<E> {
    /// `v`, or `below·v` where that is negative.
    Leaky {
        /// The slope below zero.
        below: E,
    },
    /// `v`, or `e^v − 1` below 0.
    Elu,
    /// The hyperbolic tangent.
    Tanh,
    /// `v·σ(v)` with the logistic function σ.
    Swish,
    /// `ln(1 + e^v)`.
    Softplus,
}

/// `v = f(v + bias)` on every row of a row-major matrix whose rows are as long as `bias`; without one
/// `v = f(v)`. Writes the slopes, and the second derivatives (0 at a kink), where there is a buffer for
/// them: as long as `values`, or empty. There are no second derivatives without slopes.
///
/// # Panics
/// Where a buffer has another length, or `values` is not whole rows.
pub fn bend<E: Element>(
    function: Function<E>,
    values: &mut [E],
    bias: &[E],
    slopes: &mut [E],
    curvatures: &mut [E],
) {
    let fits = |len: usize| len == 0 || len == values.len();
    assert!(fits(slopes.len()) && fits(curvatures.len()), "one slope for each value");
    assert!(curvatures.len() <= slopes.len(), "slopes beside second derivatives");
    assert!(
        bias.is_empty() || values.len().is_multiple_of(bias.len()),
        "rows of {} values",
        bias.len()
    );
    E::bend(function, values, bias, slopes, curvatures);
}

#[inline(always)]
pub(crate) fn run<E: Element>(
    function: Function<E>,
    values: &mut [E],
    bias: &[E],
    slopes: &mut [E],
    curvatures: &mut [E],
) {
    let bend = Bend { values, bias, slopes, curvatures };
    let arch = Arch::new();
    match function {
        Function::Leaky { below } => arch.dispatch(Apply(Leaky(below), bend)),
        Function::Elu => arch.dispatch(Apply(Elu, bend)),
        Function::Tanh => arch.dispatch(Apply(Tanh, bend)),
        Function::Swish => arch.dispatch(Apply(Swish, bend)),
        Function::Softplus => arch.dispatch(Apply(Softplus, bend)),
    }
}

struct Bend<'a, E> {
    values: &'a mut [E],
    bias: &'a [E],
    slopes: &'a mut [E],
    curvatures: &'a mut [E],
}

/// A function with its first two derivatives. What a caller does not use is not computed, since
/// all of it is inlined.
trait Curve<E: Element>: Copy {
    fn at<S: Simd>(self, v: E) -> (E, E, E);
}

struct Apply<'a, C, E>(C, Bend<'a, E>);

impl<C: Curve<E>, E: Element> WithSimd for Apply<'_, C, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(curve, Bend { values, bias, slopes, curvatures }) = self;
        let width = if bias.is_empty() { values.len() } else { bias.len() }.max(1);
        for (k, values) in values.chunks_exact_mut(width).enumerate() {
            let row = k * width..(k + 1) * width;
            if slopes.is_empty() {
                values_of::<S, C, E>(curve, values, bias);
            } else {
                let curvatures =
                    if curvatures.is_empty() { None } else { Some(&mut curvatures[row.clone()]) };
                slopes_of::<S, C, E>(curve, values, bias, &mut slopes[row], curvatures);
            }
        }
    }
}

/// A row and its bias, or a row without one.
#[inline(always)]
fn values_of<S: Simd, C: Curve<E>, E: Element>(curve: C, values: &mut [E], bias: &[E]) {
    if bias.is_empty() {
        return values.iter_mut().for_each(|v| *v = curve.at::<S>(*v).0);
    }
    values.iter_mut().zip(bias).for_each(|(v, &b)| *v = curve.at::<S>(*v + b).0);
}

/// As [`values_of`], with slopes, and second derivatives where they are wanted.
#[inline(always)]
fn slopes_of<S: Simd, C: Curve<E>, E: Element>(
    curve: C,
    values: &mut [E],
    bias: &[E],
    slopes: &mut [E],
    curvatures: Option<&mut [E]>,
) {
    let (lines, rest) = values.as_chunks_mut::<LANES>();
    let (slope_lines, slopes) = slopes.as_chunks_mut::<LANES>();
    let (bent_lines, bent) = curvatures.unwrap_or_default().as_chunks_mut::<LANES>();
    let (shifts, left) = bias.as_chunks::<LANES>();
    for (k, (line, slopes)) in lines.iter_mut().zip(slope_lines).enumerate() {
        let shift = if bias.is_empty() { [E::default(); LANES] } else { shifts[k] };
        let from = *line;
        let (mut to, mut by) = ([E::default(); LANES], [E::default(); LANES]);
        if let Some(bent) = bent_lines.get_mut(k) {
            let mut second = [E::default(); LANES];
            for k in 0..LANES {
                (to[k], by[k], second[k]) = curve.at::<S>(from[k] + shift[k]);
            }
            *bent = second;
        } else {
            for k in 0..LANES {
                (to[k], by[k], _) = curve.at::<S>(from[k] + shift[k]);
            }
        }
        (*line, *slopes) = (to, by);
    }
    for (k, (v, slope)) in rest.iter_mut().zip(slopes).enumerate() {
        let shift = left.get(k).copied().unwrap_or_default();
        let (value, by, second) = curve.at::<S>(*v + shift);
        (*v, *slope) = (value, by);
        if let Some(bent) = bent.get_mut(k) {
            *bent = second;
        }
    }
}

#[derive(Clone, Copy)]
struct Leaky<E>(E);

impl<E: Element> Curve<E> for Leaky<E> {
    #[inline(always)]
    fn at<S: Simd>(self, v: E) -> (E, E, E) {
        let zero = E::default();
        let slope = if v <= zero { self.0 } else { E::ONE };
        (v * slope, slope, zero)
    }
}

#[derive(Clone, Copy)]
struct Elu;

impl<E: Element> Curve<E> for Elu {
    #[inline(always)]
    fn at<S: Simd>(self, v: E) -> (E, E, E) {
        let zero = E::default();
        let below = v <= zero;
        let (m, s, t) = (if below { v } else { zero }).exp_parts::<S>();
        let power = s * t;
        // e^v − 1 without the digits that the difference would lose.
        let value = multiply_add::<S, E>(m, power, power - E::ONE);
        let slope = (E::ONE + m) * s * t;
        let value = if below { value } else { v };
        (value, if below { slope } else { E::ONE }, if below { slope } else { zero })
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl<E: Element> Curve<E> for Tanh {
    /// With `e = e^(−2|v|)`: `(1 − e)/(1 + e)`, whose slope is `4e/(1 + e)²`.
    #[inline(always)]
    fn at<S: Simd>(self, v: E) -> (E, E, E) {
        let (m, s, t) = (E::constant(-2.0) * v.magnitude()).exp_parts::<S>();
        let power = s * t;
        let less = multiply_add::<S, E>(m, power, power - E::ONE);
        let small = (E::ONE + m) * s * t;
        let share = E::ONE / (E::ONE + small);
        let size = -less * share;
        let value = if v < E::default() { -size } else { size };
        let slope = E::constant(4.0) * small * share * share;
        (value, slope, E::constant(-2.0) * value * slope)
    }
}

/// `e^(−|v|)`, `σ(v)` and `σ(−v)`.
#[inline(always)]
fn gates<S: Simd, E: Element>(v: E) -> (E, E, E) {
    let small = exp_of::<S, E>(-v.magnitude());
    let large = E::ONE / (E::ONE + small);
    let rest = small * large;
    let below = v < E::default();
    (small, if below { rest } else { large }, if below { large } else { rest })
}

#[derive(Clone, Copy)]
struct Swish;

impl<E: Element> Curve<E> for Swish {
    #[inline(always)]
    fn at<S: Simd>(self, v: E) -> (E, E, E) {
        let (_, up, down) = gates::<S, E>(v);
        let value = v * up;
        let slope = multiply_add::<S, E>(value, down, up);
        (value, slope, up * down * multiply_add::<S, E>(v, down - up, E::constant(2.0)))
    }
}

/// `ln(1 + e^v)`.
#[inline(always)]
pub(crate) fn softplus_of<S: Simd, E: Element>(v: E) -> E {
    Softplus.at::<S>(v).0
}

#[derive(Clone, Copy)]
struct Softplus;

impl<E: Element> Curve<E> for Softplus {
    #[inline(always)]
    fn at<S: Simd>(self, v: E) -> (E, E, E) {
        let (small, up, down) = gates::<S, E>(v);
        let above = if v <= E::default() { E::default() } else { v };
        (above + ln_1p_of::<S, E>(small), up, up * down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::unit;

    /// The functions with value and slope in f64, from the library.
    const ALL: [(Function<f32>, fn(f64) -> (f64, f64)); 5] = [
        (Function::Leaky { below: 0.25 }, |v| if v <= 0.0 { (v * 0.25, 0.25) } else { (v, 1.0) }),
        (Function::Elu, |v| if v <= 0.0 { (v.exp_m1(), v.exp()) } else { (v, 1.0) }),
        (Function::Tanh, |v| (v.tanh(), v.cosh().powi(-2))),
        (Function::Swish, |v| {
            let (up, down) = (sigmoid(v), sigmoid(-v));
            (v * up, up * (1.0 + v * down))
        }),
        (Function::Softplus, |v| (v.max(0.0) + (-v.abs()).exp().ln_1p(), sigmoid(v))),
    ];

    fn sigmoid(v: f64) -> f64 {
        let small = (-v.abs()).exp();
        if v < 0.0 {
            small / (1.0 + small)
        } else {
            1.0 / (1.0 + small)
        }
    }

    fn double(function: Function<f32>) -> Function<f64> {
        match function {
            Function::Leaky { below } => Function::Leaky { below: below.into() },
            Function::Elu => Function::Elu,
            Function::Tanh => Function::Tanh,
            Function::Swish => Function::Swish,
            Function::Softplus => Function::Softplus,
        }
    }

    /// Value, slope and curvature of each number.
    fn at<E: Element>(function: Function<E>, numbers: &[E]) -> [Vec<E>; 3] {
        let mut all = [0; 3].map(|_| numbers.to_vec());
        let [values, slopes, curvatures] = &mut all;
        bend(function, values, &[], slopes, curvatures);
        all
    }

    #[test]
    fn singles_are_within_a_few_units() {
        let numbers: Vec<f32> = (0..u32::MAX / 40_009)
            .map(|k| f32::from_bits(k * 40_009))
            .chain((-120_000..120_000).map(|k| k as f32 * 1e-3 + 1e-6))
            .filter(|v| v.is_finite())
            .collect();
        for (function, truth) in ALL {
            let [values, slopes, _] = at(function, &numbers);
            for ((&v, value), slope) in numbers.iter().zip(values).zip(slopes) {
                let (want, want_slope) = truth(f64::from(v));
                let lost = f64::from(v.abs()).max(1.0) * f64::from(f32::from_bits(1));
                let gate = if function == Function::Swish { sigmoid(v.into()) } else { 0.0 };
                for (got, want, size, most) in
                    [(value, want, 0.0, 4.0), (slope, want_slope, gate, 6.0)]
                {
                    let off = (f64::from(got) - want).abs();
                    let most = most * f64::max(unit(want), unit(size));
                    assert!(off <= lost.max(most), "{function:?} at {v:e}: {got:e}, not {want:e}");
                }
            }
        }
    }

    #[test]
    fn doubles_are_those_of_the_library() {
        let numbers: Vec<f64> = (-80_000..80_000).map(|k| f64::from(k) * 5e-4 + 1e-7).collect();
        for (function, truth) in ALL {
            let [values, slopes, _] = at(double(function), &numbers);
            for ((&v, value), slope) in numbers.iter().zip(values).zip(slopes) {
                let (want, want_slope) = truth(v);
                let gate = if function == Function::Swish { sigmoid(v) } else { 0.0 };
                for (got, want, size) in [(value, want, 0.0), (slope, want_slope, gate)] {
                    let off = (got - want).abs() / (f64::EPSILON * size.max(want.abs()));
                    assert!(off <= 8.0, "{function:?} at {v}: {got:e}, not {want:e}: {off}");
                }
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        let numbers: Vec<f64> = (-80..80).map(|k| 0.1 * f64::from(k) + 0.05).collect();
        let step = 1e-5;
        let moved = |by: f64| numbers.iter().map(|v| v + by).collect::<Vec<_>>();
        for (function, _) in ALL {
            let function = double(function);
            let [_, slopes, curvatures] = at(function, &numbers);
            let (above, below) = (at(function, &moved(step)), at(function, &moved(-step)));
            for i in 0..numbers.len() {
                for (got, of) in [(slopes[i], 0), (curvatures[i], 1)] {
                    let want = (above[of][i] - below[of][i]) / (2.0 * step);
                    assert!(
                        (got - want).abs() < 1e-9,
                        "{function:?} at {}: {got}, not {want}",
                        numbers[i]
                    );
                }
            }
        }
    }

    #[test]
    fn buffers_that_are_not_wanted_change_nothing() {
        let numbers: Vec<f32> = (-30..30).map(|k| 0.3 * k as f32).collect();
        for (function, _) in ALL {
            let [values, slopes, _] = at(function, &numbers);
            let (mut alone, mut with) = (numbers.clone(), numbers.clone());
            let mut slope = numbers.clone();
            bend(function, &mut alone, &[], &mut [], &mut []);
            bend(function, &mut with, &[], &mut slope, &mut []);
            assert_eq!(alone, values);
            assert_eq!((with, slope), (values, slopes));
        }
    }

    #[test]
    fn each_row_meets_its_bias() {
        for width in [1, 3, 16, 37] {
            let bias: Vec<f64> = (0..width).map(|k| 0.25 * k as f64 - 3.0).collect();
            let numbers: Vec<f64> = (0..4 * width).map(|k| 0.5 * k as f64 - 5.0).collect();
            let moved: Vec<f64> =
                numbers.iter().zip(bias.iter().cycle()).map(|(v, b)| v + b).collect();
            for (function, _) in ALL {
                let function = double(function);
                let want = at(function, &moved);
                let mut all = [0; 3].map(|_| numbers.clone());
                let [values, slopes, curvatures] = &mut all;
                bend(function, values, &bias, slopes, curvatures);
                assert_eq!(all, want, "{function:?}, {width} numbers a row");
                let [values, slopes, _] = &mut all;
                values.copy_from_slice(&numbers);
                bend(function, values, &bias, slopes, &mut []);
                assert_eq!((&*values, &*slopes), (&want[0], &want[1]));
                values.copy_from_slice(&numbers);
                bend(function, values, &bias, &mut [], &mut []);
                assert_eq!(*values, want[0]);
            }
        }
    }

    #[test]
    fn limits_and_nan() {
        for (function, _) in ALL {
            let [values, slopes, curvatures] =
                at(function, &[-1e30, -800.0, 800.0, 1e30, f32::NAN]);
            for all in [&values, &slopes, &curvatures] {
                assert!(all[..4].iter().all(|v| v.is_finite()), "{function:?}: {all:?}");
            }
            assert!(values[4].is_nan(), "{function:?}");
        }
    }
}
