//! What Gram iterations need to carry their rounding along: u = 2⁻⁵³ is the unit roundoff, η = 2⁻¹⁰⁷⁴
//! the least subnormal number. Matrices may be in f32, where u = 2⁻²⁴ and η = 2⁻¹⁴⁹; what is made of a
//! whole matrix is in f64 in any case.

use crate::Scalar;

/// η.
pub(super) const ETA: f64 = 5e-324;

/// u.
pub(super) const UNIT: f64 = f64::EPSILON / 2.0;

/// η of other numbers.
pub(super) fn eta<E: Scalar>() -> f64 {
    E::min_positive_value().as_f64() * E::epsilon().as_f64()
}

/// One step `G = fl(QᴴQ) = 2^exponent·Q'` from Q to Q'.
pub(super) struct Step {
    /// Bounds ‖Q‖² − ‖G‖.
    pub(super) rounding: f64,
    /// Bounds what G lost where entries of Q' underflowed: n·η for n rows and columns.
    pub(super) vanished: f64,
    pub(super) exponent: i32,
}

/// From a bound on the norm of the last step's Q' to one on that of the first step's Q.
pub(super) fn back(steps: &[Step], mut bound: f64) -> f64 {
    for step in steps.iter().rev() {
        let g = power_of_two(up(bound + step.vanished), step.exponent);
        bound = up(up(g + step.rounding).sqrt());
    }
    bound
}

/// `γₖ = k·u/(1 − k·u)`, what k roundings may do to a product (Higham 2002, "Accuracy and stability
/// of numerical algorithms", lemma 3.1). Infinite where that says nothing.
pub(super) fn gamma_of<E: Scalar>(count: usize) -> f64 {
    let k = count as f64 * (E::epsilon().as_f64() / 2.0);
    if k < 1.0 {
        up(k / (1.0 - k))
    } else {
        f64::INFINITY
    }
}

/// [`gamma_of`] f64.
pub(super) fn gamma(count: usize) -> f64 {
    gamma_of::<f64>(count)
}

/// Squarings after which the Frobenius norm is within 0.5 % of the spectral one at any spectrum:
/// the least k with n^(1/2ᵏ⁺¹) ≤ 1.005.
pub(super) fn squarings(side: usize) -> u32 {
    let order = (side as f64).ln() / 0.005;
    order.max(2.0).log2().ceil() as u32 - 1
}

/// Scales by a power of two so that the largest entry lies in [1/2, 1), and returns the exponent
/// that leads back; none for zeros.
pub(super) fn normalize<E: Scalar>(values: &mut [E]) -> Option<i32> {
    let most = gather(values, 0.0, |v| v.as_f64().abs(), f64::max);
    if most == 0.0 {
        return None;
    }
    let (_, exponent) = libm::frexp(most);
    let scale = power_of_two(1.0, -exponent);
    // One product with a normal number is as exact as the general way.
    if E::of(scale).is_normal() {
        let scale = E::of(scale);
        values.iter_mut().for_each(|v| *v *= scale);
    } else {
        values.iter_mut().for_each(|v| *v = E::of(power_of_two(v.as_f64(), -exponent)));
    }
    Some(exponent)
}

/// `v·2^exponent`, exact but for over- and underflow.
pub(super) fn power_of_two(v: f64, exponent: i32) -> f64 {
    libm::scalbn(v, exponent)
}

/// An upper bound on the Frobenius norm, for entries at most 1.
pub(super) fn frobenius<E: Scalar>(values: &[E]) -> f64 {
    let sum = gather(values, 0.0, |v| v.as_f64() * v.as_f64(), |a, b| a + b);
    let m = values.len() as f64;
    // Rounded products and sums lose at most a share γ, and η for each that underflows.
    let lost = 1.0 + up(m * f64::EPSILON);
    up(up(up(sum + up(m * ETA)) * up(lost)).sqrt())
}

/// The sum of products of entries.
pub(super) fn inner<E: Scalar>(a: &[E], b: &[E]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a.as_f64() * b.as_f64());
    }
    sums.iter().sum()
}

/// Numbers that are gathered side by side, so that none waits for the one before it.
const LANES: usize = 8;

fn gather<E: Scalar>(
    values: &[E],
    start: f64,
    of: impl Fn(E) -> f64,
    join: impl Fn(f64, f64) -> f64,
) -> f64 {
    let mut lanes = [start; LANES];
    let (lines, rest) = values.as_chunks::<LANES>();
    for line in lines {
        lanes.iter_mut().zip(line).for_each(|(lane, &v)| *lane = join(*lane, of(v)));
    }
    let all = lanes.into_iter().chain(rest.iter().map(|&v| of(v)));
    all.fold(start, join)
}

/// At least the exact result of one operation on numbers ≥ 0 that gave `v`.
pub(super) fn up(v: f64) -> f64 {
    v * (1.0 + f64::EPSILON) + ETA
}
