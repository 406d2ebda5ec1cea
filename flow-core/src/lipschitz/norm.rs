//! Certified bounds on the spectral norm of a matrix, and of what the weight of a layer does.
//!
//! Gram iteration (Delattre et al. 2023, "Efficient bound of Lipschitz constant for convolutional
//! layers by Gram iteration"): with Q₀ = WᵀW and Qⱼ₊₁ = QⱼᵀQⱼ, Qₖ = (WᵀW)^(2ᵏ). With p = 2ᵏ + 1
//! the Schatten norm of W of order 2p, `b = tr((WᵀW)ᵖ)^(1/2p) = ⟨Q₀, Qₖ⟩^(1/2p)`, is one from above,
//! and close; and the derivative of ln b by W is `W·Qₖ/⟨Q₀, Qₖ⟩`, one product more.
//!
//! That is b but for rounding. The norm of Qₖ is a bound with every rounding carried along. Step j
//! computes G = fl(QᵀQ), and
//! - |G − QᵀQ| ≤ γ·|Q|ᵀ|Q| + m·η entry by entry in whatever order the m products are added, with
//!   γ = m·u/(1 − m·u), the unit roundoff u and η for underflow (Higham 2002, "Accuracy and stability
//!   of numerical algorithms", eq. 3.13), so that ‖Q‖² ≤ ‖G‖ + γ·‖Q‖_F² + n·m·η;
//! - G is scaled by a power of two, exact but for underflow, so that its largest entry is near 1:
//!   ‖G‖ ≤ 2ᵉ·(‖Qⱼ₊₁‖ + n·η).
//!
//! From the bound ‖Qₖ‖ ≤ ‖Qₖ‖_F these lead backwards to one on ‖W‖, say c, and the few operations of
//! that way are rounded up. Without rounding it would be the Schatten norm of order 4·2ᵏ, say d, which
//! is at most b. So `b·c/d` is c or more, but for rounding, and the greater of both is certain.

use super::convolution;
use super::rounding::{back, eta, frobenius, gamma_of, inner, normalize, power_of_two, up, Step};
use crate::backend::cpu::convolution::Window;
use crate::backend::cpu::elementwise::transpose;
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
    gram(&double(weights), rows, columns, None)
}

/// [`norm`] with the derivative of its logarithm by each entry of the matrix, which times W sums to 1.
/// For a convolution see [`convolution`].
///
/// A matrix in f32 is multiplied in f32 where rounding, which adds a share of at most γ·n to the bound,
/// adds so little that it stays within 0.5 %.
pub(crate) fn norm_and_direction<E: Scalar>(weights: &[E], map: Map) -> (f64, Vec<f64>) {
    if map.window.kernel > 1 {
        return convolution::norm_and_direction(weights, map);
    }
    let mut direction = vec![0.0; weights.len()];
    let to = Some(&mut direction[..]);
    let bound = if weights.len() <= SINGLE {
        gram(weights, map.outputs, map.inputs, to)
    } else {
        gram(&double(weights), map.outputs, map.inputs, to)
    };
    (bound, direction)
}

/// Entries of a matrix up to which γ·n is at most 0.2 % in f32.
pub(super) const SINGLE: usize = 1 << 15;

fn double<E: Scalar>(weights: &[E]) -> Vec<f64> {
    weights.iter().map(|v| v.as_f64()).collect()
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
    let bound = norm(weights, map.outputs, map.inputs * map.window.taps());
    match map.window.kernel {
        1 => bound,
        kernel => up(kernel as f64 * bound),
    }
}

/// Squarings of the Gram matrix after which b is within 0.5 % of the spectral norm at any spectrum:
/// the least k with n^(1/2p) ≤ 1.005.
pub(super) fn squarings(side: usize) -> u32 {
    let order = (side.max(1) as f64).ln() / 0.01;
    (order - 1.0).max(1.0).log2().ceil() as u32
}

fn gram<E: Scalar>(
    weights: &[E],
    rows: usize,
    columns: usize,
    direction: Option<&mut [f64]>,
) -> f64 {
    if weights.iter().any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    // The Gram matrix of the shorter side.
    let flipped = columns > rows;
    let (tall, side) = if flipped { (columns, rows) } else { (rows, columns) };
    let mut w = weights.to_vec();
    if flipped {
        transpose(weights, columns, &mut w);
    }
    let Some(exponent) = normalize(&mut w) else { return 0.0 };

    let (first, step) = square(&w, tall, side);
    // Of ⟨Q₀, Qₖ⟩ as an exponent of 2.
    let (unit, mut scale) = (f64::from(step.exponent), f64::from(step.exponent));
    let mut steps = vec![step];
    let mut q = first.clone();
    for _ in 0..squarings(side) {
        let (next, step) = square(&q, side, side);
        scale = 2.0 * scale + f64::from(step.exponent);
        steps.push(step);
        q = next;
    }
    let (whole, doublings) = (frobenius(&q), power_of_two(1.0, steps.len() as i32 - 1));
    let certain = back(&steps, whole);
    let root = |logarithm: f64, order: f64| (logarithm / (2.0 * order)).exp();
    let exponents = [unit + scale, scale].map(|exponent| exponent * std::f64::consts::LN_2);
    let close = root(inner(&first, &q).ln() + exponents[0], doublings + 1.0);
    let without_rounding = root(whole.ln() + exponents[1], doublings);
    let bound = certain.max(close * (certain / without_rounding));

    if let Some(direction) = direction {
        let mut along = vec![E::zero(); w.len()];
        let (w, q) = (Matrix::new(&w, tall, side), Matrix::new(&q, side, side));
        multiply(&mut along, Into::Replace, w, q);
        if flipped {
            let tall = along.clone();
            transpose(&tall, side, &mut along);
        }
        let scale = inner(&along, weights);
        direction.iter_mut().zip(&along).for_each(|(by, v)| *by = v.as_f64() / scale);
    }
    // The scaling of W itself: entries that vanished, and a bound among the subnormal numbers.
    let vanished = up((tall as f64 * side as f64).sqrt() * eta::<E>());
    up(power_of_two(up(bound + vanished), exponent))
}

/// The Gram matrix of a matrix whose largest entry is near 1, scaled alike.
fn square<E: Scalar>(q: &[E], height: usize, side: usize) -> (Vec<E>, Step) {
    let mut g = vec![E::zero(); side * side];
    let at = Matrix::new(q, height, side);
    multiply(&mut g, Into::Replace, at.t(), at);
    let whole = frobenius(q);
    let underflow = up((side * height) as f64 * eta::<E>());
    let rounding = up(up(gamma_of::<E>(height) * up(whole * whole)) + underflow);
    let vanished = up(side as f64 * eta::<E>());
    // An entry of the diagonal is at least 1/4, so G is not zero.
    let exponent = normalize(&mut g).unwrap_or(0);
    (g, Step { rounding, vanished, exponent })
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
