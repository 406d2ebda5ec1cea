//! Sums, products and functions of one number on whole buffers. Matrices are row-major.

use crate::Scalar;

/// Adds to all numbers of a row that of `bias` for it.
pub(crate) fn add_to_rows<E: Scalar>(values: &mut [E], bias: &[E]) {
    let columns = values.len().checked_div(bias.len()).unwrap_or(0).max(1);
    for (row, &b) in values.chunks_exact_mut(columns).zip(bias) {
        row.iter_mut().for_each(|v| *v += b);
    }
}

/// Writes the transpose of a matrix of `from.len() / columns` rows.
pub(crate) fn transpose<E: Scalar>(from: &[E], columns: usize, into: &mut [E]) {
    let rows = from.len().checked_div(columns).unwrap_or(0);
    for (i, row) in from.chunks_exact(columns.max(1)).enumerate() {
        row.iter().zip(into[i..].iter_mut().step_by(rows)).for_each(|(&v, to)| *to = v);
    }
}

/// `v = v · factor`, number by number.
pub(crate) fn multiply_by<E: Scalar>(values: &mut [E], factors: &[E]) {
    for (v, &factor) in values.iter_mut().zip(factors) {
        *v *= factor;
    }
}

/// `v = v · factor` for each of the vectors of `width` numbers in `values`, of which as many belong
/// to each vector of `factors`.
pub(crate) fn multiply_each<E: Scalar>(values: &mut [E], factors: &[E], width: usize) {
    let vectors = factors.len() / width;
    let each = values.len() / vectors;
    for (values, factors) in values.chunks_exact_mut(each).zip(factors.chunks_exact(width)) {
        values.chunks_exact_mut(width).for_each(|values| multiply_by(values, factors));
    }
}

/// `into = v · factor`, as [`multiply_each`] pairs values and factors.
pub(crate) fn products<E: Scalar>(into: &mut [E], values: &[E], factors: &[E], width: usize) {
    let each = values.len() / (factors.len() / width);
    let values = into.chunks_exact_mut(each).zip(values.chunks_exact(each));
    for ((into, values), factors) in values.zip(factors.chunks_exact(width)) {
        for (into, values) in into.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            into.iter_mut().zip(values).zip(factors).for_each(|((to, &v), &by)| *to = v * by);
        }
    }
}

/// Carries gradients back through an activation, on vectors of `width` numbers: `values` by its value
/// to that by what it read, and `tangents`, as many for each vector, by what it made of the tangents
/// `raw` to that by those. A tangent's part `t·φ'(a)·ȧ` has the gradient `t·φ''(a)·ȧ` by a.
pub(crate) fn unbend<E: Scalar>(
    values: &mut [E],
    tangents: &mut [E],
    raw: &[E],
    slopes: &[E],
    curvatures: &[E],
    width: usize,
) {
    let each = width * (tangents.len() / values.len());
    let points = slopes.chunks_exact(width).zip(curvatures.chunks_exact(width));
    let tangents = tangents.chunks_exact_mut(each).zip(raw.chunks_exact(each));
    for ((value, tangents), (slopes, curvatures)) in
        values.chunks_exact_mut(width).zip(tangents).zip(points)
    {
        multiply_by(value, slopes);
        let (tangents, raw) = tangents;
        for (tangent, raw) in tangents.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
            let points = slopes.iter().zip(curvatures);
            for (((value, t), &raw), (&slope, &curvature)) in
                value.iter_mut().zip(tangent).zip(raw).zip(points)
            {
                *value += *t * raw * curvature;
                *t *= slope;
            }
        }
    }
}

/// Adds `from` to `into`, number by number.
pub(crate) fn add<E: Scalar>(into: &mut [E], from: &[E]) {
    for (a, &b) in into.iter_mut().zip(from) {
        *a += b;
    }
}

/// Adds every row of `from` to `into`.
pub(crate) fn add_rows<E: Scalar>(into: &mut [E], from: &[E]) {
    for row in from.chunks_exact(into.len()) {
        add(into, row);
    }
}

/// [`multiply_by`], and adds every row of the products to `into`.
pub(crate) fn multiply_and_add_rows<E: Scalar>(into: &mut [E], values: &mut [E], factors: &[E]) {
    let rows = values.chunks_exact_mut(into.len()).zip(factors.chunks_exact(into.len()));
    for (row, factors) in rows {
        for ((sum, v), &factor) in into.iter_mut().zip(row).zip(factors) {
            *v *= factor;
            *sum += *v;
        }
    }
}

/// `v`, or `v · below` where that is negative, and its slope. NaN stays NaN.
#[inline]
pub(crate) fn leaky_relu<E: Scalar>(v: E, below: E) -> (E, E) {
    if v <= E::zero() {
        (v * below, below)
    } else {
        (v, E::one())
    }
}

/// `v`, or `e^v - 1` where that is negative, and its slope.
#[inline]
pub(crate) fn elu<E: Scalar>(v: E) -> (E, E) {
    if v <= E::zero() {
        let value = v.exp_m1();
        // Near -1 the sum would lose the slope's digits.
        (value, if value > E::of(-0.5) { value + E::one() } else { v.exp() })
    } else {
        (v, E::one())
    }
}

/// The hyperbolic tangent and its slope.
#[inline]
pub(crate) fn tanh<E: Scalar>(v: E) -> (E, E) {
    let value = v.tanh();
    if value.abs() < E::of(0.5) {
        return (value, E::one() - value * value);
    }
    // Near 1 the difference would lose the slope's digits.
    let small = (E::of(-2.0) * v.abs()).exp();
    let whole = E::one() + small;
    (value, E::of(4.0) * small / (whole * whole))
}

/// The logistic function `1/(1 + e^-v)`: an overflowing exponential gives the limit 0.
#[inline]
pub(crate) fn sigmoid<E: Scalar>(v: E) -> E {
    E::one() / (E::one() + (-v).exp())
}

/// `v·σ(v)` and its slope.
#[inline]
pub(crate) fn swish<E: Scalar>(v: E) -> (E, E) {
    let gate = sigmoid(v);
    let value = v * gate;
    (value, gate + value * (E::one() - gate))
}

/// `v·Φ(v)` with the normal distribution function Φ, and its slope `Φ(v) + v·φ(v)`. The
/// complementary error function keeps its relative accuracy in the left tail.
#[inline]
pub(crate) fn gelu<E: Scalar>(v: E) -> (E, E) {
    let share = E::of(0.5 * libm::erfc(-v.as_f64() * std::f64::consts::FRAC_1_SQRT_2));
    let density = E::of(0.398_942_280_401_432_7) * (-E::of(0.5) * v * v).exp();
    (v * share, share + v * density)
}

/// `ln(1 + e^v)` and its slope, without overflow.
#[inline]
pub(crate) fn softplus<E: Scalar>(v: E) -> (E, E) {
    let small = (-v.abs()).exp();
    let above = if v <= E::zero() { E::zero() } else { v };
    (above + small.ln_1p(), sigmoid(v))
}

/// Turns each number into `e^v / Σ e^v`, relative to the largest so that nothing overflows.
#[inline]
pub(crate) fn softmax<E: Scalar>(values: &mut [E]) {
    let most = values.iter().copied().fold(E::neg_infinity(), E::max);
    let mut sum = E::zero();
    for v in values.iter_mut() {
        *v = (*v - most).exp();
        sum += *v;
    }
    let share = E::one() / sum;
    values.iter_mut().for_each(|v| *v *= share);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_up() {
        let mut sums = [1.0, 1.0];
        add_rows(&mut sums, &[11.0, 22.0, 13.0, 24.0]);
        assert_eq!(sums, [25.0, 47.0]);
        let mut values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        add_to_rows(&mut values, &[10.0, -10.0]);
        assert_eq!(values, [11.0, 12.0, 13.0, -6.0, -5.0, -4.0]);
        multiply_by(&mut values, &[0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        assert_eq!(values, [0.0, 12.0, 26.0, 0.0, -5.0, -8.0]);
        multiply_and_add_rows(&mut sums, &mut values, &[1.0, 0.5, 1.0, 2.0, -1.0, 0.25]);
        assert_eq!(values, [0.0, 6.0, 26.0, 0.0, 5.0, -2.0]);
        assert_eq!(sums, [56.0, 51.0]);
        add_to_rows(&mut [0.0; 0], &[0.0; 0]);
    }

    #[test]
    fn slopes_keep_their_digits_where_they_are_small() {
        for v in [-40.0_f64, -15.0, -0.6, 0.3, 15.0, 300.0] {
            let (got, want) = (tanh(v).1, v.cosh().powi(-2));
            assert!((got / want - 1.0).abs() < 1e-14, "tanh at {v}: {got:e}, not {want:e}");
            let (got, want) = (elu(-v.abs()).1, (-v.abs()).exp());
            assert!((got / want - 1.0).abs() < 1e-14, "elu at {v}: {got:e}, not {want:e}");
        }
        assert!(tanh(f64::NAN).1.is_nan() && elu(f64::NAN).0.is_nan());
    }

    #[test]
    fn a_transpose_of_any_size() {
        let mut into = [0.0; 6];
        transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut into);
        assert_eq!(into, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        transpose(&[0.0; 0], 0, &mut [0.0; 0]);
        transpose(&[0.0; 0], 3, &mut [0.0; 0]);
    }

    #[test]
    fn a_softmax_survives_large_numbers() {
        let mut values = [1e30_f32, 1e30, -1e30];
        softmax(&mut values);
        assert_eq!(values, [0.5, 0.5, 0.0]);
        let mut values = [700.0, 701.0];
        softmax(&mut values);
        let want = 1.0 / (1.0 + 1f64.exp());
        assert!((values[0] - want).abs() < 1e-15);
    }
}
