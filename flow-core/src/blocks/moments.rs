//! The mean and spread of a first batch.

use crate::{FlowError, Result, Scalar};

/// One feature's mean and standard deviation over a batch.
pub(super) struct Moments {
    pub(super) mean: f64,
    /// 1 for a feature that is constant up to rounding, so that dividing by it is safe.
    pub(super) std: f64,
}

/// Each feature's moments over all vectors of a batch.
///
/// # Errors
/// Where the batch holds NaN or an infinity: weights set from it would never recover.
pub(super) fn moments<E: Scalar>(
    block: &'static str,
    path: &str,
    x: &[E],
    features: usize,
) -> Result<Vec<Moments>> {
    if let Some(at) = x.iter().position(|v| !v.is_finite()) {
        let reason = format!(
            "feature {} of its first batch holds {}, expected finite numbers\nhelp: start the \
             blocks before it nearer to the identity, or scale the data",
            at % features,
            x[at].as_f64()
        );
        return Err(FlowError::Block { block, path: path.into(), reason });
    }
    Ok((0..features).map(|i| feature_moments(x, i, features)).collect())
}

/// In f64 and in units near the largest entry, so that no square overflows.
fn feature_moments<E: Scalar>(x: &[E], feature: usize, features: usize) -> Moments {
    let values = || x.iter().skip(feature).step_by(features).map(|v| v.as_f64());
    let largest = values().fold(0.0, |most: f64, v| most.max(v.abs()));
    if largest == 0.0 {
        return Moments { mean: 0.0, std: 1.0 };
    }
    // A power of two, so that dividing by it rounds nothing.
    let unit = largest.log2().floor().exp2();
    let count = (x.len() / features) as f64;
    let mean = values().map(|v| v / unit).sum::<f64>() / count;
    let variance = values().map(|v| (v / unit - mean).powi(2)).sum::<f64>() / count;
    let std = variance.sqrt() * unit;
    // Below the first, the spread is rounding of the mean; below the second, its inverse would
    // come near the largest number of the type.
    let constant = std <= 4.0 * E::epsilon().as_f64() * largest
        || std <= E::min_positive_value().as_f64().sqrt();
    Moments { mean: mean * unit, std: if constant { 1.0 } else { std } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> (f64, f64) {
        let moments = &moments("actnorm", "0", values, 1).unwrap()[0];
        (moments.mean, moments.std)
    }

    #[test]
    fn moments_are_those_of_the_batch() {
        assert_eq!(of(&[1.0, 3.0]), (2.0, 1.0));
        let (mean, std) = of(&[-1e300, 1e300]);
        assert_eq!((mean, std), (0.0, 1e300));
    }

    #[test]
    fn a_spread_within_rounding_counts_as_none() {
        assert_eq!(of(&[7.0; 3]), (7.0, 1.0));
        assert_eq!(of(&[0.0; 3]), (0.0, 1.0));
        assert_eq!(of(&[1e6, 1e6 * (1.0 + f64::EPSILON)]).1, 1.0);
        assert_eq!(of(&[1e-200, -1e-200]).1, 1.0);
        assert!(of(&[1e6, 1e6 + 1e-3]).1 < 1e-3);
    }

    #[test]
    fn features_do_not_mix() {
        let both = moments("actnorm", "0", &[1.0_f32, 10.0, 3.0, 30.0], 2).unwrap();
        assert_eq!((both[0].mean, both[1].mean), (2.0, 20.0));
    }
}
