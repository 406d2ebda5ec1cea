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

/// The hyperbolic tangent and its slope.
#[inline(always)]
pub(crate) fn tanh_and_slope<S: Simd, E: Element>(v: E) -> (E, E) {
    let (value, slope, _) = Tanh.at::<S>(v);
    (value, slope)
}

/// `e^(−|v|)`, `σ(v)` and `σ(−v)`.
#[inline(always)]
pub(crate) fn gates<S: Simd, E: Element>(v: E) -> (E, E, E) {
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

/// `ln(1 + e^v)` and its slope.
#[inline(always)]
pub(crate) fn softplus_and_slope<S: Simd, E: Element>(v: E) -> (E, E) {
    let (value, slope, _) = Softplus.at::<S>(v);
    (value, slope)
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
#[path = "bend_tests.rs"]
mod tests;
