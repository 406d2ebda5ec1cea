use super::{features, Transform};
use crate::backend::cpu::elementwise::{softmax, softplus};
use crate::{FlowError, LogDet, Result, Scalar};

/// The least width and height of a bin as a share of the whole, and the least slope.
const LEAST: f64 = 1e-3;

/// A monotone rational-quadratic spline on [−bound, bound] and the identity outside (Durkan et al.
/// 2019, "Neural Spline Flows", eq. 4 to 8).
///
/// With `K` bins the parameters are `K` widths, `K` heights and `K − 1` inner slopes. Widths are
/// `2·bound·(1e-3 + (1 − K·1e-3)·softmax)`, heights likewise, slopes `1e-3 + softplus`, and 1 at
/// both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spline {
    bins: usize,
    bound: f64,
}

/// The bin that a number lies in.
struct Bin<E> {
    index: usize,
    left: E,
    bottom: E,
    width: E,
    height: E,
    /// Slopes at its left and right knot.
    slopes: (E, E),
}

impl<E: Scalar> Bin<E> {
    /// The mean slope `s` and the bend `δₖ₊₁ + δₖ − 2s`.
    fn shape(&self) -> (E, E) {
        let mean = self.height / self.width;
        (mean, self.slopes.0 + self.slopes.1 - (mean + mean))
    }

    /// `ξ`, and eq. 4 and 5 there.
    fn forward(&self, x: E) -> (E, E) {
        let at = unit((x - self.left) / self.width);
        let (s, bend) = self.shape();
        let between = at * (E::one() - at);
        let rise = (s * at * at + self.slopes.0 * between) / (s + bend * between);
        (self.bottom + self.height * rise, self.log_slope(at))
    }

    /// Solves eq. 4 for `ξ` (eq. 6 to 8), with `η = (z − bottom)/height`.
    ///
    /// With `a = s − b` and `c = −sη` the discriminant `b² − 4ac` is the sum of squares
    /// `(b − 2sη)² + 4s²η(1−η)`, which loses no digits, and the sign of `b` chooses the form of
    /// the root that adds numbers of one sign.
    fn inverse(&self, z: E) -> (E, E) {
        let (s, bend) = self.shape();
        let up = unit((z - self.bottom) / self.height);
        let b = self.slopes.0 - up * bend;
        let twice = (s + s) * up;
        let root = ((b - twice) * (b - twice) + twice * (s + s) * (E::one() - up)).sqrt();
        let at = if b < E::zero() { (root - b) / (s + s - b - b) } else { twice / (b + root) };
        let at = unit(at);
        (self.left + at * self.width, self.log_slope(at))
    }

    /// The logarithm of eq. 5.
    fn log_slope(&self, at: E) -> E {
        let (s, bend) = self.shape();
        let rest = E::one() - at;
        let between = at * rest;
        let top = self.slopes.1 * at * at + (s + s) * between + self.slopes.0 * rest * rest;
        let ratio = s / (s + bend * between);
        (top * ratio * ratio).ln()
    }
}

/// Rounding may carry a position past the end of its bin.
fn unit<E: Scalar>(at: E) -> E {
    if at > E::one() {
        E::one()
    } else if at < E::zero() {
        E::zero()
    } else {
        at
    }
}

impl Spline {
    /// A spline of `bins` bins on [−bound, bound]. Published defaults are 8 and 3.
    pub const fn new(bins: usize, bound: f64) -> Self {
        Self { bins, bound }
    }

    /// Widths and heights are `floor + stretch · share`.
    fn sizes<E: Scalar>(&self) -> (E, E) {
        let whole = 2.0 * self.bound;
        (E::of(whole * LEAST), E::of(whole * (1.0 - self.bins as f64 * LEAST)))
    }

    /// Whether the spline bends there. NaN counts as outside, and so passes unchanged.
    fn covers<E: Scalar>(&self, v: E) -> bool {
        let bound = E::of(self.bound);
        v > -bound && v < bound
    }

    /// Logits become shares. The slopes' numbers stay as they are: only those of the two knots
    /// around a number matter to it.
    fn normalize<E: Scalar>(&self, parameters: &mut [E]) {
        let (widths, rest) = parameters.split_at_mut(self.bins);
        softmax(widths);
        softmax(&mut rest[..self.bins]);
    }

    /// The bin of `v` along the widths, or along the heights.
    fn bin<E: Scalar>(&self, v: E, parameters: &[E], along_heights: bool) -> Bin<E> {
        let (floor, stretch) = self.sizes::<E>();
        let (widths, rest) = parameters.split_at(self.bins);
        let (heights, slopes) = rest.split_at(self.bins);
        let (searched, other) = if along_heights { (heights, widths) } else { (widths, heights) };
        let (mut start, mut other_start) = (-E::of(self.bound), -E::of(self.bound));
        let mut index = 0;
        while index + 1 < self.bins {
            let end = start + floor + stretch * searched[index];
            if v < end {
                break;
            }
            start = end;
            other_start = other_start + floor + stretch * other[index];
            index += 1;
        }
        let slope = |knot: usize| match knot.checked_sub(1).and_then(|inner| slopes.get(inner)) {
            Some(&raw) => E::of(LEAST) + softplus(raw).0,
            None => E::one(),
        };
        let (left, bottom) =
            if along_heights { (other_start, start) } else { (start, other_start) };
        Bin {
            index,
            left,
            bottom,
            width: floor + stretch * widths[index],
            height: floor + stretch * heights[index],
            slopes: (slope(index), slope(index + 1)),
        }
    }

    fn apply<E: Scalar>(
        &self,
        values: &mut [E],
        parameters: &mut [E],
        mut each: impl FnMut(usize, &mut E, &[E]),
    ) {
        for (i, (v, theta)) in
            values.iter_mut().zip(parameters.chunks_exact_mut(self.parameters())).enumerate()
        {
            if self.covers(*v) {
                self.normalize(theta);
                each(i, v, theta);
            }
        }
    }

    /// Replaces the parameters of one feature by the gradient by them, where `cotangents` gives
    /// those of `f` and `log f'` from `f'` and `∂ log f'/∂x`. Returns the cotangent of `f` and the
    /// gradient by `x`.
    fn product<E: Scalar>(
        &self,
        x: E,
        parameters: &mut [E],
        cotangents: impl FnOnce(E, E) -> (E, E),
    ) -> (E, E) {
        let one = E::one();
        if !self.covers(x) {
            parameters.fill(E::zero());
            let (by_f, _) = cotangents(one, E::zero());
            return (by_f, by_f);
        }
        let two = one + one;
        let bin = self.bin(x, parameters, false);
        let (s, bend) = bin.shape();
        let at = unit((x - bin.left) / bin.width);
        let rest = one - at;
        let between = at * rest;
        let below = s + bend * between;
        let above = s * at * at + bin.slopes.0 * between;
        let top = bin.slopes.1 * at * at + two * s * between + bin.slopes.0 * rest * rest;
        let (inverse_below, inverse_top) = (one / below, one / top);
        let square = inverse_below * inverse_below;

        // Partial derivatives of f and of log f' by ξ, s and the two slopes, others fixed.
        let f_at = bin.height * s * top * square;
        let f_s = bin.height * (at * at * below - above * (one - two * between)) * square;
        let f_left = bin.height * between * (below - above) * square;
        let f_right = -bin.height * above * between * square;
        let top_at = two * (bin.slopes.1 * at + s * (rest - at) - bin.slopes.0 * rest);
        let l_at = top_at * inverse_top - two * bend * (rest - at) * inverse_below;
        let l_s =
            two / s + two * between * inverse_top - two * (one - two * between) * inverse_below;
        let l_left = rest * rest * inverse_top - two * between * inverse_below;
        let l_right = at * at * inverse_top - two * between * inverse_below;

        let inverse_width = one / bin.width;
        let (by_f, by_l) = cotangents(f_at * inverse_width, l_at * inverse_width);
        let by_at = (by_f * f_at + by_l * l_at) * inverse_width;
        let by_s = (by_f * f_s + by_l * l_s) * inverse_width;
        let by_width = -by_at * at - by_s * s;
        let by_height = by_s + by_f * above * inverse_below;

        let (widths, others) = parameters.split_at_mut(self.bins);
        let (heights, slopes) = others.split_at_mut(self.bins);
        let (_, stretch) = self.sizes::<E>();
        softmax_product(widths, bin.index, stretch, -by_at, by_width);
        softmax_product(heights, bin.index, stretch, by_f, by_height);
        for (inner, raw) in slopes.iter_mut().enumerate() {
            let by_slope = if inner + 1 == bin.index {
                by_f * f_left + by_l * l_left
            } else if inner == bin.index {
                by_f * f_right + by_l * l_right
            } else {
                *raw = E::zero();
                continue;
            };
            *raw = by_slope * softplus(*raw).1;
        }
        (by_f, by_at)
    }
}

/// Turns softmax shares into the gradient by their logits, where the loss depends on the sizes
/// `stretch · share` of the bins before `index` by `before` each, and on that of `index` by `own`.
fn softmax_product<E: Scalar>(shares: &mut [E], index: usize, stretch: E, before: E, own: E) {
    let mean = shares[..index].iter().copied().sum::<E>() * before + shares[index] * own;
    for (i, share) in shares.iter_mut().enumerate() {
        let by_size = match i.cmp(&index) {
            std::cmp::Ordering::Less => before,
            std::cmp::Ordering::Equal => own,
            std::cmp::Ordering::Greater => E::zero(),
        };
        *share = *share * stretch * (by_size - mean);
    }
}

impl Transform for Spline {
    const LOG_DET: LogDet = LogDet::Varying;

    fn parameters(&self) -> usize {
        (3 * self.bins).saturating_sub(1)
    }

    fn start(&self, parameter: usize) -> f64 {
        if parameter < 2 * self.bins {
            0.0
        } else {
            // softplus⁻¹(1 − LEAST): all slopes 1.
            (1.0 - LEAST).exp_m1().ln()
        }
    }

    fn check(&self) -> Result<()> {
        let most = (1.0 / LEAST) as usize - 1;
        if !(1..=most).contains(&self.bins) {
            return Err(FlowError::option("bins", self.bins, format!("1 to {most}")));
        }
        if self.bound > 0.0 && self.bound.is_finite() {
            Ok(())
        } else {
            Err(FlowError::option("bound", self.bound, "a finite number above 0"))
        }
    }

    fn forward<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        let features = features(values.len(), log_det.len());
        self.apply(values, parameters, |i, v, theta| {
            let (z, log_slope) = self.bin(*v, theta, false).forward(*v);
            *v = z;
            log_det[i / features] += log_slope;
        });
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        let features = features(values.len(), log_det.len());
        self.apply(values, parameters, |i, v, theta| {
            let (x, log_slope) = self.bin(*v, theta, true).inverse(*v);
            *v = x;
            log_det[i / features] -= log_slope;
        });
    }

    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let features = features(x.len(), log_det.len());
        let each = x.iter().zip(parameters.chunks_exact_mut(self.parameters())).zip(gradient);
        for (i, ((&x, theta), by_z)) in each.enumerate() {
            let by_log = log_det[i / features];
            let (_, by_x) = self.product(x, theta, |_, _| (*by_z, by_log));
            *by_z = by_x;
        }
    }

    fn inverse_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let features = features(x.len(), log_det.len());
        let each = x.iter().zip(parameters.chunks_exact_mut(self.parameters())).zip(gradient);
        for (i, ((&x, theta), by_x)) in each.enumerate() {
            let by_log = log_det[i / features];
            let (by_f, _) = self.product(x, theta, |slope, log_slope_by_x| {
                ((by_log * log_slope_by_x - *by_x) / slope, -by_log)
            });
            *by_x = -by_f;
        }
    }
}

#[cfg(test)]
#[path = "spline_tests.rs"]
mod tests;
