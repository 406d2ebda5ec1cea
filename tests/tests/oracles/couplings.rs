//! Couplings with their nets.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::{Conditioned, Free};

use crate::{
    columns, compare, flow_of, places, repeated, spread, sums, transposed, Column, Rows, Weights,
};

/// A net of two linear layers under `path`, with an activation between them.
fn net(
    weights: &Weights,
    path: &str,
    [inputs, hidden, outputs]: [usize; 3],
    activation: fn(Rows) -> Rows,
    x: Rows,
) -> Rows {
    let rows = x.shape().0;
    let layer = |i: usize, x: Rows, from: usize, to: usize| {
        let weight = weights.matrix(&format!("{path}.net.{i}.weight"), to, from);
        x.matmul(transposed(weight))
            + repeated(weights.vector(&format!("{path}.net.{i}.bias")), rows)
    };
    layer(1, activation(layer(0, x, inputs, hidden)), hidden, outputs)
}

fn swish(x: Rows) -> Rows {
    x.with_empty_tape() * x.sigmoid()
}

fn softplus(x: Rows) -> Rows {
    (x.exp() + 1.0).ln()
}

/// The columns of s and of t, which stand feature by feature; those of t carry the tape on.
pub(crate) fn halves(theta: Rows) -> (Rows, Rows) {
    let features = theta.shape().1 / 2;
    let s = columns(theta.with_empty_tape(), (0..features).map(|i| 2 * i));
    (s, columns(theta, (0..features).map(|i| 2 * i + 1)))
}

/// Puts both parts of a row together: the first `h` columns are `kept`.
fn joined(kept: Rows, moved: Rows) -> Rows {
    let (h, rest) = (kept.shape().1, moved.shape().1);
    spread(kept, h + rest, 0..h) + spread(moved, h + rest, h..h + rest)
}

#[test]
fn an_additive_coupling_adds_what_its_net_says() {
    let flow = flow_of!(Vector<5> { additive_coupling(keep = first, net = mlp([7], tanh)); });
    compare(Free(flow), |weights, x, _| {
        let kept = columns(x.with_empty_tape(), 0..2);
        let moved = columns(x, 2..5);
        let t = net(weights, "0", [2, 7, 3], Tensor::tanh, kept.with_empty_tape());
        let zeros = sums(moved.with_empty_tape() * 0.0);
        (joined(kept, moved + t), zeros)
    });
}

/// An affine coupling on five numbers whose logarithm of the scale is `log_scale(s)`.
fn affine(weights: &Weights, x: Rows, log_scale: impl Fn(Rows) -> Rows) -> (Rows, Column) {
    let kept = columns(x.with_empty_tape(), 0..2);
    let moved = columns(x, 2..5);
    let theta = net(weights, "0", [2, 7, 6], swish, kept.with_empty_tape());
    let (s, t) = halves(theta);
    let log_scale = log_scale(s);
    let log_det = sums(log_scale.with_empty_tape());
    (joined(kept, moved * log_scale.exp() + t), log_det)
}

#[test]
fn an_affine_coupling_scales_and_shifts() {
    let flow = flow_of!(Vector<5> { affine_coupling(keep = first, net = mlp([7], swish)); });
    compare(Free(flow), |weights, x, _| affine(weights, x, |s| s));
    let flow = flow_of!(Vector<5> {
        affine_coupling(keep = first, scale = tanh(1.5), net = mlp([7], swish));
    });
    compare(Free(flow), |weights, x, _| affine(weights, x, |s| (s / 1.5).tanh() * 1.5));
    let flow = flow_of!(Vector<5> {
        affine_coupling(keep = first, scale = sigmoid(0.5, 1.2, shift = 1.0), net = mlp([7], swish));
    });
    compare(Free(flow), |weights, x, _| {
        affine(weights, x, |s| ((s + 1.0).sigmoid() * 0.7 + 0.5).ln())
    });
}

#[test]
fn a_mexican_hat_bounds_the_scale() {
    let flow = flow_of!(Vector<5> {
        affine_coupling(keep = first, scale = mexican_hat(2), net = mlp([7], swish));
    });
    compare(Free(flow), |weights, x, _| {
        affine(weights, x, |s| {
            let hat = |k: usize, s: Rows| {
                let rows = s.shape().0;
                let of =
                    |name| columns(weights.matrix(name, 3, 2), [k].into_iter()).reshape_like(&(3,));
                let phi = s * repeated(of("0.w"), rows) + repeated(of("0.b"), rows);
                let square = phi.square();
                ((square.with_empty_tape() * -1.0) + 1.0) * (square * -0.5).exp()
            };
            (hat(0, s.with_empty_tape()) + hat(1, s)) * 0.5
        })
    });
}

#[test]
fn a_dual_coupling_is_two_in_turn() {
    let flow =
        flow_of!(Vector<5> { dual_affine_coupling(scale = tanh(2.0), net = mlp([7], swish)); });
    compare(Free(flow), |weights, x, _| {
        let (first, second) = (columns(x.with_empty_tape(), 0..2), columns(x, 2..5));
        let step = |path: &str, read: Rows, moved: Rows| {
            let (inputs, outputs) = (read.shape().1, moved.shape().1);
            let (s, t) = halves(net(weights, path, [inputs, 7, 2 * outputs], swish, read));
            let log_scale = (s / 2.0).tanh() * 2.0;
            let log_det = sums(log_scale.with_empty_tape());
            (moved * log_scale.exp() + t, log_det)
        };
        let (first, one) = step("0.first", second.with_empty_tape(), first);
        let (second, two) = step("0.second", first.with_empty_tape(), second);
        (joined(first, second), one + two)
    });
}

/// Rational-quadratic splines of `bins` bins on (−bound, bound), one for each number of `x`: all
/// bins are computed, and that of the number counts (Durkan et al. 2019, equations 4 and 5).
fn splines(x: Rows, theta: Rows, bins: usize, bound: f64) -> (Rows, Rows) {
    let cpu = Cpu::default();
    let (n, shape) = (x.shape().0, (x.shape().0, bins));
    let part = |from: usize, len: usize| columns(theta.with_empty_tape(), from..from + len);
    let size = |from: usize| {
        let share = part(from, bins).softmax::<Axis<1>>();
        (share * (1.0 - 1e-3 * bins as f64) + 1e-3) * (2.0 * bound)
    };
    // Left ends: the sums of what stands before.
    let before =
        places((bins, bins), (0..bins * bins).map(|i| (i / bins, i % bins)).filter(|(i, j)| i < j));
    let left = |size: &Rows| size.with_empty_tape().matmul(before.clone()) - bound;
    let (width, height) = (size(0), size(bins));
    let (from_x, from_y) = (left(&width), left(&height));
    let inner = softplus(columns(theta, 2 * bins..3 * bins - 1)) + 1e-3;
    let end = |bin: usize| {
        let mut one = vec![0.0; n * bins];
        one.iter_mut().skip(bin).step_by(bins).for_each(|v| *v = 1.0);
        cpu.tensor_from_vec(one, shape)
    };
    let first = spread(inner.with_empty_tape(), bins, 1..bins) + end(0);
    let last = spread(inner, bins, 0..bins - 1) + end(bins - 1);
    // Which bin each number lies in.
    let (edges, widths, numbers) = (from_x.as_vec(), width.as_vec(), x.as_vec());
    let inside = |i: usize| {
        let (v, edge) = (numbers[i / bins], edges[i]);
        v.abs() <= bound && v >= edge && v < edge + widths[i]
    };
    let mask: Vec<f64> = (0..n * bins).map(|i| f64::from(u8::from(inside(i)))).collect();
    let hit: Vec<f64> = mask.chunks(bins).map(|row| row.iter().sum()).collect();
    let mask = cpu.tensor_from_vec(mask, shape);
    let outside = cpu.tensor_from_vec(hit.iter().map(|h| 1.0 - h).collect(), (n, 1));

    let knots = Knots { from_x, width, from_y, height, first, last };
    let (y, log_slope) = knots.bend(&x, mask);
    (y + x * outside, log_slope)
}

/// What the bins of splines begin with and how far they go, and the slopes at their two ends: a row
/// for each number.
pub(crate) struct Knots {
    pub(crate) from_x: Rows,
    pub(crate) width: Rows,
    pub(crate) from_y: Rows,
    pub(crate) height: Rows,
    pub(crate) first: Rows,
    pub(crate) last: Rows,
}

impl Knots {
    /// Value and logarithm of the slope of the bin that `mask` has a 1 for, 0 where it has none.
    pub(crate) fn bend(self, x: &Rows, mask: Tensor<(usize, usize), f64, Cpu>) -> (Rows, Rows) {
        let Self { from_x, width, from_y, height, first, last } = self;
        let bins = mask.shape().1;
        let every = x.with_empty_tape().matmul(places((1, bins), (0..bins).map(|j| (0, j))));
        let slope = height.with_empty_tape() / width.with_empty_tape();
        // Numbers of other bins would be far outside, and are not counted: they are set to 0.
        let u = (every - from_x) / width * mask.clone();
        let v = u.with_empty_tape() * -1.0 + 1.0;
        let uv = u.with_empty_tape() * v.with_empty_tape();
        let sum = first.with_empty_tape() + last.with_empty_tape() - slope.with_empty_tape() * 2.0;
        let below = slope.with_empty_tape() + sum * uv.with_empty_tape();
        let above = slope.with_empty_tape() * u.with_empty_tape().square()
            + first.with_empty_tape() * uv.with_empty_tape();
        let y = from_y + height * above / below.with_empty_tape();
        let top = last * u.square() + slope.with_empty_tape() * uv * 2.0 + first * v.square();
        let log_slope = slope.ln() * 2.0 + top.ln() - below.ln() * 2.0;
        let ones = places((bins, 1), (0..bins).map(|i| (i, 0)));
        ((y * mask.clone()).matmul(ones.clone()), (log_slope * mask).matmul(ones))
    }
}

#[test]
fn a_spline_coupling_bends_piece_by_piece() {
    let flow = flow_of!(Vector<3> given Vector<2> {
        spline_coupling(keep = first, bins = 4, bound = 2.0, net = mlp([7], swish));
    });
    compare(Conditioned::<_, _, 2>(flow), |weights, x, context| {
        let rows = x.shape().0;
        let kept = columns(x.with_empty_tape(), 0..1);
        let moved = columns(x, 1..3).reshape_like(&(2 * rows, 1));
        let input = joined(kept.with_empty_tape(), context);
        let theta = net(weights, "0", [3, 7, 22], swish, input).reshape_like(&(2 * rows, 11));
        let (moved, log_slope) = splines(moved, theta, 4, 2.0);
        (joined(kept, moved.reshape_like(&(rows, 2))), sums(log_slope.reshape_like(&(rows, 2))))
    });
}

/// The columns of an image, which is `channels × height × width`, that stand around each pixel, as
/// rows of a matrix `rows·pixels × channels·9`: the order of PyTorch's kernels.
fn patches(x: Rows, [channels, height, width]: [usize; 3]) -> Rows {
    let (rows, pixels) = (x.shape().0, height * width);
    let mut ones = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for (c, dy, dx) in (0..channels * 9).map(|i| (i / 9, i % 9 / 3, i % 3)) {
            let (row, column) = (y + dy, x + dx);
            if (1..=height).contains(&row) && (1..=width).contains(&column) {
                let from = c * pixels + (row - 1) * width + column - 1;
                ones.push((from, (y * width + x) * channels * 9 + c * 9 + dy * 3 + dx));
            }
        }
    }
    let all = x.matmul(places((channels * pixels, pixels * channels * 9), ones));
    all.reshape_like(&(rows * pixels, channels * 9))
}

/// Pixel-major rows as images, channels first.
fn images(pixels: Rows, rows: usize) -> Rows {
    let (per_image, channels) = (pixels.shape().0 / rows, pixels.shape().1);
    let flat = pixels.reshape_like(&(rows, per_image * channels));
    columns(flat, (0..per_image * channels).map(move |i| i % per_image * channels + i / per_image))
}

/// A net of one 3 × 3 and one 1 × 1 convolution: pixel-major rows of its outputs.
fn conv(weights: &Weights, shape: [usize; 3], hidden: usize, outputs: usize, x: Rows) -> Rows {
    let (rows, inputs) = (x.shape().0 * shape[1] * shape[2], shape[0] * 9);
    let first = weights.matrix("0.net.0.weight", hidden, inputs);
    let above = patches(x, shape).matmul(transposed(first))
        + repeated(weights.vector("0.net.0.bias"), rows);
    let last = weights.matrix("0.net.1.weight", outputs, hidden);
    swish(above).matmul(transposed(last)) + repeated(weights.vector("0.net.1.bias"), rows)
}

#[test]
fn couplings_on_images_convolve_what_they_keep() {
    let flow = flow_of!(
        Image < 3,
        2,
        3 > {
            affine_coupling(keep = first, scale = tanh(1.0), net = conv([3, 1], hidden = 5, swish));
        }
    );
    compare(Free(flow), |weights, x, _| {
        let rows = x.shape().0;
        let kept = columns(x.with_empty_tape(), 0..6);
        let moved = columns(x, 6..18);
        let (s, t) = halves(conv(weights, [1, 2, 3], 5, 4, kept.with_empty_tape()));
        let log_scale = images(s, rows).tanh();
        let log_det = sums(log_scale.with_empty_tape());
        (joined(kept, moved * log_scale.exp() + images(t, rows)), log_det)
    });
    let flow = flow_of!(
        Image < 2,
        2,
        3 > {
            affine_coupling(
                keep = checker_even,
                scale = tanh(1.0),
                net = conv([3, 1], hidden = 5, swish),
            );
        }
    );
    compare(Free(flow), |weights, x, _| {
        let rows = x.shape().0;
        let even = |entry: usize| (entry % 6 / 3 + entry % 3).is_multiple_of(2);
        let mask = |keep: bool| {
            let numbers = (0..rows * 12).map(|i| f64::from(u8::from(even(i % 12) == keep)));
            Cpu::default().tensor_from_vec(numbers.collect(), (rows, 12))
        };
        let kept = x.with_empty_tape() * mask(true);
        let (s, t) = halves(conv(weights, [2, 2, 3], 5, 4, kept));
        let log_scale = images(s, rows).tanh() * mask(false);
        let log_det = sums(log_scale.with_empty_tape());
        (x * log_scale.exp() + images(t, rows) * mask(false), log_det)
    });
}
