//! Intervals that hold every real number a computation could give, rounding included.
//!
//! An operation on the ends is rounded to the nearest number, so one step outward covers it. Library
//! functions (exp, ln, tanh) are taken to err by at most four units in the last place, which every
//! platform's does; their intervals go that far outward.

/// All numbers from `low` to `high`; the ends may be infinite.
///
/// ```
/// use flow_core::lipschitz::Interval;
///
/// let x = Interval::new(-1.0, 2.0);
/// let y = (x.square() + Interval::point(0.1)).sqrt();
/// // Every number that x can be leads into y, and rounding with it.
/// assert!([-1.0_f64, 0.0, 1.5, 2.0].iter().all(|x| y.contains((x * x + 0.1).sqrt())));
/// assert!(y.low > 0.316 && y.high < 2.025);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The least of them.
    pub low: f64,
    /// The largest of them.
    pub high: f64,
}

impl Interval {
    /// Every number.
    pub const EVERYTHING: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
    /// 0 alone.
    pub const ZERO: Self = Self { low: 0.0, high: 0.0 };

    /// From `low` to `high`; every number where one of them is NaN or they are out of order.
    pub fn new(low: f64, high: f64) -> Self {
        if low <= high {
            Self { low, high }
        } else {
            Self::EVERYTHING
        }
    }

    /// One number.
    pub fn point(value: f64) -> Self {
        Self::new(value, value)
    }

    /// Whether a number lies within.
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Whether both ends are finite.
    pub fn is_bounded(self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// A number in the middle, where both ends are finite.
    pub fn middle(self) -> f64 {
        if self.low == self.high {
            return self.low;
        }
        0.5 * self.low + 0.5 * self.high
    }

    /// The largest absolute value.
    pub fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// The least interval that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }

    /// Both ends a step outward.
    fn outward(low: f64, high: f64) -> Self {
        Self::new(low.next_down(), high.next_up())
    }

    /// The image under an increasing function of the library.
    pub(crate) fn increasing(self, f: impl Fn(f64) -> f64) -> Self {
        let (low, high) = (f(self.low), f(self.high));
        let wide = |v: f64| 4.0 * f64::EPSILON * v.abs() + f64::MIN_POSITIVE;
        Self::outward(low - wide(low), high + wide(high))
    }

    /// `e^v`, which is never negative.
    pub fn exp(self) -> Self {
        let Self { low, high } = self.increasing(f64::exp);
        Self::new(low.max(0.0), high)
    }

    /// Both ends outward by a share of themselves.
    pub(crate) fn widened(self, share: f64) -> Self {
        let by = |v: f64| if v == 0.0 { 0.0 } else { share * v.abs() };
        Self::new((self.low - by(self.low)).next_down(), (self.high + by(self.high)).next_up())
    }

    /// The natural logarithm of what is above 0.
    pub fn ln(self) -> Self {
        let above = Self { low: self.low.max(0.0), high: self.high.max(0.0) };
        let Self { low, high } = above.increasing(f64::ln);
        Self::new(low, high)
    }

    /// The logistic function, between 0 and 1.
    pub fn sigmoid(self) -> Self {
        // Two library functions' worth of rounding.
        let wide = self.increasing(|v| 1.0 / (1.0 + (-v).exp()));
        let slack = 8.0 * f64::EPSILON;
        Self::new((wide.low * (1.0 - slack)).max(0.0), (wide.high * (1.0 + slack)).min(1.0))
    }

    /// The hyperbolic tangent, between −1 and 1.
    pub fn tanh(self) -> Self {
        let Self { low, high } = self.increasing(f64::tanh);
        Self::new(low.max(-1.0), high.min(1.0))
    }

    /// The square.
    pub fn square(self) -> Self {
        let (a, b) = (self.low * self.low, self.high * self.high);
        let low = if self.contains(0.0) { 0.0 } else { a.min(b).next_down().max(0.0) };
        Self::new(low, a.max(b).next_up())
    }

    /// The square root of what is at least 0.
    pub fn sqrt(self) -> Self {
        let (low, high) = (self.low.max(0.0).sqrt(), self.high.max(0.0).sqrt());
        Self::new(low.next_down().max(0.0), high.next_up())
    }

    /// The reciprocal; every number where 0 lies within.
    pub fn recip(self) -> Self {
        if self.low > 0.0 || self.high < 0.0 {
            Self::outward(1.0 / self.high, 1.0 / self.low)
        } else {
            Self::EVERYTHING
        }
    }

    /// What both hold, or none where they have nothing in common.
    pub fn meet(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self { low, high })
    }
}

impl std::ops::Add for Interval {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::outward(self.low + other.low, self.high + other.high)
    }
}

impl std::ops::Neg for Interval {
    type Output = Self;

    fn neg(self) -> Self {
        Self { low: -self.high, high: -self.low }
    }
}

impl std::ops::Sub for Interval {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::ops::Mul for Interval {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let times = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let all = [
            times(self.low, other.low),
            times(self.low, other.high),
            times(self.high, other.low),
            times(self.high, other.high),
        ];
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low == 0.0 && high == 0.0 && (self == Self::ZERO || other == Self::ZERO) {
            return Self::ZERO;
        }
        Self::outward(low, high)
    }
}

impl std::ops::Div for Interval {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let inverse = other.recip();
        std::ops::Mul::mul(self, inverse)
    }
}

/// `W x + b` for a row-major matrix and intervals `x`, with the rounding of the sums carried along:
/// n products and their sum err by at most `(n + 2)·ε·Σ|w||x|`, and by the least subnormal number
/// each where they underflow.
pub(crate) fn affine(
    weight: impl Fn(usize, usize) -> f64,
    rows: usize,
    x: &[Interval],
    bias: impl Fn(usize) -> f64,
) -> Vec<Interval> {
    let each = (0..rows).map(|i| {
        let start = bias(i);
        let (mut low, mut high, mut size) = (start, start, start.abs());
        for (j, x) in x.iter().enumerate() {
            let w = weight(i, j);
            if w == 0.0 {
                continue;
            }
            let (a, b) = if w > 0.0 { (x.low, x.high) } else { (x.high, x.low) };
            low += w * a;
            high += w * b;
            size += w.abs() * x.magnitude();
        }
        let n = (x.len() + 2) as f64;
        let error = (n * f64::EPSILON * size + n * 5e-324).next_up();
        Interval::outward(low - error, high + error)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    /// Points of an interval, its ends among them.
    fn points(i: Interval) -> impl Iterator<Item = f64> {
        (0..=16).map(move |k| (i.low + (i.high - i.low) * f64::from(k) / 16.0).min(i.high))
    }

    #[test]
    fn images_hold_the_images_of_points() {
        let noise = Noise::seed(1);
        for k in 0..500 {
            let number = |i: u64| 4.0 * noise.normal(8 * k + i);
            let a = Interval::new(number(0).min(number(1)), number(0).max(number(1)));
            let b = Interval::new(number(2).min(number(3)), number(2).max(number(3)));
            for (p, q) in points(a).flat_map(|p| points(b).map(move |q| (p, q))) {
                assert!((a + b).contains(p + q) && (a - b).contains(p - q));
                assert!((a * b).contains(p * q) && (a / b).contains(p / q));
                assert!(a.hull(b).contains(p) && a.hull(b).contains(q));
                assert_eq!(a.meet(b).is_some_and(|m| m.contains(p)), b.contains(p));
            }
            for p in points(a) {
                assert!(a.exp().contains(p.exp()) && a.tanh().contains(p.tanh()));
                assert!(a.sigmoid().contains(1.0 / (1.0 + (-p).exp())));
                assert!(p <= 0.0 || a.ln().contains(p.ln()));
                assert!(a.square().contains(p * p) && p.abs() <= a.magnitude());
                assert!(p < 0.0 || a.sqrt().contains(p.sqrt()));
            }
            let x = [a, b];
            let out = affine(|i, j| number((i + 2 * j) as u64), 2, &x, |i| number(i as u64 + 4));
            for (p, q) in points(a).flat_map(|p| points(b).map(move |q| (p, q))) {
                for (i, out) in out.iter().enumerate() {
                    let sum =
                        number(i as u64) * p + number(i as u64 + 2) * q + number(i as u64 + 4);
                    assert!(out.contains(sum));
                }
            }
        }
    }

    #[test]
    fn what_has_no_limit_stays_without() {
        let all = Interval::EVERYTHING;
        assert_eq!(Interval::new(1.0, 0.0), all);
        assert_eq!(Interval::new(f64::NAN, 0.0), all);
        assert_eq!((all + all, all - all, all * all, all / all), (all, all, all, all));
        assert_eq!(all * Interval::ZERO, Interval::ZERO);
        assert_eq!(Interval::new(-1.0, 2.0).recip(), all);
        assert!(all.exp().low == 0.0 && all.exp().high == f64::INFINITY);
        assert_eq!(all.ln(), all);
        assert!(all.tanh().low == -1.0 && all.sigmoid().high == 1.0);
        let one = affine(|_, _| 0.0, 1, &[all], |_| 2.0);
        assert!(one[0].contains(2.0) && one[0].is_bounded());
    }
}
