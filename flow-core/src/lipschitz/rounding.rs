//! What Gram iterations need to carry their rounding along: u = 2⁻⁵³ is the unit roundoff, η = 2⁻¹⁰⁷⁴
//! the least subnormal number.

/// η.
pub(super) const ETA: f64 = 5e-324;

/// u.
pub(super) const UNIT: f64 = f64::EPSILON / 2.0;

/// One step `G = fl(QᴴQ) = 2^exponent·Q'` from Q to Q', with G and Q' of `side` rows and columns.
pub(super) struct Step {
    pub(super) side: usize,
    /// Bounds ‖Q‖² − ‖G‖.
    pub(super) rounding: f64,
    pub(super) exponent: i32,
}

/// From a bound on the norm of the last step's Q' to one on that of the first step's Q.
pub(super) fn back(steps: &[Step], mut bound: f64) -> f64 {
    for step in steps.iter().rev() {
        let g = power_of_two(up(bound + up(step.side as f64 * ETA)), step.exponent);
        bound = up(up(g + step.rounding).sqrt());
    }
    bound
}

/// `γₖ = k·u/(1 − k·u)`, what k roundings may do to a product (Higham 2002, "Accuracy and stability
/// of numerical algorithms", lemma 3.1).
pub(super) fn gamma(count: usize) -> f64 {
    let k = count as f64 * UNIT;
    up(k / (1.0 - k))
}

/// Squarings after which the Frobenius norm is within 0.5 % of the spectral one at any spectrum:
/// the least k with n^(1/2ᵏ⁺¹) ≤ 1.005.
pub(super) fn squarings(side: usize) -> u32 {
    let order = (side as f64).ln() / 0.005;
    order.max(2.0).log2().ceil() as u32 - 1
}

/// Scales by a power of two so that the largest entry lies in [1/2, 1), and returns the exponent
/// that leads back; none for zeros.
pub(super) fn normalize(values: &mut [f64]) -> Option<i32> {
    let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    if most == 0.0 {
        return None;
    }
    let (_, exponent) = libm::frexp(most);
    if (-1000..1000).contains(&exponent) {
        // One product with a normal number, as exact as the general way.
        let scale = power_of_two(1.0, -exponent);
        values.iter_mut().for_each(|v| *v *= scale);
    } else {
        values.iter_mut().for_each(|v| *v = power_of_two(*v, -exponent));
    }
    Some(exponent)
}

/// `v·2^exponent`, exact but for over- and underflow.
pub(super) fn power_of_two(v: f64, exponent: i32) -> f64 {
    libm::scalbn(v, exponent)
}

/// An upper bound on the Frobenius norm, for entries at most 1.
pub(super) fn frobenius(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|v| v * v).sum();
    let m = values.len() as f64;
    // Rounded products and sums lose at most a share γ, and η for each that underflows.
    let lost = 1.0 + up(m * f64::EPSILON);
    up(up(up(sum + up(m * ETA)) * up(lost)).sqrt())
}

/// At least the exact result of one operation on numbers ≥ 0 that gave `v`.
pub(super) fn up(v: f64) -> f64 {
    v * (1.0 + f64::EPSILON) + ETA
}
