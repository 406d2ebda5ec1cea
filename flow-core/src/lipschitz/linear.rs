//! Linear maps on boxes, and their certified norms in both directions.

use super::{affine, up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe};
use crate::backend::cpu::convolution::Window;
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::lipschitz::norm::{norm, norm_and_direction, Map};
use crate::Scalar;

/// The map `y = W x` on every `d` numbers of a row, where the true matrix differs from `weight` by at
/// most `error` in the Frobenius norm; `inverse` is an approximate inverse of `weight`.
pub(crate) struct Linear {
    pub(crate) weight: Vec<f64>,
    pub(crate) error: f64,
    pub(crate) inverse: Vec<f64>,
    pub(crate) d: usize,
}

impl Linear {
    /// Carries the probe's box through the map, and bounds the norms of `W` and `W⁻¹`.
    pub(crate) fn amplification<E: Scalar>(self, probe: &mut Probe<'_, E>) -> Amplification {
        let norms = self.norms();
        let found = Amplification::certified(norms.0, norms.1);
        self.directed(norms, probe.backwards()).push(probe);
        found
    }

    /// The map on a box.
    pub(crate) fn mean_value(self, cell: &Cell, backwards: bool) -> MeanValue {
        let norms = self.norms();
        self.directed(norms, backwards).mean_value(cell)
    }

    /// The map, or its inverse.
    fn directed(self, (_, inverse, defect): (f64, f64, f64), backwards: bool) -> Near {
        let Self { weight, error, inverse: near, d } = self;
        if backwards {
            // x − R z = (I − R W) W⁻¹ z, and the same for the true matrix.
            return Near { matrix: near, error: up(defect * inverse), d };
        }
        Near { matrix: weight, error, d }
    }

    /// Upper bounds of `‖W‖`, `‖W⁻¹‖` and `‖I − R W‖`: with the last below 1, `‖W⁻¹‖` is at most
    /// `‖R‖/(1 − ‖I − R W‖)`.
    fn norms(&self) -> (f64, f64, f64) {
        let d = self.d;
        let forward = up(norm(&self.weight, d, d) + self.error);
        if self.inverse.iter().any(|v| !v.is_finite()) {
            return (forward, f64::INFINITY, f64::INFINITY);
        }
        let mut rest = vec![0.0; d * d];
        let (r, w) = (Matrix::new(&self.inverse, d, d), Matrix::new(&self.weight, d, d));
        multiply(&mut rest, Into::Replace, r, w);
        rest.iter_mut().for_each(|v| *v = -*v);
        rest.iter_mut().step_by(d + 1).for_each(|v| *v += 1.0);
        // Each entry of the product errs by at most (d + 1)·ε·Σ|r||w|, so all together by that
        // times the product of the Frobenius norms; and R times the error of W.
        let size = |m: &[f64]| m.iter().map(|v| v * v).sum::<f64>().sqrt() * (1.0 + 1e-12);
        let (size_r, size_w) = (size(&self.inverse), size(&self.weight));
        let rounding = (d + 2) as f64 * f64::EPSILON * (size_r * size_w + 1.0);
        let defect = up(norm(&rest, d, d) + up(rounding + up(size_r * self.error)));
        if defect >= 1.0 || defect.is_nan() {
            return (forward, f64::INFINITY, f64::INFINITY);
        }
        let inverse = up(norm(&self.inverse, d, d) / (1.0 - defect).next_down());
        (forward, inverse, defect)
    }
}

/// A matrix on every `d` numbers of a row, which differs from the true one by at most `error` in the
/// Frobenius norm (or from its product with a vector by that share of the vector).
pub(crate) struct Near {
    pub(crate) matrix: Vec<f64>,
    pub(crate) error: f64,
    pub(crate) d: usize,
}

impl Near {
    /// Carries the probe's box through the map.
    pub(crate) fn push<E: Scalar>(&self, probe: &mut Probe<'_, E>) {
        self.apply(probe.region());
    }

    fn apply(&self, x: &mut [Interval]) {
        for vector in x.chunks_exact_mut(self.d) {
            let squares = vector.iter().map(|v| v.magnitude() * v.magnitude()).sum::<f64>();
            let length = squares.sqrt() * (1.0 + 1e-12);
            let slack = if self.error == 0.0 { 0.0 } else { up(self.error * length) };
            let image = affine(|i, j| self.matrix[i * self.d + j], self.d, vector, |_| 0.0);
            let slack = Interval::new(-slack, slack);
            vector.iter_mut().zip(image).for_each(|(v, image)| *v = image + slack);
        }
    }

    /// The map on a box. Each entry of the true matrix is as near as all together.
    pub(crate) fn mean_value(&self, cell: &Cell) -> MeanValue {
        let mut centre: Vec<Interval> = cell.centre.iter().map(|&c| Interval::point(c)).collect();
        self.apply(&mut centre);
        let (size, d) = (centre.len(), self.d);
        let (mut middle, mut radius) = (vec![0.0; size * size], vec![0.0; size * size]);
        for i in 0..size {
            let at = i * size + i / d * d;
            middle[at..at + d].copy_from_slice(&self.matrix[i % d * d..][..d]);
            radius[at..at + d].fill(self.error);
        }
        MeanValue { centre, jacobian: IntervalMatrix::around(size, size, middle, radius) }
    }
}

/// The gradient by W of `by[0]·ln ‖W‖ + by[1]·ln ‖R‖` with the bounds of both norms, where R is W's
/// inverse: that of the second is `−Rᵀ D Rᵀ` with `D = ∂ ln ‖R‖/∂R`.
pub(crate) fn slopes(weight: &[f64], inverse: &[f64], d: usize, by: [f64; 2]) -> Vec<f64> {
    let map = Map { outputs: d, inputs: d, window: Window::POINT, image: false };
    let (_, mut gradient) = norm_and_direction(weight, map);
    let (_, mut direction) = norm_and_direction(inverse, map);
    gradient.iter_mut().for_each(|v| *v *= by[0]);
    direction.iter_mut().for_each(|v| *v *= -by[1]);
    let back = Matrix::new(inverse, d, d).t();
    let mut half = vec![0.0; d * d];
    multiply(&mut half, Into::Replace, back, Matrix::new(&direction, d, d));
    multiply(&mut gradient, Into::Add, Matrix::new(&half, d, d), back);
    gradient
}

/// The map `y = x·scale + shift`, feature by feature at every pixel, on the probe's box.
pub(crate) fn scale_and_shift<E: Scalar>(
    probe: &mut Probe<'_, E>,
    maps: &[(Interval, Interval)],
) -> Amplification {
    let backwards = probe.backwards();
    for vector in probe.region().chunks_exact_mut(maps.len()) {
        for (v, &(scale, shift)) in vector.iter_mut().zip(maps) {
            *v = if backwards { (*v - shift) / scale } else { *v * scale + shift };
        }
    }
    let most = maps.iter().map(|(scale, _)| scale.magnitude()).fold(0.0, f64::max);
    let inverse = maps.iter().map(|(scale, _)| scale.recip().magnitude()).fold(0.0, f64::max);
    Amplification::certified(most, inverse)
}

/// The same map on a cell.
pub(crate) fn scaled_and_shifted(
    cell: &Cell,
    maps: &[(Interval, Interval)],
    backwards: bool,
) -> MeanValue {
    let each = cell.centre.iter().zip(maps.iter().cycle()).map(|(&c, &(scale, shift))| {
        let c = Interval::point(c);
        match backwards {
            true => ((c - shift) / scale, scale.recip()),
            false => (c * scale + shift, scale),
        }
    });
    let (centre, slopes): (Vec<_>, Vec<_>) = each.unzip();
    MeanValue::of_diagonal(centre, &slopes)
}

/// The 2 × 2 matrix `[[1, 0], [m, g]]` of the blocks' norms of a coupling's Jacobian: its norm bounds
/// that of the Jacobian. With `t = 1 + m² + g²` it is `√((t + √(t² − 4g²))/2)`.
pub(crate) fn coupled(m: f64, g: f64) -> f64 {
    if !(m.is_finite() && g.is_finite()) {
        return f64::INFINITY;
    }
    // Relative to the largest, so that no square overflows.
    let size = m.max(g).max(1.0);
    let (one, m, g) = (1.0 / size, m / size, g / size);
    let t = one * one + m * m + g * g;
    // t² − 4g² = ((1 − g)² + m²)((1 + g)² + m²), without cancellation.
    let root = (((one - g).powi(2) + m * m) * ((one + g).powi(2) + m * m)).sqrt();
    size * (0.5 * (t + root)).sqrt() * (1.0 + 16.0 * f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    #[test]
    fn the_norm_of_two_by_two_is_that_of_its_singular_value() {
        assert!((coupled(0.0, 1.0) - 1.0).abs() < 1e-14);
        assert!((coupled(1.0, 1.0) - (1.0 + 5.0_f64.sqrt()) / 2.0).abs() < 1e-14);
        // Above, by the share that covers its own rounding.
        assert!((3.0..3.0 + 2e-14).contains(&coupled(0.0, 3.0)));
        assert!(coupled(1e200, 1e-200) >= 1e200 && coupled(1e200, 1.0).is_finite());
        for k in 0..1000 {
            let noise = Noise::seed(k);
            let (m, g) = (noise.normal(0).abs(), noise.normal(1).abs());
            for i in 0..32 {
                let (s, c) = (f64::from(i) * 0.1).sin_cos();
                assert!((c * c + (m * c + g * s).powi(2)).sqrt() <= coupled(m, g));
            }
            // Never above the published max(1, c) + M.
            assert!(coupled(m, g) <= g.max(1.0) + m + 1e-14);
        }
    }

    #[test]
    fn the_norms_of_a_known_matrix_are_close_and_above() {
        // A rotation times diag(4, 0.25).
        let (s, c) = 0.7_f64.sin_cos();
        let weight = [4.0 * c, -0.25 * s, 4.0 * s, 0.25 * c];
        let inverse = [c / 4.0, s / 4.0, -4.0 * s, 4.0 * c];
        let linear = Linear { weight: weight.into(), error: 0.0, inverse: inverse.into(), d: 2 };
        let (forward, backward, defect) = linear.norms();
        assert!((4.0..4.0 * 1.006).contains(&forward) && (4.0..4.0 * 1.006).contains(&backward));
        assert!(defect < 1e-13);
        let wrong = [0.0; 4];
        let singular = Linear { weight: weight.into(), error: 0.0, inverse: wrong.into(), d: 2 };
        assert_eq!(singular.norms().1, f64::INFINITY);
    }
}
