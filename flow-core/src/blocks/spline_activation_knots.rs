//! A monotone rational-quadratic spline through given knots, a straight line beyond them.

use flow_kernels::Bin;

use crate::Scalar;

/// A feature's knots.
pub(super) struct Knots<'a, E> {
    pub(super) x: &'a [E],
    pub(super) y: &'a [E],
    pub(super) slopes: &'a [E],
}

/// Where a number lies.
enum Piece<E> {
    /// Beyond the knot of that index, the first or the last.
    Tail(usize),
    /// Between that knot and the next.
    Bin(usize, Bin<E>),
}

impl<'a, E: Scalar> Knots<'a, E> {
    /// Of a feature's numbers: all `x`, all `y`, all slopes.
    pub(super) fn new(all: &'a [E]) -> Self {
        let count = all.len() / 3;
        Self { x: &all[..count], y: &all[count..2 * count], slopes: &all[2 * count..] }
    }

    /// The piece of `v` along `axis`, which is `x` or `y`.
    fn piece(&self, v: E, axis: &[E]) -> Piece<E> {
        let last = axis.len() - 1;
        // So written that NaN counts as beyond the last knot, and spreads.
        if v < axis[0] {
            return Piece::Tail(0);
        }
        let next = axis.partition_point(|knot| *knot <= v);
        if next > last || next == 0 {
            return Piece::Tail(last);
        }
        let at = next - 1;
        let bin = Bin {
            left: self.x[at],
            bottom: self.y[at],
            width: self.x[next] - self.x[at],
            height: self.y[next] - self.y[at],
            slopes: (self.slopes[at], self.slopes[next]),
        };
        Piece::Bin(at, bin)
    }

    /// The value at `x`, and the logarithm of the slope there.
    pub(super) fn forward(&self, x: E) -> (E, E) {
        match self.piece(x, self.x) {
            Piece::Tail(at) => {
                (self.y[at] + self.slopes[at] * (x - self.x[at]), self.slopes[at].ln())
            }
            Piece::Bin(_, bin) => {
                let (z, slope) = bin.forward(x);
                (z, slope.ln())
            }
        }
    }

    /// The number whose value is `z`, and the logarithm of the slope there.
    pub(super) fn inverse(&self, z: E) -> (E, E) {
        match self.piece(z, self.y) {
            Piece::Tail(at) => {
                (self.x[at] + (z - self.y[at]) / self.slopes[at], self.slopes[at].ln())
            }
            Piece::Bin(_, bin) => {
                let (x, slope) = bin.inverse(z);
                (x, slope.ln())
            }
        }
    }

    /// Adds the gradient by the knots to `by`, where `cotangents` gives those of `f` and `log f'`
    /// from `f'` and `∂ log f'/∂x`. Returns the cotangent of `f` and the gradient by `x`.
    pub(super) fn product(
        &self,
        x: E,
        by: &mut [E],
        cotangents: impl FnOnce(E, E) -> (E, E),
    ) -> (E, E) {
        let count = self.x.len();
        let (by_x, rest) = by.split_at_mut(count);
        let (by_y, by_slopes) = rest.split_at_mut(count);
        match self.piece(x, self.x) {
            Piece::Tail(at) => {
                let slope = self.slopes[at];
                let (by_f, by_log) = cotangents(slope, E::zero());
                by_x[at] -= by_f * slope;
                by_y[at] += by_f;
                by_slopes[at] += by_f * (x - self.x[at]) + by_log / slope;
                (by_f, by_f * slope)
            }
            Piece::Bin(at, bin) => {
                let by = bin.product(x, cotangents);
                by_x[at] -= by.x + by.width;
                by_x[at + 1] += by.width;
                by_y[at] += by.value - by.height;
                by_y[at + 1] += by.height;
                by_slopes[at] += by.slopes.0;
                by_slopes[at + 1] += by.slopes.1;
                (by.value, by.x)
            }
        }
    }
}
