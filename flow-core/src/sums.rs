//! Sums that the compiler turns into vector instructions.

use crate::Scalar;

/// `Σ aᵢ bᵢ` in eight lanes: the compiler may not reorder a plain sum.
pub(crate) fn dot<E: Scalar>(a: &[E], b: &[E]) -> E {
    const LANES: usize = 8;
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest = rest.fold(E::zero(), |sum, (&a, &b)| sum + a * b);
    if a.len() == 0 {
        return rest;
    }
    let mut lanes = [E::zero(); LANES];
    for (a, b) in a.zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.into_iter().fold(rest, |sum, lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dot_product_is_a_plain_sum() {
        for len in [0, 1, 7, 8, 9, 16, 27] {
            let a: Vec<f64> = (0..len).map(f64::from).collect();
            let want: f64 = a.iter().map(|v| v * (v + 1.0)).sum();
            let b: Vec<f64> = a.iter().map(|v| v + 1.0).collect();
            assert_eq!(dot(&a, &b), want, "{len}");
        }
    }
}
