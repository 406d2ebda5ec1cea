// Coefficients are written as their authors give them.
#![allow(clippy::excessive_precision)]

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;

use crate::map::Map;
use crate::spline::{self, Splines, Way};
use crate::{bend, factor, map, transpose, triangle, Factor, Function, Triangle};

/// A floating point type that kernels compute with: `f32` or `f64`.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Send
    + Sync
    + sealed::Sealed
{
    /// One.
    #[doc(hidden)]
    const ONE: Self;

    #[doc(hidden)]
    fn constant(value: f64) -> Self;

    #[doc(hidden)]
    fn fused(self, factor: Self, summand: Self) -> Self;

    #[doc(hidden)]
    fn magnitude(self) -> Self;

    #[doc(hidden)]
    fn root(self) -> Self;

    /// `e^self` in two parts: `(m, s, t)` with `e^self = (1 + m)·s·t`, where `s·t` is a power of two
    /// and 1 for a small `self`. Far out, the parts overflow or underflow as `e^self` does.
    #[doc(hidden)]
    fn exp_parts<S: Simd>(self) -> (Self, Self, Self);

    /// The natural logarithm.
    #[doc(hidden)]
    fn logarithm<S: Simd>(self) -> Self;

    // What the functions of this crate do, compiled here and once for each type: a caller that is
    // itself compiled without optimisation still gets fast kernels.

    #[doc(hidden)]
    fn bend(
        function: Function<Self>,
        values: &mut [Self],
        bias: &[Self],
        slopes: &mut [Self],
        curvatures: &mut [Self],
    );

    #[doc(hidden)]
    fn map(map: Map, values: &mut [Self]);

    #[doc(hidden)]
    fn factors(factor: Factor<Self>, values: &mut [Self], logs: &mut [Self], slopes: &mut [Self]);

    #[doc(hidden)]
    fn splines(
        splines: &Splines,
        way: Way,
        values: &mut [Self],
        parameters: &mut [Self],
        logs: &mut [Self],
    );

    #[doc(hidden)]
    fn spline_products(
        splines: &Splines,
        way: Way,
        x: &[Self],
        parameters: &mut [Self],
        gradient: &mut [Self],
        by_logs: &[Self],
    );

    #[doc(hidden)]
    fn solve(system: Triangle, matrix: &[Self], diagonal: &[Self], vectors: &mut [Self]);

    #[doc(hidden)]
    fn transpose(to: &mut [Self], from: &[Self], strides: [usize; 2], sizes: [usize; 2]);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `a·b + c`, rounded once where the processor can.
#[inline(always)]
pub(crate) fn multiply_add<S: Simd, E: Element>(a: E, b: E, c: E) -> E {
    if S::IS_SCALAR {
        a * b + c
    } else {
        a.fused(b, c)
    }
}

/// The polynomial with these coefficients, the highest first.
#[inline(always)]
fn polynomial<S: Simd, E: Element, const N: usize>(v: E, coefficients: [f64; N]) -> E {
    let mut sum = E::constant(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = multiply_add::<S, E>(sum, v, E::constant(c));
    }
    sum
}

macro_rules! element {
    (
        $E:ident, $I:ident: fraction $fraction:literal, bias $bias:literal,
        range $low:literal to $high:literal, ln 2 $ln_high:literal + $ln_low:literal,
        root $root:literal, exp $exp:expr, ln $ln:expr,
        transpose $transpose:expr $(,)?
    ) => {
        impl Element for $E {
            const ONE: Self = 1.0;

            #[inline(always)]
            fn constant(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn fused(self, factor: Self, summand: Self) -> Self {
                self.mul_add(factor, summand)
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }

            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn exp_parts<S: Simd>(self) -> (Self, Self, Self) {
                /// Adding it leaves a number rounded to an integer in the lowest bits.
                const ROUND: $E = 1.5 * (1_u64 << $fraction) as $E;
                // Comparisons let NaN through.
                let v = if self < $low { $low } else { self };
                let v = if v > $high { $high } else { v };
                let rounded = multiply_add::<S, _>(v, std::$E::consts::LOG2_E, ROUND);
                let power = (rounded.to_bits() as $I).wrapping_sub(ROUND.to_bits() as $I);
                let n = rounded - ROUND;
                let rest = multiply_add::<S, _>(-n, $ln_high, v);
                let rest = multiply_add::<S, _>(-n, $ln_low, rest);
                let m = polynomial::<S, $E, _>(rest, $exp);
                let m = multiply_add::<S, _>(m, rest * rest, rest);
                let half = power >> 1;
                let two = |power: $I| $E::from_bits((power.wrapping_add($bias) << $fraction) as _);
                (m, two(half), two(power.wrapping_sub(half)))
            }

            /// `v = 2^n·(1 + f)` with `1 + f` between √½ and √2, then with `s = f/(2 + f)` the odd
            /// series of `ln((1 + s)/(1 − s))`, its coefficients those of FreeBSD's libm.
            #[inline(always)]
            fn logarithm<S: Simd>(self) -> Self {
                const ROUND: $E = 1.5 * (1_u64 << $fraction) as $E;
                const UP: $E = (1_u64 << ($fraction + 2)) as $E;
                let tiny = self < $E::MIN_POSITIVE;
                let v = if tiny { self * UP } else { self };
                let bits = v.to_bits() as $I;
                let power = bits.wrapping_sub($root) >> $fraction;
                let f = $E::from_bits(bits.wrapping_sub(power << $fraction) as _) - 1.0;
                let down = if tiny { ($fraction + 2) as $E } else { 0.0 };
                let n =
                    $E::from_bits((power.wrapping_add(ROUND.to_bits() as $I)) as _) - ROUND - down;
                let s = f / (2.0 + f);
                let z = s * s;
                let series = polynomial::<S, $E, _>(z, $ln) * z;
                let half = 0.5 * f * f;
                let low = multiply_add::<S, _>(s, half + series, n * $ln_low);
                let value = n * $ln_high - ((half - low) - f);
                let value = if self < $E::INFINITY { value } else { self };
                let value = if self == 0.0 { $E::NEG_INFINITY } else { value };
                if self < 0.0 {
                    $E::NAN
                } else {
                    value
                }
            }

            fn bend(
                function: Function<Self>,
                values: &mut [Self],
                bias: &[Self],
                slopes: &mut [Self],
                curvatures: &mut [Self],
            ) {
                bend::run(function, values, bias, slopes, curvatures);
            }

            fn map(map: Map, values: &mut [Self]) {
                map::run(map, values);
            }

            fn factors(
                factor: Factor<Self>,
                values: &mut [Self],
                logs: &mut [Self],
                slopes: &mut [Self],
            ) {
                factor::run(factor, values, logs, slopes);
            }

            fn splines(
                splines: &Splines,
                way: Way,
                values: &mut [Self],
                parameters: &mut [Self],
                logs: &mut [Self],
            ) {
                spline::run(splines, way, values, parameters, logs);
            }

            fn spline_products(
                splines: &Splines,
                way: Way,
                x: &[Self],
                parameters: &mut [Self],
                gradient: &mut [Self],
                by_logs: &[Self],
            ) {
                spline::run_products(splines, way, x, parameters, gradient, by_logs);
            }

            fn solve(system: Triangle, matrix: &[Self], diagonal: &[Self], vectors: &mut [Self]) {
                triangle::run(system, matrix, diagonal, vectors);
            }

            fn transpose(to: &mut [Self], from: &[Self], strides: [usize; 2], sizes: [usize; 2]) {
                $transpose(to, from, strides, sizes);
            }
        }
    };
}

element!(
    f32, i32: fraction 23, bias 127,
    range -104.0 to 89.0, ln 2 0.693_359_375 + -2.121_944_4e-4,
    root 0x3f35_04f3,
    exp [
        1.987_569_15e-4,
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ],
    ln [0.242_790_788_41, 0.284_987_866_88, 0.400_009_721_52, 0.666_666_626_93],
    transpose transpose::run_singles,
);

element!(
    f64, i64: fraction 52, bias 1023,
    range -746.0 to 710.0, ln 2 0.693_147_180_369_123_8 + 1.908_214_929_270_587_7e-10,
    root 0x3fe6_a09e_667f_3bcd,
    exp [
        1.605_904_383_682_161_3e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589_3e-7,
        2.755_731_922_398_589e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984_1e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
    ],
    ln [
        1.479_819_860_511_658_6e-1,
        1.531_383_769_920_937_3e-1,
        1.818_357_216_161_805e-1,
        2.222_219_843_214_978_4e-1,
        2.857_142_874_366_239_1e-1,
        3.999_999_999_940_942e-1,
        6.666_666_666_666_735e-1,
    ],
    transpose |to, from, strides, sizes| transpose::run(to, from, strides, sizes, transpose::turn),
);

/// A unit in the last place of the single nearest to `truth`, at least the least denormal.
#[cfg(test)]
pub(crate) fn unit(truth: f64) -> f64 {
    let exponent = (truth.abs().log2().floor() as i32).max(-126);
    2f64.powi(exponent - 23)
}
