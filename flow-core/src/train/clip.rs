//! Limits on gradients.

use std::ops::Range;

use super::pieces::pieces;
use crate::engine::each;
use crate::{FlowError, Result, Scalar};

/// A limit on the gradient of each step, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// On the Euclidean norm over all trainable parameters: a longer gradient is scaled by
    /// limit/(norm + 1e-6) (Pascanu et al. 2013, "On the difficulty of training recurrent neural
    /// networks").
    Norm(f64),
    /// On the absolute value of each entry.
    Value(f64),
}

impl Clip {
    pub(super) fn check(self) -> Result<()> {
        let (Self::Norm(limit) | Self::Value(limit)) = self;
        if limit > 0.0 {
            return Ok(());
        }
        Err(FlowError::option("the limit on gradients", limit, "a number above 0"))
    }

    /// Limits a gradient of this norm.
    pub(super) fn apply<E: Scalar>(
        self,
        norm: f64,
        gradient: &mut [E],
        trainable: &[Range<usize>],
    ) {
        let parts = trainable.iter();
        match self {
            Self::Norm(limit) => {
                let scale = limit / (norm + 1e-6);
                if scale < 1.0 {
                    let scale = E::of(scale);
                    for range in parts {
                        gradient[range.clone()].iter_mut().for_each(|g| *g *= scale);
                    }
                }
            }
            Self::Value(limit) => {
                let limit = E::of(limit);
                for range in parts {
                    let part = &mut gradient[range.clone()];
                    part.iter_mut().for_each(|g| *g = g.max(-limit).min(limit));
                }
            }
        }
    }
}

/// The Euclidean norm of the trainable part of a gradient.
pub(super) fn norm<E: Scalar>(gradient: &[E], trainable: &[Range<usize>]) -> f64 {
    let parts: Vec<_> = trainable.iter().flat_map(|range| pieces(range.clone())).collect();
    each(parts, |range| squares(&gradient[range])).into_iter().sum::<f64>().sqrt()
}

/// The sum of squares. Eight sums side by side, so that it is not bound by the latency of one.
fn squares<E: Scalar>(numbers: &[E]) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = numbers.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks.chain([rest]) {
        for (sum, g) in sums.iter_mut().zip(chunk) {
            *sum += g.as_f64() * g.as_f64();
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trainable_entries_count_and_are_clipped() {
        let gradient: Vec<f64> = (0..23).map(|i| f64::from(i) - 11.0).collect();
        let trainable = [1..12, 14..23];
        let expected =
            trainable.iter().flat_map(|r| &gradient[r.clone()]).map(|g| g * g).sum::<f64>().sqrt();
        let norm = norm(&gradient, &trainable);
        assert!((norm - expected).abs() < 1e-12);

        let mut clipped = gradient.clone();
        Clip::Norm(0.8 * norm).apply(norm, &mut clipped, &trainable);
        assert!((super::norm(&clipped, &trainable) - 0.8 * norm).abs() < 2e-6);
        assert_eq!(
            (clipped[0], clipped[12], clipped[13]),
            (gradient[0], gradient[12], gradient[13])
        );
        let mut same = gradient.clone();
        Clip::Norm(norm + 1.0).apply(norm, &mut same, &trainable);
        assert_eq!(same, gradient);

        let mut clipped = gradient.clone();
        Clip::Value(3.0).apply(norm, &mut clipped, &trainable);
        assert_eq!((clipped[0], clipped[1], clipped[11], clipped[22]), (-11.0, -3.0, 0.0, 3.0));
        assert_eq!(clipped[13], 2.0);
    }

    #[test]
    fn a_limit_must_be_positive() {
        for limit in [0.0, -1.0, f64::NAN] {
            assert!(Clip::Norm(limit).check().is_err());
            assert!(Clip::Value(limit).check().is_err());
        }
    }
}
