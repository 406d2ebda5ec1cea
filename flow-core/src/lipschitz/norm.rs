//! Certified bounds on the spectral norm of a matrix.
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
    /// Entries of the matrix.
    pub(crate) fn len(self) -> usize {
        self.outputs * self.inputs * self.window.taps()
    }

    /// The most by which the norm of a change of the map, whose every entry is at most a share ε of
    /// the map's, exceeds ε times the map's norm. With k the kernel's side a convolution's norm is
    /// at most k times the Frobenius norm of its matrix (each pixel lies in k² patches), and that is
    /// at most √min(outputs, inputs) times the norm on a plane (from one pixel, or to one).
    pub(crate) fn spread(self) -> f64 {
        self.window.kernel as f64 * (self.outputs.min(self.inputs) as f64).sqrt()
    }
}

/// The least subnormal number.
const ETA: f64 = 5e-324;

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
/// A convolution's bound is its kernel's side k times that of its matrix: each pixel lies in at most
/// k² patches (Tsuzuku, Sato and Sugiyama 2018, "Lipschitz-margin training", section 5.2).
pub(crate) fn norm_and_direction<E: Scalar>(weights: &[E], map: Map) -> (f64, Vec<f64>) {
    let mut direction = vec![0.0; weights.len()];
    let columns = map.inputs * map.window.taps();
    let bound = gram(weights, map.outputs, columns, Some(&mut direction));
    (up(map.window.kernel as f64 * bound), direction)
}

/// One Gram step on the way back from the last bound.
struct Step {
    /// Bounds ‖Q‖² − ‖G‖.
    rounding: f64,
    /// G = 2^exponent · Qⱼ₊₁.
    exponent: i32,
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
        let (m, n) = (height as f64, side as f64);
        let gamma = up(m * f64::EPSILON / 2.0 / (1.0 - m * f64::EPSILON));
        let whole = frobenius(&q);
        let rounding = up(up(gamma * up(whole * whole)) + up(n * m * ETA));
        // An entry of the diagonal is at least 1/4, so G is not zero.
        let exponent = normalize(&mut g).unwrap_or(0);
        steps.push(Step { rounding, exponent });
        if let Some((power, spare)) = &mut product {
            let by = Matrix::new(&g, side, side);
            multiply(spare, Into::Replace, Matrix::new(power, tall, side), by);
            std::mem::swap(power, spare);
            normalize(power);
        }
        q = g;
        height = side;
    }

    let mut bound = frobenius(&q);
    for step in steps.iter().rev() {
        let g = power_of_two(up(bound + up(side as f64 * ETA)), step.exponent);
        bound = up(up(g + step.rounding).sqrt());
    }
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

/// Squarings after which the Frobenius norm is within 0.5 % of the spectral one at any spectrum:
/// the least k with n^(1/2ᵏ⁺¹) ≤ 1.005.
fn squarings(side: usize) -> u32 {
    let order = (side as f64).ln() / 0.005;
    order.max(2.0).log2().ceil() as u32 - 1
}

/// Scales by a power of two so that the largest entry lies in [1/2, 1), and returns the exponent
/// that leads back; none for zeros.
fn normalize(values: &mut [f64]) -> Option<i32> {
    let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    if most == 0.0 {
        return None;
    }
    let (_, exponent) = libm::frexp(most);
    values.iter_mut().for_each(|v| *v = power_of_two(*v, -exponent));
    Some(exponent)
}

/// `v·2^exponent`, exact but for over- and underflow.
fn power_of_two(v: f64, exponent: i32) -> f64 {
    libm::scalbn(v, exponent)
}

/// An upper bound on the Frobenius norm, for entries at most 1.
fn frobenius(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|v| v * v).sum();
    let m = values.len() as f64;
    // Rounded products and sums lose at most a share γ, and η for each that underflows.
    let lost = 1.0 + up(m * f64::EPSILON);
    up(up(up(sum + up(m * ETA)) * up(lost)).sqrt())
}

/// At least the exact result of one operation on numbers ≥ 0 that gave `v`.
fn up(v: f64) -> f64 {
    v * (1.0 + f64::EPSILON) + ETA
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
