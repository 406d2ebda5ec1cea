use crate::Scalar;

/// A bin of a monotone rational-quadratic spline (Gregory and Delbourgo 1982; Durkan et al. 2019,
/// "Neural Spline Flows", eq. 4 to 8).
pub(crate) struct Bin<E> {
    pub(crate) left: E,
    pub(crate) bottom: E,
    pub(crate) width: E,
    pub(crate) height: E,
    /// Slopes at its left and right knot.
    pub(crate) slopes: (E, E),
}

/// A loss's gradient by what a bin is made of. Those by `left` and `bottom` are `-x` and `value`.
pub(crate) struct ByBin<E> {
    /// By `f(x)`, as it arrived.
    pub(crate) value: E,
    pub(crate) x: E,
    pub(crate) width: E,
    pub(crate) height: E,
    pub(crate) slopes: (E, E),
}

impl<E: Scalar> Bin<E> {
    /// The mean slope `s` and the bend `δₖ₊₁ + δₖ − 2s`.
    fn shape(&self) -> (E, E) {
        let mean = self.height / self.width;
        (mean, self.slopes.0 + self.slopes.1 - (mean + mean))
    }

    /// `f(x)` and `f'(x)`: with `ξ`, eq. 4 and 5 there.
    pub(crate) fn forward(&self, x: E) -> (E, E) {
        let at = unit((x - self.left) / self.width);
        let (s, bend) = self.shape();
        let between = at * (E::one() - at);
        let rise = (s * at * at + self.slopes.0 * between) / (s + bend * between);
        (self.bottom + self.height * rise, self.slope(at))
    }

    /// The `x` with `f(x) = z`, and `f'(x)`.
    ///
    /// Solves eq. 4 for `ξ` (eq. 6 to 8), with `η = (z − bottom)/height`. With `a = s − b` and
    /// `c = −sη` the discriminant `b² − 4ac` is the sum of squares `(b − 2sη)² + 4s²η(1−η)`, which
    /// loses no digits, and the sign of `b` chooses the form of the root that adds numbers of one
    /// sign.
    pub(crate) fn inverse(&self, z: E) -> (E, E) {
        let (s, bend) = self.shape();
        let up = unit((z - self.bottom) / self.height);
        let b = self.slopes.0 - up * bend;
        let twice = (s + s) * up;
        let root = ((b - twice) * (b - twice) + twice * (s + s) * (E::one() - up)).sqrt();
        let at = if b < E::zero() { (root - b) / (s + s - b - b) } else { twice / (b + root) };
        let at = unit(at);
        (self.left + at * self.width, self.slope(at))
    }

    /// Eq. 5.
    fn slope(&self, at: E) -> E {
        let (s, bend) = self.shape();
        let rest = E::one() - at;
        let between = at * rest;
        let top = self.slopes.1 * at * at + (s + s) * between + self.slopes.0 * rest * rest;
        let ratio = s / (s + bend * between);
        top * ratio * ratio
    }

    /// The gradient where `cotangents` gives those of `f` and `log f'` from `f'` and
    /// `∂ log f'/∂x`.
    pub(crate) fn product(&self, x: E, cotangents: impl FnOnce(E, E) -> (E, E)) -> ByBin<E> {
        let one = E::one();
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
fn unit<E: Scalar>(at: E) -> E {
    if at > E::one() {
        E::one()
    } else if at < E::zero() {
        E::zero()
    } else {
        at
    }
}
