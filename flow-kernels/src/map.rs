//! Elementary functions of one number, each on a whole buffer.

use pulp::{Arch, Simd, WithSimd};

use crate::{Element, LANES};

/// `v = e^v` for every number, at most a unit in the last place off.
pub fn exp<E: Element>(values: &mut [E]) {
    E::map(Map::Exp, values);
}

/// `v = ln v` for every number, at most a unit in the last place off: −∞ at zero, NaN below.
pub fn ln<E: Element>(values: &mut [E]) {
    E::map(Map::Ln, values);
}

/// A function of one number.
#[derive(Clone, Copy, Debug)]
pub enum Map {
    /// [`exp`].
    Exp,
    /// [`ln`].
    Ln,
}

#[inline(always)]
pub(crate) fn run<E: Element>(map: Map, values: &mut [E]) {
    Arch::new().dispatch(Mapped(map, values));
}

struct Mapped<'a, E>(Map, &'a mut [E]);

impl<E: Element> WithSimd for Mapped<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.0 {
            Map::Exp => each(self.1, exp_of::<S, E>),
            Map::Ln => each(self.1, |v| v.logarithm::<S>()),
        }
    }
}

/// Applies `f` to lines, then to what is left.
#[inline(always)]
fn each<E: Element>(values: &mut [E], f: impl Fn(E) -> E) {
    let (lines, rest) = values.as_chunks_mut::<LANES>();
    lines.iter_mut().for_each(|line| line.iter_mut().for_each(|v| *v = f(*v)));
    rest.iter_mut().for_each(|v| *v = f(*v));
}

#[inline(always)]
pub(crate) fn exp_of<S: Simd, E: Element>(v: E) -> E {
    let (m, s, t) = v.exp_parts::<S>();
    (E::ONE + m) * s * t
}

/// `ln(1 + v)` for `v` from 0 to 1.
#[inline(always)]
pub(crate) fn ln_1p_of<S: Simd, E: Element>(v: E) -> E {
    let whole = E::ONE + v;
    // What the sum lost, by the slope of the logarithm.
    let lost = v - (whole - E::ONE);
    whole.logarithm::<S>() + lost / whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::unit;

    /// Numbers of all sizes and signs, denormals and both infinities.
    fn sweep() -> impl Iterator<Item = f32> {
        (0..=u32::MAX / 4099).map(|k| f32::from_bits(k * 4099)).filter(|v| !v.is_nan())
    }

    fn singles(values: impl Iterator<Item = f32>, f: fn(&mut [f32]), truth: fn(f64) -> f64) {
        let from: Vec<f32> = values.collect();
        let mut got = from.clone();
        f(&mut got);
        for (&v, &got) in from.iter().zip(&got) {
            let want = truth(f64::from(v));
            let off = (f64::from(got) - want).abs() / unit(want);
            assert!(
                got == want as f32 || off <= 1.0,
                "{got:e} at {v:e}, not {want:e}: {off} units"
            );
        }
    }

    #[test]
    fn singles_are_within_a_unit() {
        singles(sweep(), exp, f64::exp);
        singles((-110_000..95_000).map(|k| k as f32 * 1e-3), exp, f64::exp);
        singles(sweep().filter(|v| *v >= 0.0), ln, f64::ln);
        singles((1..40_000).map(|k| k as f32 * 1e-4), ln, f64::ln);
    }

    #[test]
    fn doubles_are_within_a_unit_of_the_library() {
        // The library is itself within a unit.
        let values = (-150_000..150_000).map(|k| f64::from(k) * 5e-3 + 1e-7);
        for v in values.chain([-745.0, -708.5, 709.7, 1e-300, -1e-17]) {
            let mut got = [v];
            exp(&mut got);
            let unit = f64::EPSILON * v.exp() + 5e-324;
            let same = got[0] == v.exp();
            assert!(same || (got[0] - v.exp()).abs() <= 1.5 * unit, "e^{v} is {}", got[0]);
            let positive = [v.abs(), v.abs() * 1e-3, v.abs() * 1e290, v.abs() * 1e-310];
            let mut got = positive;
            ln(&mut got);
            for (v, got) in positive.iter().zip(got) {
                let want = v.ln();
                let unit = f64::EPSILON * want.abs();
                assert!(
                    got == want || (got - want).abs() <= 1.5 * unit,
                    "ln {v:e} is {got}, not {want}"
                );
            }
        }
    }

    #[test]
    fn limits_and_nan() {
        let mut values = [f64::NEG_INFINITY, f64::INFINITY, -1e300, 1e300, f64::NAN, 0.0];
        exp(&mut values);
        assert_eq!(values[..4], [0.0, f64::INFINITY, 0.0, f64::INFINITY]);
        assert!(values[4].is_nan() && values[5] == 1.0);
        let mut values = [0.0_f32, -0.0, f32::INFINITY, 1.0, -1.0, f32::NAN, f32::NEG_INFINITY];
        ln(&mut values);
        assert_eq!(values[..4], [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY, 0.0]);
        assert!(values[4..].iter().all(|v| v.is_nan()));
    }
}
