//! Fingerprints of a block's input: enough to tell whether an inverse brought it back.

use crate::sums::dot;
use crate::{Noise, Scalar};

/// Inputs of up to so many numbers are kept whole.
pub(crate) const WHOLE: usize = 8;

/// Projections of a longer input.
const PROJECTIONS: usize = 4;

/// Numbers a sample of `size` numbers leaves.
pub(super) fn width(size: usize) -> usize {
    if size <= WHOLE {
        size
    } else {
        1 + PROJECTIONS
    }
}

/// Directions of projections: independent standard normals, as long as the longest input.
pub(super) fn fill_directions<E: Scalar>(noise: &Noise, directions: &mut [E]) {
    noise.fill_normal(0, directions);
}

/// Numbers of the directions for samples of `size` numbers.
pub(super) fn directions(size: usize) -> usize {
    PROJECTIONS * size
}

/// A block's own directions are the pass's with signs of its own, which leaves them normal: drawing
/// all anew would cost more than many a block.
pub(super) fn fill_signs<E: Scalar>(noise: &Noise, signs: &mut [E]) {
    for (i, signs) in signs.chunks_mut(128).enumerate() {
        let words = noise.words(i as u64);
        for (j, sign) in signs.iter_mut().enumerate() {
            let up = words[j / 32] >> (j % 32) & 1 == 1;
            *sign = if up { E::one() } else { -E::one() };
        }
    }
}

/// Writes the fingerprints of samples of `size` numbers: the norm, then the projections. `signed`
/// has room for a sample.
pub(super) fn project<E: Scalar>(
    x: &[E],
    directions: &[E],
    signs: &[E],
    signed: &mut [E],
    into: &mut [E],
) {
    let size = signs.len();
    let longest = directions.len() / PROJECTIONS;
    for (x, into) in x.chunks_exact(size).zip(into.chunks_exact_mut(1 + PROJECTIONS)) {
        signed.iter_mut().zip(x).zip(signs).for_each(|((to, &x), &sign)| *to = x * sign);
        into[0] = dot(x, x).sqrt();
        for (into, direction) in into[1..].iter_mut().zip(directions.chunks_exact(longest)) {
            *into = dot(signed, &direction[..size]);
        }
    }
}

/// How far samples are from what their fingerprints say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worst {
    /// The sample with the largest error.
    pub(super) row: usize,
    /// Its error, relative to the larger of its own norm and the median of all.
    pub(super) error: f64,
    /// Samples whose error is above the threshold.
    pub(super) rows: usize,
}

/// Compares the fingerprints of samples of `size` numbers: what was kept, and what came back.
/// `norms` has room for a number of each sample.
pub(super) fn compare<E: Scalar>(
    kept: &[E],
    found: &[E],
    size: usize,
    threshold: f64,
    norms: &mut [E],
) -> Worst {
    let width = width(size);
    let samples = || kept.chunks_exact(width).zip(found.chunks_exact(width));
    let norm = |kept: &[E]| if size <= WHOLE { length(kept.iter().copied()) } else { kept[0] };
    norms.iter_mut().zip(samples()).for_each(|(to, (kept, _))| *to = norm(kept));
    let middle = norms.len() / 2;
    let (_, &mut median, _) =
        norms.select_nth_unstable_by(middle, |a, b| a.as_f64().total_cmp(&b.as_f64()));
    let mut worst = Worst { row: 0, error: 0.0, rows: 0 };
    for (row, (kept, found)) in samples().enumerate() {
        let scale = norm(kept).max(median).as_f64().max(f64::MIN_POSITIVE);
        let off = if size <= WHOLE {
            length(kept.iter().zip(found).map(|(&a, &b)| a - b)).as_f64()
        } else {
            let off = length(kept[1..].iter().zip(&found[1..]).map(|(&a, &b)| a - b)).as_f64();
            off / (PROJECTIONS as f64).sqrt()
        };
        // Where the norm overflows, nothing is known either.
        let error = if off.is_finite() && scale.is_finite() { off / scale } else { f64::INFINITY };
        worst.rows += usize::from(error > threshold);
        if error > worst.error {
            (worst.row, worst.error) = (row, error);
        }
    }
    worst
}

fn length<E: Scalar>(numbers: impl Iterator<Item = E>) -> E {
    numbers.fold(E::zero(), |sum, v| sum + v * v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprints(noise: &Noise, x: &[f64], size: usize) -> Vec<f64> {
        if size <= WHOLE {
            return x.to_vec();
        }
        let (mut normals, mut signs) = (vec![0.0; directions(size)], vec![0.0; size]);
        fill_directions(&noise.named("directions"), &mut normals);
        fill_signs(&noise.named("signs"), &mut signs);
        let mut out = vec![0.0; x.len() / size * width(size)];
        project(x, &normals, &signs, &mut vec![0.0; size], &mut out);
        out
    }

    fn error(noise: &Noise, x: &[f64], back: &[f64], size: usize) -> Worst {
        let kept = fingerprints(noise, x, size);
        let found = fingerprints(noise, back, size);
        compare(&kept, &found, size, 1e-3, &mut vec![0.0; x.len() / size])
    }

    #[test]
    fn short_inputs_are_compared_exactly() {
        let x = [3.0, 4.0, 0.0, 0.1, 6.0, 8.0];
        let mut back = x;
        back[2] += 0.01;
        back[5] -= 0.05;
        let worst = error(&Noise::seed(1), &x, &back, 2);
        // The second sample's error counts against the median norm, 5.
        assert_eq!(worst.row, 2);
        assert!((worst.error - 0.005).abs() < 1e-12 && worst.rows == 2, "{worst:?}");
        assert_eq!(error(&Noise::seed(1), &x, &x, 2), Worst { row: 0, error: 0.0, rows: 0 });
    }

    #[test]
    fn numbers_that_are_not_finite_are_the_worst() {
        for size in [3, 20] {
            let x = vec![1.0; 2 * size];
            for bad in [f64::NAN, f64::INFINITY, 1e300] {
                let mut back = x.clone();
                back[size + 1] = bad;
                let worst = error(&Noise::seed(1), &x, &back, size);
                assert_eq!((worst.row, worst.error, worst.rows), (1, f64::INFINITY, 1), "{bad}");
            }
        }
    }

    /// `1 − e^(−2/k²)·(1 + 2/k²)`, the χ² distribution of four degrees of freedom at 4/k².
    fn missed(k: f64) -> f64 {
        let half = 2.0 / (k * k);
        1.0 - (-half).exp() * (1.0 + half)
    }

    /// Errors of k times the threshold in directions that are easy to miss with signs instead of
    /// normals: one number, two equal ones, all equal, and a normal one.
    #[test]
    fn errors_are_missed_as_often_as_stated() {
        let (size, trials) = (30, 8000);
        for (i, k) in [0.5, 1.0, 2.0, 3.0].into_iter().enumerate() {
            for direction in 0..4 {
                let mut count = 0.0;
                for trial in 0..trials {
                    let noise = Noise::seed(trial).at(i as u64).at(direction);
                    let mut x = vec![0.0; size];
                    noise.named("x").fill_normal(0, &mut x);
                    let mut off = vec![0.0; size];
                    match direction {
                        0 => off[7] = 1.0,
                        1 => (off[3], off[4]) = (1.0, 1.0),
                        2 => off.fill(1.0),
                        _ => noise.named("off").fill_normal(0, &mut off),
                    }
                    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let by = k * 1e-3 * norm(&x) / norm(&off);
                    let back: Vec<f64> = x.iter().zip(&off).map(|(x, off)| x + by * off).collect();
                    count += f64::from(u8::from(error(&noise, &x, &back, size).rows == 0));
                }
                let (share, expected) = (count / trials as f64, missed(k));
                let spread = (expected * (1.0 - expected) / trials as f64).sqrt();
                assert!(
                    (share - expected).abs() < 4.5 * spread,
                    "{k} times the threshold, direction {direction}: {share}, expected {expected}"
                );
            }
        }
        for (k, stated) in [(1.0, 0.59), (2.0, 0.090), (3.0, 0.021), (10.0, 2.0e-4), (100.0, 2e-8)]
        {
            assert!((missed(k) / stated - 1.0).abs() < 0.03, "{k}: {}", missed(k));
            assert!(missed(k) <= 2.0 / k.powi(4));
        }
    }

    /// One projection's square has the variance 2: a mean of four is within 4.5 deviations.
    #[test]
    fn blocks_have_directions_of_their_own() {
        let (size, blocks) = (40, 4000);
        let mut x = vec![0.0; size];
        (x[1], x[2]) = (0.6, 0.8);
        let mut normals = vec![0.0; directions(size)];
        fill_directions(&Noise::seed(2), &mut normals);
        let mut sums = [0.0; PROJECTIONS];
        for block in 0..blocks {
            let mut signs = vec![0.0; size];
            fill_signs(&Noise::seed(3).at(block), &mut signs);
            let mut out: Vec<f64> = vec![0.0; 1 + PROJECTIONS];
            project(&x, &normals, &signs, &mut vec![0.0; size], &mut out);
            assert!((out[0] - 1.0).abs() < 1e-15);
            sums.iter_mut().zip(&out[1..]).for_each(|(sum, p)| *sum += p * p / blocks as f64);
        }
        // Over the signs of two entries the square's mean is that of their squares, any normals.
        for (sum, direction) in sums.iter().zip(normals.chunks_exact(size)) {
            let (a, b) = (0.6 * direction[1], 0.8 * direction[2]);
            let spread = 2.0 * (a * b).abs() / (blocks as f64).sqrt();
            assert!((sum - (a * a + b * b)).abs() < 4.5 * spread, "{sum} {a} {b}");
        }
    }
}
