//! Certified bounds on the spectral norm of a matrix, and of what the weight of a layer does.
//!
//! Gram iteration (Delattre et al. 2023, "Efficient bound of Lipschitz constant for convolutional
//! layers by Gram iteration"): with Q₁ = WᵀW and Qⱼ₊₁ = QⱼᵀQⱼ, ‖W‖ = ‖Qₖ‖^(1/2ᵏ) ≤
//! ‖Qₖ‖_F^(1/2ᵏ), which is the Schatten norm of W of order 2ᵏ⁺¹: from above, and close.
//!
//! Here every rounding is carried along. Step j computes G = fl(QᵀQ), and
//! - |G − QᵀQ| ≤ γ·|Q|ᵀ|Q| + m·η entry by entry in whatever order the m products are added, with
//!   γ = m·u/(1 − m·u), u = 2⁻⁵³ and η = 2⁻¹⁰⁷⁴ for underflow (Higham 2002, "Accuracy and stability
//!   of numerical algorithms", eq. 3.13), so that ‖Q‖² ≤ ‖G‖ + γ·‖Q‖_F² + n·m·η;
//! - G is scaled by a power of two, exact but for underflow, so that its largest entry is near 1:
//!   ‖G‖ ≤ 2ᵉ·(‖Qⱼ₊₁‖ + n·η).
//!
//! From the bound ‖Q‖ ≤ ‖Q‖_F on the last Q these lead backwards to one on ‖W‖. The few operations
//! of that way are rounded up.

use super::convolution;
use super::rounding::{back, frobenius, gamma, normalize, power_of_two, squarings, up, Step, ETA};
use crate::backend::cpu::convolution::Window;
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::Scalar;

/// What a weight of a layer does: the matrix `[outputs, taps·inputs]` multiplies the patches of an
/// image, which for a window of one pixel are its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) window: Window,
    /// Whether it stands in a net on images, whose weights are named with their kernel's sides.
    pub(crate) image: bool,
}

impl Map {
    /// Whether each pixel is first multiplied with all taps and the results are then added up around
    /// it, instead of patches being gathered first: there are fewer numbers to move on that side.
    pub(crate) fn scatters(self) -> bool {
        self.window.kernel > 1 && self.outputs < self.inputs
    }

    /// Entries of the matrix.
    pub(crate) fn len(self) -> usize {
        self.outputs * self.inputs * self.window.taps()
    }

    /// The most by which the norm of a change of the map, whose every entry is at most a share ε of
    /// the map's, exceeds ε times the map's norm. With k the kernel's side a convolution's norm is
    /// at most k times the Frobenius norm of its matrix (each pixel lies in k² patches), and that is
    /// at most √min(outputs, inputs) times the norm on a torus as large as the kernel (from one
    /// pixel, or to one).
    pub(crate) fn spread(self) -> f64 {
        self.window.kernel as f64 * (self.outputs.min(self.inputs) as f64).sqrt()
    }
}

/// An upper bound on the spectral norm of a row-major matrix, within 0.5 % of it but for rounding.
/// Infinite where an entry is not finite.
pub(crate) fn norm<E: Scalar>(weights: &[E], rows: usize, columns: usize) -> f64 {
    gram(weights, rows, columns, None)
}

/// [`norm`] with the derivative of its logarithm by each entry of the matrix.
///
/// The bound without its rounding is `b = tr((WᵀW)ᵖ)^(1/2p)` with p = 2ᵏ, whose logarithm has the
/// derivative `W(WᵀW)ᵖ⁻¹/tr((WᵀW)ᵖ)`. The power p − 1 is 1 + 2 + 4 + …: the product of all Qⱼ. The
/// derivative times W sums to 1, which settles the scale.
///
/// For a convolution see [`convolution`].
pub(crate) fn norm_and_direction<E: Scalar>(weights: &[E], map: Map) -> (f64, Vec<f64>) {
    if map.window.kernel > 1 {
        return convolution::norm_and_direction(weights, map);
    }
    let mut direction = vec![0.0; weights.len()];
    let bound = gram(weights, map.outputs, map.inputs, Some(&mut direction));
    (bound, direction)
}

/// An upper bound on the norm of a map whose rows, one for each output of a pixel, are scaled by
/// numbers that need not be finite. Rounding the scaled entries adds a share of 2⁻⁵³ to each, and so
/// at most [`spread`](Map::spread) times that to the norm.
pub(crate) fn scaled(weights: &[f64], map: Map, scale: impl Fn(usize) -> f64) -> f64 {
    let columns = map.inputs * map.window.taps();
    let by = |i: usize, w: f64| if w == 0.0 { 0.0 } else { w * scale(i / columns) };
    let scaled: Vec<f64> = weights.iter().enumerate().map(|(i, &w)| by(i, w)).collect();
    let bound = match map.window.kernel {
        1 => norm(&scaled, map.outputs, map.inputs),
        _ => norm_and_direction(&scaled, map).0,
    };
    up(bound * (1.0 + 2.0 * f64::EPSILON * (1.0 + map.spread())))
}

/// A bound that is cheap for a convolution, and up to its kernel's side k too large: k times that of
/// its matrix, since each pixel lies in at most k² patches (Tsuzuku, Sato and Sugiyama 2018,
/// "Lipschitz-margin training", section 5.2).
pub(crate) fn rough<E: Scalar>(weights: &[E], map: Map) -> f64 {
    let bound = gram(weights, map.outputs, map.inputs * map.window.taps(), None);
    match map.window.kernel {
        1 => bound,
        kernel => up(kernel as f64 * bound),
    }
}

fn gram<E: Scalar>(
    weights: &[E],
    rows: usize,
    columns: usize,
    direction: Option<&mut Vec<f64>>,
) -> f64 {
    if weights.iter().any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    // The Gram matrix of the shorter side.
    let flipped = columns > rows;
    let (tall, side) = if flipped { (columns, rows) } else { (rows, columns) };
    let mut q: Vec<f64> = if flipped {
        (0..tall * side).map(|i| weights[i % side * columns + i / side].as_f64()).collect()
    } else {
        weights.iter().map(|v| v.as_f64()).collect()
    };
    let Some(exponent) = normalize(&mut q) else { return 0.0 };
    let mut product = direction.as_ref().map(|_| (q.clone(), vec![0.0; q.len()]));

    let mut height = tall;
    let mut steps = Vec::new();
    for _ in 0..squarings(side) {
        let mut g = vec![0.0; side * side];
        let at = Matrix::new(&q, height, side);
        multiply(&mut g, Into::Replace, at.t(), at);
        let whole = frobenius(&q);
        let underflow = up((side * height) as f64 * ETA);
        let rounding = up(up(gamma(height) * up(whole * whole)) + underflow);
        // An entry of the diagonal is at least 1/4, so G is not zero.
        let exponent = normalize(&mut g).unwrap_or(0);
        steps.push(Step { side, rounding, exponent });
        if let Some((power, spare)) = &mut product {
            let by = Matrix::new(&g, side, side);
            multiply(spare, Into::Replace, Matrix::new(power, tall, side), by);
            std::mem::swap(power, spare);
            normalize(power);
        }
        q = g;
        height = side;
    }

    let bound = back(&steps, frobenius(&q));
    if let (Some(direction), Some((power, _))) = (direction, product) {
        let at = |i: usize| if flipped { i % columns * side + i / columns } else { i };
        let scale: f64 = weights.iter().enumerate().map(|(i, v)| power[at(i)] * v.as_f64()).sum();
        for (i, by_weight) in direction.iter_mut().enumerate() {
            *by_weight = power[at(i)] / scale;
        }
    }
    // The scaling of W itself: entries that vanished, and a bound among the subnormal numbers.
    let vanished = up((tall as f64 * side as f64).sqrt() * ETA);
    up(power_of_two(up(bound + vanished), exponent))
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
