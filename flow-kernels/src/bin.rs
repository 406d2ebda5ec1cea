//! One bin of a rational-quadratic spline.

use crate::Element;

/// A bin of a monotone rational-quadratic spline (Gregory and Delbourgo 1982; Durkan et al. 2019,
/// "Neural Spline Flows", eq. 4 to 8).
///
/// ```
/// use flow_kernels::Bin;
/// let bin = Bin { left: 0.0, bottom: 1.0, width: 2.0, height: 1.0, slopes: (0.5, 0.5) };
/// assert_eq!(bin.forward(1.0), (1.5, 0.5));
/// assert_eq!(bin.inverse(1.5), (1.0, 0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin<E> {
    /// The `x` at which it begins.
    pub left: E,
    /// The value there.
    pub bottom: E,
    /// How far it reaches in `x`, above 0.
    pub width: E,
    /// How far its values reach, above 0.
    pub height: E,
    /// Slopes at its left and right knot.
    pub slopes: (E, E),
}

/// A loss's gradient by what a bin is made of. Those by `left` and `bottom` are `-x` and `value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByBin<E> {
    /// By `f(x)`, as it arrived.
    pub value: E,
    /// By `x`.
    pub x: E,
    /// By the width.
    pub width: E,
    /// By the height.
    pub height: E,
    /// By the slopes at its left and right knot.
    pub slopes: (E, E),
}

impl<E: Element> Bin<E> {
    /// The mean slope `s` and the bend `δₖ₊₁ + δₖ − 2s`.
    #[inline(always)]
    fn shape(&self) -> (E, E) {
        let mean = self.height / self.width;
        (mean, self.slopes.0 + self.slopes.1 - (mean + mean))
    }

    /// `f(x)` and `f'(x)`: with `ξ`, eq. 4 and 5 there.
    #[inline(always)]
    pub fn forward(&self, x: E) -> (E, E) {
        let at = unit((x - self.left) / self.width);
        let (s, bend) = self.shape();
        let between = at * (E::ONE - at);
        let rise = (s * at * at + self.slopes.0 * between) / (s + bend * between);
        (self.bottom + self.height * rise, self.slope(at))
    }

    /// The `x` with `f(x) = z`, and `f'(x)`.
    ///
    /// Solves eq. 4 for `ξ` (eq. 6 to 8), with `η = (z − bottom)/height`. With `a = s − b` and
    /// `c = −sη` the discriminant `b² − 4ac` is the sum of squares `(b − 2sη)² + 4s²η(1−η)`, which
    /// loses no digits, and the sign of `b` chooses the form of the root that adds numbers of one
    /// sign.
    #[inline(always)]
    pub fn inverse(&self, z: E) -> (E, E) {
        let (s, bend) = self.shape();
        let up = unit((z - self.bottom) / self.height);
        let b = self.slopes.0 - up * bend;
        let twice = (s + s) * up;
        let root = ((b - twice) * (b - twice) + twice * (s + s) * (E::ONE - up)).root();
        let at = if b < E::default() { (root - b) / (s + s - b - b) } else { twice / (b + root) };
        let at = unit(at);
        (self.left + at * self.width, self.slope(at))
    }

    /// Eq. 5.
    #[inline(always)]
    fn slope(&self, at: E) -> E {
        let (s, bend) = self.shape();
        let rest = E::ONE - at;
        let between = at * rest;
        let top = self.slopes.1 * at * at + (s + s) * between + self.slopes.0 * rest * rest;
        let ratio = s / (s + bend * between);
        top * ratio * ratio
    }

    /// The gradient where `cotangents` gives those of `f` and `log f'` from `f'` and
    /// `∂ log f'/∂x`.
    #[inline(always)]
    pub fn product(&self, x: E, cotangents: impl FnOnce(E, E) -> (E, E)) -> ByBin<E> {
        let one = E::ONE;
        let two = one + one;
        let (s, bend) = self.shape();
        let at = unit((x - self.left) / self.width);
        let rest = one - at;
        let between = at * rest;
        let below = s + bend * between;
        let above = s * at * at + self.slopes.0 * between;
        let top = self.slopes.1 * at * at + two * s * between + self.slopes.0 * rest * rest;
        let (inverse_below, inverse_top) = (one / below, one / top);
        let square = inverse_below * inverse_below;

        // Partial derivatives of f and of log f' by ξ, s and the two slopes, others fixed.
        let f_at = self.height * s * top * square;
        let f_s = self.height * (at * at * below - above * (one - two * between)) * square;
        let f_left = self.height * between * (below - above) * square;
        let f_right = -self.height * above * between * square;
        let top_at = two * (self.slopes.1 * at + s * (rest - at) - self.slopes.0 * rest);
        let l_at = top_at * inverse_top - two * bend * (rest - at) * inverse_below;
        let l_s =
            two / s + two * between * inverse_top - two * (one - two * between) * inverse_below;
        let l_left = rest * rest * inverse_top - two * between * inverse_below;
        let l_right = at * at * inverse_top - two * between * inverse_below;

        let inverse_width = one / self.width;
        let (by_f, by_l) = cotangents(f_at * inverse_width, l_at * inverse_width);
        let by_x = (by_f * f_at + by_l * l_at) * inverse_width;
        let by_s = (by_f * f_s + by_l * l_s) * inverse_width;
        ByBin {
            value: by_f,
            x: by_x,
            width: -by_x * at - by_s * s,
            height: by_s + by_f * above * inverse_below,
            slopes: (by_f * f_left + by_l * l_left, by_f * f_right + by_l * l_right),
        }
    }
}

/// Rounding may carry a position past the end of its bin.
#[inline(always)]
fn unit<E: Element>(at: E) -> E {
    if at > E::ONE {
        E::ONE
    } else if at < E::default() {
        E::default()
    } else {
        at
    }
}
