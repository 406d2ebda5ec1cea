use std::f64::consts::PI;

use flow_cuda::kernels::norms::{Limit, Measured, Normed, Norms, Part};
use flow_cuda::kernels::rows::scaled_copy;
use flow_cuda::kernels::torus::Taps;
use flow_cuda::Slot;

use super::norms::{check_layers, layer, limited_of, Kind, Scaled};
use super::{dot, numbers, slopes, times, wide, Trial};

/// A convolution of an image with zeros around it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    outputs: usize,
    inputs: usize,
    kernel: usize,
    height: usize,
    width: usize,
}

impl Shape {
    const fn new(
        [outputs, inputs]: [usize; 2],
        kernel: usize,
        [height, width]: [usize; 2],
    ) -> Self {
        Self { outputs, inputs, kernel, height, width }
    }

    fn len(self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }

    /// How far away each tap is that meets the image, and which it is.
    fn offsets(self) -> Vec<(i64, i64, usize)> {
        let (kernel, reach) = (self.kernel as i64, self.kernel as i64 / 2);
        let all = (0..kernel * kernel).map(|tap| (tap / kernel - reach, tap % kernel - reach, tap));
        let meets = |&(dy, dx, _): &(i64, i64, i64)| {
            dy.abs() < self.height as i64 && dx.abs() < self.width as i64
        };
        all.filter(meets).map(|(dy, dx, tap)| (dy, dx, tap as usize)).collect()
    }

    /// The angle of each tap that meets the image, at one of each pair of opposite frequencies.
    fn angles(self) -> Vec<Vec<f64>> {
        let reach = self.kernel / 2;
        let sides = [self.height, self.width].map(|side| side + 2 * reach.min(side - 1));
        let all = (0..sides[0]).flat_map(|y| (0..sides[1]).map(move |x| [y, x]));
        let turns = |at: usize, by: i64, of: usize| at as f64 * by as f64 / of as f64;
        let angle = |[y, x]: [usize; 2]| {
            let each = self.offsets().into_iter();
            each.map(move |(dy, dx, _)| {
                2.0 * PI * (turns(y, dy, sides[0]) + turns(x, dx, sides[1]))
            })
        };
        let [height, width] = sides;
        let half = all.filter(|&[y, x]| [y, x] <= [(height - y) % height, (width - x) % width]);
        half.map(|frequency| angle(frequency).collect()).collect()
    }

    /// Squarings, as flow-core chooses them: the bound is within 0.5 % of the norm.
    fn squarings(self) -> usize {
        let order = (self.outputs.min(self.inputs) as f64).ln() / 0.005;
        order.max(2.0).log2().ceil() as usize - 1
    }

    fn measured(self, numbers: Slot) -> Measured {
        let cosines_and_sines = |angles: Vec<f64>| {
            let of = |f: fn(f64) -> f64| angles.iter().map(|&v| f(v)).collect::<Vec<f64>>();
            [of(f64::cos), of(f64::sin)].concat()
        };
        Measured::Convolution(Taps {
            numbers,
            outputs: self.outputs,
            inputs: self.inputs,
            taps: self.kernel * self.kernel,
            met: self.offsets().iter().map(|&(_, _, tap)| tap).collect(),
            twiddles: self.angles().into_iter().flat_map(cosines_and_sines).collect(),
            squarings: self.squarings(),
        })
    }

    /// `tr((MᴴM)ᵖ)^(1/2p)` with p = 2ᵏ at its greatest among all frequencies.
    fn schatten(self, w: &[f64]) -> f64 {
        self.angles().iter().map(|angles| self.schatten_at(angles, w)).fold(0.0, f64::max)
    }

    /// The angles of the frequency where that is.
    fn greatest(self, w: &[f64]) -> Vec<f64> {
        let each = self.angles().into_iter().map(|angles| (self.schatten_at(&angles, w), angles));
        each.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a frequency").1
    }

    /// That at one frequency, from the real matrix of twice the sides, where each singular value of M
    /// stands twice.
    fn schatten_at(self, angles: &[f64], w: &[f64]) -> f64 {
        let Self { outputs, inputs, .. } = self;
        let mut real = vec![0.0; 4 * outputs * inputs];
        for (&(_, _, tap), angle) in self.offsets().iter().zip(angles) {
            let (sine, cosine) = angle.sin_cos();
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                let v = w[(o * self.kernel * self.kernel + tap) * inputs + i];
                let mut add = |row: usize, column: usize, v: f64| {
                    real[row * 2 * inputs + column] += v;
                };
                add(o, i, v * cosine);
                add(o, inputs + i, -v * sine);
                add(outputs + o, i, v * sine);
                add(outputs + o, inputs + i, v * cosine);
            }
        }
        self.twice(&real)
    }

    fn twice(self, real: &[f64]) -> f64 {
        let (rows, columns) = (2 * self.outputs, 2 * self.inputs);
        let turned = |m: &[f64], rows: usize, columns: usize| -> Vec<f64> {
            (0..rows * columns).map(|i| m[i % rows * columns + i / rows]).collect()
        };
        let transposed = turned(real, rows, columns);
        // Of the shorter side.
        let mut gram = if rows < columns {
            times(real, &transposed, columns)
        } else {
            times(&transposed, real, rows)
        };
        let (side, mut log) = (rows.min(columns), 0.0);
        for _ in 0..self.squarings() {
            let size = dot(&gram, &gram).sqrt();
            if size == 0.0 {
                return 0.0;
            }
            gram.iter_mut().for_each(|v| *v /= size);
            gram = times(&gram, &gram, side);
            log = 2.0 * (log + size.ln());
        }
        let trace: f64 = (0..side).map(|i| gram[i * side + i]).sum();
        let p = (1_u64 << self.squarings()) as f64;
        ((log + (trace / 2.0).ln()) / (2.0 * p)).exp()
    }

    /// The norm of the convolution itself, from below, by the power method.
    fn observed(self, w: &[f64]) -> f64 {
        let (height, width) = (self.height as i64, self.width as i64);
        let mut x = wide(&numbers(3, self.height * self.width * self.inputs));
        let mut size = 0.0;
        for _ in 0..100 {
            let mut y = vec![0.0; self.height * self.width * self.outputs];
            let mut back = vec![0.0; x.len()];
            for turn in 0..2 {
                for (r, c) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
                    for (dy, dx, tap) in self.offsets() {
                        let (from_r, from_c) = (r + dy, c + dx);
                        if !(0..height).contains(&from_r) || !(0..width).contains(&from_c) {
                            continue;
                        }
                        let to = (r * width + c) as usize * self.outputs;
                        let from = (from_r * width + from_c) as usize * self.inputs;
                        for (o, i) in
                            (0..self.outputs).flat_map(|o| (0..self.inputs).map(move |i| (o, i)))
                        {
                            let v = w[(o * self.kernel * self.kernel + tap) * self.inputs + i];
                            match turn {
                                0 => y[to + o] += v * x[from + i],
                                _ => back[from + i] += v * y[to + o],
                            }
                        }
                    }
                }
            }
            size = dot(&back, &back).sqrt();
            x = back.iter().map(|v| v / size).collect();
        }
        size.sqrt()
    }
}

/// The bound on one weight's norm, from the factor that a small constant asks for, and the derivative
/// of its logarithm.
fn bound(w: &[f32], shape: Shape) -> Option<(f64, Vec<f32>)> {
    let constant = 1e-9 * f64::from(w.iter().fold(0.0, |most: f32, v| most.max(v.abs())));
    let limit = Limit { constant, slack: 0.0, parts: vec![layer(0, 1.0)] };
    let kind = |numbers| shape.measured(numbers);
    let found = limited_of(&[(w, &kind)], &[w.to_vec()], &limit)?;
    let Scaled { factor, mut directions, .. } = found;
    Some((constant / f64::from(factor), directions.remove(0)))
}

const SHAPES: [Shape; 7] = [
    Shape::new([1, 1], 3, [4, 5]),
    Shape::new([2, 3], 3, [3, 4]),
    Shape::new([5, 2], 3, [1, 6]),
    Shape::new([3, 3], 5, [2, 3]),
    Shape::new([1, 4], 3, [1, 1]),
    Shape::new([7, 5], 3, [2, 2]),
    Shape::new([4, 9], 3, [2, 1]),
];

#[test]
fn bounds_are_near_the_norm_on_the_torus_from_above() {
    for (seed, shape) in (1..).zip(SHAPES) {
        let mut by_differences = vec![];
        for size in [1.0, 1e-30, 1e30] {
            let w: Vec<f32> = numbers(seed, shape.len()).iter().map(|v| v * size).collect();
            let Some((bound, direction)) = bound(&w, shape) else { return };
            let size = f64::from(size);
            let unit: Vec<f64> = wide(&w).iter().map(|v| v / size).collect();
            let (want, seen) = (shape.schatten(&unit), shape.observed(&unit));
            let what = format!("{shape:?}, {size}: {bound}, not {want}, seen {seen}");
            // As far as a factor in single precision tells.
            assert!((bound / size / want - 1.0).abs() < 2e-7, "{what}");
            assert!(bound >= seen * size * (1.0 - 2e-7), "{what}");
            if by_differences.is_empty() {
                let angles = shape.greatest(&unit);
                by_differences = slopes(&unit, |w| shape.schatten_at(&angles, w).ln());
            }
            for (&found, want) in direction.iter().zip(&by_differences) {
                let found = f64::from(found) * size;
                assert!(
                    (found - want).abs() < 1e-6 * (1.0 + want.abs()),
                    "{found}, {want}, {what}"
                );
            }
        }
    }
}

#[test]
fn the_torus_of_the_image_itself_would_be_too_small() {
    // On three pixels [−1, 2, −1] has a norm of 2 + √2, on a ring of three 3, on one of five 3.618.
    let mut w = vec![0.0; 9];
    w[3..6].copy_from_slice(&[-1.0, 2.0, -1.0]);
    let Some((bound, _)) = bound(&w, Shape::new([1, 1], 3, [1, 3])) else { return };
    assert!(bound > 2.0 + 2_f64.sqrt() && bound < 3.6181, "{bound}");
}

#[test]
fn a_greater_frobenius_norm_is_no_greater_norm() {
    // 0.8 times the identity at the first frequency, the diagonal of 1 and three times 0.6 at the last.
    let shape = Shape::new([4, 4], 3, [1, 4]);
    let mut w = vec![0.0; shape.len()];
    for i in 0..4 {
        let (first, last) = (0.8, if i == 0 { 1.0 } else { 0.6 });
        w[(9 * i + 4) * 4 + i] = 0.5 * (first + last);
        w[(9 * i + 5) * 4 + i] = 0.5 * (first - last);
    }
    let Some((bound, _)) = bound(&w, shape) else { return };
    let want = shape.schatten(&wide(&w));
    assert!((bound / want - 1.0).abs() < 2e-7 && want < 1.01, "{bound}, not {want}");
}

#[test]
fn what_a_sum_loses_is_carried_along() {
    // Two equal columns of 1 and 4096 times 2⁻²⁷: the squared norm is 2 + 2⁻⁴¹, but a sum that has
    // reached 1 does not change by 2⁻⁵⁴.
    let shape = Shape::new([4097, 2], 3, [1, 1]);
    let mut w = vec![0.0; shape.len()];
    for (output, row) in w.chunks_exact_mut(18).enumerate() {
        row[8..10].fill(if output == 0 { 1.0 } else { 2_f32.powi(-27) });
    }
    let Some(mut trial) = Trial::new() else { return };
    let (put, found) = (trial.put(&w), trial.room(2));
    let norms = Norms::new(&mut trial.recording, vec![shape.measured(put)]);
    let mut ops = norms.record();
    ops.push(scaled_copy(found, norms.bounds(), 1.0));
    let halves = trial.run(ops, &[found]).remove(0);
    let [low, high] = [halves[0], halves[1]].map(|half| u64::from(half.to_bits()));
    let (bound, exact) = (f64::from_bits(high << 32 | low), (2.0 + 2_f64.powi(-41)).sqrt());
    assert!(bound >= exact && bound < exact * (1.0 + 1e-11), "{bound}, not {exact}");
}

#[test]
fn convolutions_without_a_norm() {
    let shape = Shape::new([2, 1], 3, [2, 2]);
    let kind = |numbers| shape.measured(numbers);
    let limit = Limit { constant: 0.5, slack: 0.0, parts: vec![layer(0, 1.0), layer(1, 1.0)] };
    let by = [vec![1.0; 18], vec![1.0; 18]];
    let (zero, other) = (vec![0.0; 18], numbers(1, 18));
    let weights: [(&[f32], Kind<'_>); 2] = [(&zero, &kind), (&other, &kind)];
    let Some(found) = limited_of(&weights, &by, &limit) else { return };
    assert_eq!((found.factor, &found.scaled[1]), (1.0, &other));
    assert_eq!((&found.directions[0], &found.by_numbers), (&zero, &by.to_vec()));

    let mut broken = numbers(2, 18);
    broken[7] = f32::INFINITY;
    let weights: [(&[f32], Kind<'_>); 2] = [(&broken, &kind), (&other, &kind)];
    let Some(found) = limited_of(&weights, &by, &limit) else { return };
    assert_eq!(found.factor, 0.0);
    assert!(found.scaled[0][7].is_nan() && found.directions[0] == [0.0; 18]);
    // Also with a way past it, where its part in the derivative is ∞/∞.
    let skip = Part { weights: vec![0], gain: 1.0, skips: true };
    let limit = Limit { parts: vec![skip, layer(1, 1.0)], ..limit };
    let Some(found) = limited_of(&weights, &by, &limit) else { return };
    assert_eq!(found.directions[0], [0.0; 18]);
}

/// Two layers that everything passes, and a matrix and a convolution with a way past them.
#[test]
fn convolutions_and_matrices_are_scaled_together() {
    let first = Shape::new([4, 2], 3, [3, 2]);
    let inner = Shape::new([4, 3], 3, [3, 2]);
    let last = Shape::new([2, 4], 5, [3, 2]);
    let shapes = [Some(first), None, Some(inner), Some(last)];
    let matrix = |numbers| {
        Measured::Matrix(Normed { numbers, rows: 3, columns: 4, squarings: 12, double: true })
    };
    let convolution = |shape: Shape| move |numbers| shape.measured(numbers);
    let (a, b, c) = (convolution(first), convolution(inner), convolution(last));
    let kinds: [Kind<'_>; 4] = [&a, &matrix, &b, &c];
    let lens = shapes.map(|shape| shape.map_or(12, Shape::len));
    let weights: Vec<Vec<f32>> = (1..).zip(lens).map(|(seed, len)| numbers(seed, len)).collect();
    let by: Vec<Vec<f32>> = (5..).zip(lens).map(|(seed, len)| numbers(seed, len)).collect();
    // A matrix is a convolution of one pixel of one.
    let point = Shape::new([3, 4], 1, [1, 1]);
    let norms = shapes.map(|shape| move |w: &[f64]| shape.unwrap_or(point).schatten(w));
    for constant in [0.9, 1e4] {
        check_layers(&weights, &by, norms.each_ref().map(|norm| norm as _), constant, |limit| {
            let each = weights.iter().zip(kinds).map(|(w, kind)| (&w[..], kind));
            limited_of(&each.collect::<Vec<_>>(), &by, limit)
        });
    }
}
