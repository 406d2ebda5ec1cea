//! Positive factors of affine maps.

use pulp::{Arch, Simd, WithSimd};

use crate::bend::{gates, tanh_and_slope};
use crate::map::exp_of;
use crate::{Element, LANES};

/// A positive function `g(s)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor<E> {
    /// `e^s`.
    Exp,
    /// `e^(limit·tanh(s/limit))`.
    Tanh {
        /// The largest `|ln g|`.
        limit: E,
    },
    /// `low + range·σ(s + shift)` with the logistic function σ.
    Sigmoid {
        /// The least factor.
        low: E,
        /// How far factors reach above it.
        range: E,
        /// Added to `s`.
        shift: E,
    },
}

/// Each `s` becomes `g(s)`, beside its `ln g` and `d ln g/ds`. In f32, `g` is within four units in the
/// last place, those of tanh within `limit` times four if that is more.
///
/// ```
/// use flow_kernels::{factors, Factor};
/// let (mut values, mut logs, mut slopes) = ([0.0, 1.0], [0.0; 2], [0.0; 2]);
/// factors(Factor::Exp, &mut values, &mut logs, &mut slopes);
/// assert_eq!((values[0], logs, slopes), (1.0_f64, [0.0, 1.0], [1.0; 2]));
/// ```
///
/// # Panics
/// Where the buffers differ in length.
pub fn factors<E: Element>(factor: Factor<E>, values: &mut [E], logs: &mut [E], slopes: &mut [E]) {
    assert!(logs.len() == values.len() && slopes.len() == values.len(), "one of each");
    E::factors(factor, values, logs, slopes);
}

#[inline(always)]
pub(crate) fn run<E: Element>(
    factor: Factor<E>,
    values: &mut [E],
    logs: &mut [E],
    slopes: &mut [E],
) {
    let arch = Arch::new();
    match factor {
        Factor::Exp => arch.dispatch(Apply(Exp, values, logs, slopes)),
        Factor::Tanh { limit } => {
            let bent = Tanh { limit, inverse: E::ONE / limit };
            arch.dispatch(Apply(bent, values, logs, slopes));
        }
        Factor::Sigmoid { low, range, shift } => {
            arch.dispatch(Apply(Sigmoid { low, range, shift }, values, logs, slopes));
        }
    }
}

/// A factor, its logarithm and the derivative of that.
trait At<E>: Copy {
    fn at<S: Simd>(self, s: E) -> (E, E, E);
}

struct Apply<'a, F, E>(F, &'a mut [E], &'a mut [E], &'a mut [E]);

impl<F: At<E>, E: Element> WithSimd for Apply<'_, F, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(factor, values, logs, slopes) = self;
        let (lines, values) = values.as_chunks_mut::<LANES>();
        let (log_lines, logs) = logs.as_chunks_mut::<LANES>();
        let (slope_lines, slopes) = slopes.as_chunks_mut::<LANES>();
        for ((line, logs), slopes) in lines.iter_mut().zip(log_lines).zip(slope_lines) {
            for k in 0..LANES {
                (line[k], logs[k], slopes[k]) = factor.at::<S>(line[k]);
            }
        }
        for ((v, log), slope) in values.iter_mut().zip(logs).zip(slopes) {
            (*v, *log, *slope) = factor.at::<S>(*v);
        }
    }
}

#[derive(Clone, Copy)]
struct Exp;

impl<E: Element> At<E> for Exp {
    #[inline(always)]
    fn at<S: Simd>(self, s: E) -> (E, E, E) {
        (exp_of::<S, E>(s), s, E::ONE)
    }
}

#[derive(Clone, Copy)]
struct Tanh<E> {
    limit: E,
    inverse: E,
}

impl<E: Element> At<E> for Tanh<E> {
    #[inline(always)]
    fn at<S: Simd>(self, s: E) -> (E, E, E) {
        let (bent, slope) = tanh_and_slope::<S, E>(s * self.inverse);
        let log = self.limit * bent;
        (exp_of::<S, E>(log), log, slope)
    }
}

#[derive(Clone, Copy)]
struct Sigmoid<E> {
    low: E,
    range: E,
    shift: E,
}

impl<E: Element> At<E> for Sigmoid<E> {
    #[inline(always)]
    fn at<S: Simd>(self, s: E) -> (E, E, E) {
        let (_, up, down) = gates::<S, E>(s + self.shift);
        let factor = self.low + self.range * up;
        (factor, factor.logarithm::<S>(), self.range * up * down / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<E: Element + Into<f64>>(close: f64) {
        let of = E::constant;
        let sweep = (-4000..=4000).map(|k| f64::from(k) * 0.01).chain([1e30, -1e30, 88.0, -80.0]);
        let from: Vec<E> = sweep.map(of).collect();
        let kinds: [(Factor<E>, fn(f64) -> [f64; 3]); 3] = [
            (Factor::Exp, |s| [s.exp(), s, 1.0]),
            (Factor::Tanh { limit: of(2.0) }, |s| {
                let bent = (s / 2.0).tanh();
                [(2.0 * bent).exp(), 2.0 * bent, 1.0 - bent * bent]
            }),
            (Factor::Sigmoid { low: of(0.5), range: of(1.5), shift: of(2.0) }, |s| {
                let up = 1.0 / (1.0 + (-s - 2.0).exp());
                let down = 1.0 / (1.0 + (s + 2.0).exp());
                let g = 0.5 + 1.5 * up;
                [g, g.ln(), 1.5 * up * down / g]
            }),
        ];
        for (factor, truth) in kinds {
            for count in [from.len(), 1, 17] {
                let mut values = from[..count].to_vec();
                let (mut logs, mut slopes) = (values.clone(), values.clone());
                factors(factor, &mut values, &mut logs, &mut slopes);
                for (i, &s) in from[..count].iter().enumerate() {
                    let want = truth(s.into());
                    for (got, want) in [values[i], logs[i], slopes[i]].into_iter().zip(want) {
                        let got: f64 = got.into();
                        let near = (got - want).abs() <= 4.0 * close * (1.0 + want.abs());
                        let same = got == want || f64::from(want as f32) == got;
                        assert!(near || same, "{factor:?} at {s:?}: {got}, not {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn factors_are_those_of_the_library() {
        check::<f32>(f64::from(f32::EPSILON));
        check::<f64>(f64::EPSILON);
    }
}
