//! Certified bounds on the norm of a convolution with zero padding.
//!
//! The same taps on a torus of sides at least `height + reach` and `width + reach`, where a tap is
//! at most `reach` pixels away, are a map of which the padded one is a compression: between two
//! pixels of the image no tap goes around the torus. So the norm there is a bound, and it is the
//! greatest norm of the matrices `M(θ) = Σ Wₜ·e^(iθ·t)` at the torus's frequencies. The torus of
//! the image itself has a smaller norm, which is none. (Sedghi, Gupta and Long 2019, "The singular
//! values of convolutional layers"; Delattre et al. 2023, "Efficient bound of Lipschitz constant for
//! convolutional layers by Gram iteration".) Taps that never meet the image are left out.
//!
//! Rounding: with T taps an entry of M(θ) is off by at most `γₜ + 16u` times `Σₜ|w|`, 16u for a
//! twiddle factor: its angle within ±π comes from three roundings, cosine and sine are off by less
//! than one unit in the last place. The matrix of those sums has a Frobenius norm of at most √T
//! times that of the weight.

use rayon::prelude::*;

use super::hermitian::{Complex, Iteration};
use super::norm::Map;
use super::rounding::{frobenius, gamma, normalize, power_of_two, up, ETA, UNIT};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::Scalar;

/// An upper bound on the norm of the convolution, and the derivative of its logarithm by each entry
/// of its weight. At a weight with two greatest frequencies, which is a kink, that of one.
pub(super) fn norm_and_direction<E: Scalar>(weights: &[E], map: Map) -> (f64, Vec<f64>) {
    let mut direction = vec![0.0; weights.len()];
    if weights.iter().any(|v| !v.is_finite()) {
        return (f64::INFINITY, direction);
    }
    let torus = Torus::new(map);
    let mut taps = torus.taps(weights);
    let Some(exponent) = normalize(&mut taps) else { return (0.0, direction) };

    let symbols = Symbols::new(&torus, &taps);
    let order = symbols.greatest_first();
    let first = search(&torus, &symbols, order.iter().take(1), (0.0, 0));
    let groups = (0..GROUPS).into_par_iter();
    let groups: Vec<(f64, usize)> = groups
        .map(|group| search(&torus, &symbols, order.iter().skip(1 + group).step_by(GROUPS), first))
        .collect();
    let most = groups.into_iter().fold(first, |a, b| if b.0 > a.0 { b } else { a });

    let mut numbers = vec![0.0; 2 * torus.tall * torus.side];
    symbols.write(most.1, &mut numbers);
    let along = Iteration::new(torus.tall, torus.side).derivative(torus.matrix(&numbers));
    torus.derivative(&along, symbols.twiddles(most.1), &mut direction);
    let scale: f64 = direction.iter().zip(weights).map(|(by, w)| by * w.as_f64()).sum();
    direction.iter_mut().for_each(|by| *by /= scale);
    // The scaling of the weight: entries that vanished, and a bound among the subnormal numbers.
    let vanished = up(torus.offsets.len() as f64 * up((numbers.len() as f64).sqrt()) * ETA);
    (up(power_of_two(up(most.0 + vanished), exponent)), direction)
}

/// The frequencies are searched in that many groups side by side, whatever the number of threads,
/// so that the result is the same on any machine.
const GROUPS: usize = 8;

/// The greatest bound above that of `most`, with its frequency. Where a bound on the way of a
/// frequency is no greater than one that was found, the rest of the way is left out.
fn search<'a>(
    torus: &Torus,
    symbols: &Symbols<'_>,
    frequencies: impl Iterator<Item = &'a usize>,
    mut most: (f64, usize),
) -> (f64, usize) {
    let mut iteration = Iteration::new(torus.tall, torus.side);
    let mut numbers = vec![0.0; 2 * torus.tall * torus.side];
    for &frequency in frequencies {
        let scale = symbols.write(frequency, &mut numbers);
        let whole = |bound: f64| symbols.whole(bound, scale);
        let found = iteration.bound(torus.matrix(&numbers), |bound| whole(bound) <= most.0);
        if let Some(bound) = found {
            most = (whole(bound), frequency);
        }
    }
    most
}

/// The torus, and the taps on it.
struct Torus {
    map: Map,
    height: usize,
    width: usize,
    /// The taps that meet the image: how far away, and which of the kernel's.
    offsets: Vec<(i64, i64, usize)>,
    /// Rows and columns of M(θ), or of its transpose where that is taller.
    tall: usize,
    side: usize,
}

impl Torus {
    fn new(map: Map) -> Self {
        let window = map.window;
        let reach = window.kernel as i64 / 2;
        let (down, across) =
            (reach.min(window.height as i64 - 1), reach.min(window.width as i64 - 1));
        let offset = |tap: usize| {
            let (dy, dx) = ((tap / window.kernel) as i64, (tap % window.kernel) as i64);
            (dy - reach, dx - reach, tap)
        };
        let meets = |&(dy, dx, _): &(i64, i64, usize)| dy.abs() <= down && dx.abs() <= across;
        Self {
            map,
            height: window.height + 2 * down as usize,
            width: window.width + 2 * across as usize,
            offsets: (0..window.taps()).map(offset).filter(meets).collect(),
            tall: map.outputs.max(map.inputs),
            side: map.outputs.min(map.inputs),
        }
    }

    /// M(θ), or its transpose, from its parts.
    fn matrix<'a>(&self, numbers: &'a [f64]) -> Complex<'a> {
        Complex { numbers, tall: self.tall, side: self.side }
    }

    /// Where an entry of a tap's matrix, `tall × side`, stands in the weight.
    fn place(&self, tap: usize, entry: usize) -> usize {
        let (row, column) = (entry / self.side, entry % self.side);
        let (output, input) =
            if self.map.outputs >= self.map.inputs { (row, column) } else { (column, row) };
        (output * self.map.window.taps() + tap) * self.map.inputs + input
    }

    /// The matrices of the taps, one after the other.
    fn taps<E: Scalar>(&self, weights: &[E]) -> Vec<f64> {
        let entries = 0..self.tall * self.side;
        let each = self.offsets.iter().flat_map(|&(_, _, tap)| {
            entries.clone().map(move |entry| weights[self.place(tap, entry)].as_f64())
        });
        each.collect()
    }

    /// `Re(conj(P)·e^(iθ·t))` for each tap, from P and the twiddle factors of θ.
    fn derivative(&self, along: &[f64], twiddles: &[f64], direction: &mut [f64]) {
        let (real, imaginary) = along.split_at(self.tall * self.side);
        let (cosines, sines) = twiddles.split_at(self.offsets.len());
        for (k, &(_, _, tap)) in self.offsets.iter().enumerate() {
            for (entry, (p, q)) in real.iter().zip(imaginary).enumerate() {
                direction[self.place(tap, entry)] = cosines[k] * p + sines[k] * q;
            }
        }
    }

    /// One of each pair of opposite frequencies, at which M is conjugate.
    fn frequencies(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (height, width) = (self.height, self.width);
        let all = (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)));
        all.filter(move |&(y, x)| (y, x) <= ((height - y) % height, (width - x) % width))
    }

    /// For each frequency the cosine of each tap, then the sines.
    fn twiddles(&self) -> Vec<f64> {
        let mut twiddles = Vec::new();
        let around = (self.height * self.width) as i64;
        for (y, x) in self.frequencies() {
            let angle = |&(dy, dx, _): &(i64, i64, usize)| {
                let turns = y as i64 * dy * self.width as i64 + x as i64 * dx * self.height as i64;
                let turns = turns.rem_euclid(around);
                // In (−π, π], where the rounding of the angle costs least.
                let turns = if 2 * turns > around { turns - around } else { turns };
                2.0 * std::f64::consts::PI * (turns as f64 / around as f64)
            };
            let angles: Vec<f64> = self.offsets.iter().map(angle).collect();
            twiddles.extend(angles.iter().map(|&angle| libm::cos(angle)));
            twiddles.extend(angles.iter().map(|&angle| libm::sin(angle)));
        }
        twiddles
    }
}

/// M(θ) for each frequency, from taps whose largest entry is below 1.
struct Symbols<'a> {
    taps: &'a [f64],
    count: usize,
    /// See [`Torus::twiddles`].
    twiddles: Vec<f64>,
    /// Bounds what rounding and underflow add to the norm of an M(θ).
    slack: f64,
}

impl<'a> Symbols<'a> {
    fn new(torus: &Torus, taps: &'a [f64]) -> Self {
        let count = torus.offsets.len();
        let sums = up(up((count as f64).sqrt()) * frobenius(taps));
        let share = up(gamma(count + 1) + 16.0 * UNIT);
        let entries = (2 * torus.tall * torus.side) as f64;
        let underflow = up(count as f64 * up(entries.sqrt()) * ETA);
        Self { taps, count, twiddles: torus.twiddles(), slack: up(up(share * sums) + underflow) }
    }

    fn twiddles(&self, frequency: usize) -> &[f64] {
        &self.twiddles[2 * self.count * frequency..][..2 * self.count]
    }

    /// The frequencies by their Frobenius norm, which comes cheaply from the products of the taps:
    /// where a great one comes early, the others can stop early.
    fn greatest_first(&self) -> Vec<usize> {
        let count = self.count;
        let mut products = vec![0.0; count * count];
        let taps = Matrix::new(self.taps, count, self.taps.len() / count);
        multiply(&mut products, Into::Replace, taps, taps.t());
        let square = |of: &[f64]| -> f64 {
            let rows = products.chunks_exact(count).zip(of);
            rows.map(|(row, v)| v * row.iter().zip(of).map(|(p, w)| p * w).sum::<f64>()).sum()
        };
        let norm = |twiddles: &[f64]| {
            let (cosines, sines) = twiddles.split_at(count);
            square(cosines) + square(sines)
        };
        let norms: Vec<f64> = self.twiddles.chunks_exact(2 * count).map(norm).collect();
        let mut order: Vec<usize> = (0..norms.len()).collect();
        order.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]));
        order
    }

    /// Writes M(θ), scaled so that its largest entry is below 1, and returns the exponent that leads
    /// back.
    fn write(&self, frequency: usize, numbers: &mut [f64]) -> i32 {
        let size = self.taps.len() / self.count;
        let twiddles = Matrix::new(self.twiddles(frequency), 2, self.count);
        multiply(numbers, Into::Replace, twiddles, Matrix::new(self.taps, self.count, size));
        normalize(numbers).unwrap_or(0)
    }

    /// From a bound on the norm of what was written to one on that of M(θ).
    fn whole(&self, bound: f64, exponent: i32) -> f64 {
        let size = (2 * self.taps.len() / self.count) as f64;
        let vanished = up(up(size.sqrt()) * ETA);
        up(up(power_of_two(up(bound + vanished), exponent)) + self.slack)
    }
}

/// What a GPU is told of a convolution with these numbers.
#[cfg(feature = "cuda")]
pub(super) fn lowered(map: Map, numbers: flow_cuda::Slot) -> flow_cuda::kernels::torus::Taps {
    let torus = Torus::new(map);
    flow_cuda::kernels::torus::Taps {
        numbers,
        outputs: map.outputs,
        inputs: map.inputs,
        taps: map.window.taps(),
        met: torus.offsets.iter().map(|&(_, _, tap)| tap).collect(),
        twiddles: torus.twiddles(),
        squarings: super::rounding::squarings(torus.side) as usize,
    }
}

#[cfg(test)]
#[path = "convolution_tests.rs"]
mod tests;
