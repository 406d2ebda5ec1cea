//! Linear blocks and blocks of shape against the same maps written in plain dfdx operations, with
//! gradients of both directions by its tape.

use dfdx::prelude::*;

use super::{Haar, Householder, InvertibleConv, LinearDense, LinearSvd, Rearrange};
use crate::engine::{Builder, Direction};
use crate::testing::{normal, single, Make};
use crate::{Memory, Result, Shape};

const ROWS: usize = 3;

type Taped<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;
type Batch = Taped<(usize, usize)>;
type Weights = Tensor<(usize,), f64, Cpu>;
type Oracle<'o> = &'o dyn Fn(Batch, &Weights) -> Batch;

/// Compares a block with an oracle on random rows: `there` maps data to latents and `back`, where
/// it is easily written, the reverse, both given all parameters in one vector.
fn compare<M: Make<D, 0>, const D: usize>(
    there: impl Fn(Batch, &Weights) -> Batch,
    back: Option<Oracle<'_>>,
) {
    let cpu = Cpu::default();
    let mut machine = single::<M, D, 0>();
    let count = machine.state().values.parameters.len();
    let jitter = normal(count, 1);
    machine.step(|p| p.iter_mut().zip(jitter).for_each(|(p, by)| *p += 0.3 * by)).unwrap();
    let weights = cpu.tensor_from_vec(machine.state().values.parameters.clone(), (count,));
    let (rows, cotangent) = (normal(ROWS * D, 2), normal(ROWS * D, 3));
    let oracles = [(Direction::Forward, Some(&there as Oracle<'_>)), (Direction::Inverse, back)];
    for (direction, oracle) in oracles {
        let Some(oracle) = oracle else { continue };
        let x = cpu.tensor_from_vec(rows.clone(), (ROWS, D));
        let want = oracle(x.leaky_trace(), &weights);
        let values = want.as_vec();
        let loss = want * cpu.tensor_from_vec(cotangent.clone(), (ROWS, D));
        let gradients = loss.sum::<(), _>().backward();

        let memory = Memory::Stored;
        let mut got = rows.clone();
        let (_, kept) = machine.run(direction, &mut got, &[], Some(memory)).unwrap();
        let mut by_x = cotangent.clone();
        let zeros = [0.0; ROWS];
        let total = machine.vjp(direction, kept.unwrap(), &mut by_x, &zeros, &[]).unwrap();
        close(direction, "output", &got, &values);
        close(direction, "gradient by x", &by_x, &gradients.get(&x).as_vec());
        if count > 0 {
            let want = gradients.get(&weights).as_vec();
            close(direction, "gradient by weights", &total.parameters, &want);
        }
    }
}

fn close(direction: Direction, what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs() / want.abs().max(1.0);
        assert!(error < 1e-11, "{direction:?}: {what}[{i}] is {got}, not {want}");
    }
}

/// Part of the weights as a matrix: a product, since dfdx's slices forget the gradients of others.
fn matrix(weights: &Weights, from: usize, rows: usize, columns: usize) -> Taped<(usize, usize)> {
    let (count, len) = (weights.shape().0, rows * columns);
    let mut choice = vec![0.0; count * len];
    (0..len).for_each(|i| choice[(from + i) * len + i] = 1.0);
    let choice = Cpu::default().tensor_from_vec(choice, (count, len));
    let all = weights.retaped::<OwnedTape<f64, Cpu>>().reshape_like(&(1, count));
    all.matmul(choice).reshape_like(&(rows, columns))
}

/// `H₁…Hₖ` of the reflections of `d` numbers that stand from there on.
fn reflections(weights: &Weights, from: usize, d: usize, count: usize) -> Taped<(usize, usize)> {
    let mut identity = vec![0.0; d * d];
    identity.iter_mut().step_by(d + 1).for_each(|v| *v = 1.0);
    let identity = Cpu::default().tensor_from_vec(identity, (d, d));
    let one = |i: usize| {
        let at = from + i * d;
        let outer = matrix(weights, at, d, 1).matmul(matrix(weights, at, 1, d));
        let squares = matrix(weights, at, 1, d).square().sum::<(), _>();
        outer * (squares.recip() * -2.0).broadcast_like(&(d, d)) + identity.clone()
    };
    (1..count).fold(one(0), |product, i| product.matmul(one(i)))
}

/// `M x` of each row, or of each part of a row.
fn times(x: Batch, m: Taped<(usize, usize)>) -> Batch {
    let (shape, d) = (*x.shape(), m.shape().0);
    let parts = shape.0 * shape.1 / d;
    let y = x.reshape_like(&(parts, d)).matmul(transposed(m));
    y.reshape_like(&shape)
}

fn transposed(m: Taped<(usize, usize)>) -> Taped<(usize, usize)> {
    m.permute::<_, Axes2<1, 0>>()
}

struct Five<const COUNT: usize>;
impl<const COUNT: usize> Make<5, 0> for Five<COUNT> {
    type Block = Householder;
    fn make(b: &mut Builder<f64>) -> Result<Householder> {
        Householder::new(b, Shape::vector(5), COUNT)
    }
}

#[test]
fn householder_is_a_product_of_reflections() {
    compare::<Five<1>, 5>(
        |x, w| times(x, reflections(w, 0, 5, 1)),
        Some(&|z, w| times(z, transposed(reflections(w, 0, 5, 1)))),
    );
    compare::<Five<7>, 5>(
        |x, w| times(x, reflections(w, 0, 5, 7)),
        Some(&|z, w| times(z, transposed(reflections(w, 0, 5, 7)))),
    );
}

struct Svd;
impl Make<12, 0> for Svd {
    type Block = LinearSvd;
    fn make(b: &mut Builder<f64>) -> Result<LinearSvd> {
        LinearSvd::new(b, Shape::image(3, 2, 2))
    }
}

#[test]
fn svd_is_a_rotation_a_scale_and_a_rotation() {
    // left [3, 3], log_singular [3], right [3, 3].
    let scales = |x: Batch, w: &Weights, sign: f64| {
        let scales = (matrix(w, 9, 1, 3) * sign).exp().reshape_like(&(3,));
        let pixels = x.reshape_like(&(ROWS * 4, 3));
        (pixels * scales.broadcast_like::<_, Axis<0>>(&(ROWS * 4, 3))).reshape_like(&(ROWS, 12))
    };
    compare::<Svd, 12>(
        |x, w| {
            let turned = times(x, transposed(reflections(w, 12, 3, 3)));
            times(scales(turned, w, 1.0), reflections(w, 0, 3, 3))
        },
        Some(&|z, w| {
            let turned = times(z, transposed(reflections(w, 0, 3, 3)));
            times(scales(turned, w, -1.0), reflections(w, 12, 3, 3))
        }),
    );
}

struct Dense;
impl Make<12, 0> for Dense {
    type Block = LinearDense;
    fn make(b: &mut Builder<f64>) -> Result<LinearDense> {
        LinearDense::new(b, Shape::image(3, 2, 2))
    }
}

#[test]
fn dense_is_a_product_at_every_pixel() {
    compare::<Dense, 12>(|x, w| times(x, matrix(w, 0, 3, 3)), None);
}

/// Channels-last rows of `c` channels, squeezed by 2.
fn squeezed(x: Batch, c: usize, h: usize, w: usize) -> Batch {
    let shape = *x.shape();
    x.reshape_like(&(shape.0 * h / 2, 2, w / 2, 2, c))
        .permute::<_, Axes5<0, 2, 4, 1, 3>>()
        .reshape_like(&shape)
}

/// The inverse of [`squeezed`].
fn unsqueezed(z: Batch, c: usize, h: usize, w: usize) -> Batch {
    let shape = *z.shape();
    z.reshape_like(&(shape.0 * h / 2, w / 2, c, 2, 2))
        .permute::<_, Axes5<0, 3, 1, 4, 2>>()
        .reshape_like(&shape)
}

struct Squeeze;
impl Make<72, 0> for Squeeze {
    type Block = Rearrange;
    fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
        Rearrange::squeeze(b, Shape::image(3, 4, 6), 2)
    }
}

struct Unsqueeze;
impl Make<72, 0> for Unsqueeze {
    type Block = Rearrange;
    fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
        Rearrange::unsqueeze(b, Shape::image(12, 2, 3), 2)
    }
}

struct Flatten;
impl Make<72, 0> for Flatten {
    type Block = Rearrange;
    fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
        Rearrange::flatten(b, Shape::image(3, 4, 6))
    }
}

#[test]
fn shapes_change_by_moving_axes() {
    compare::<Squeeze, 72>(|x, _| squeezed(x, 3, 4, 6), Some(&|z, _| unsqueezed(z, 3, 4, 6)));
    compare::<Unsqueeze, 72>(|x, _| unsqueezed(x, 3, 4, 6), Some(&|z, _| squeezed(z, 3, 4, 6)));
    let moved = |x: Batch, from: usize, to: usize| {
        let flipped = x.reshape_like(&(ROWS, from, to)).permute::<_, Axes3<0, 2, 1>>();
        flipped.reshape_like(&(ROWS, 72))
    };
    compare::<Flatten, 72>(|x, _| moved(x, 24, 3), Some(&|z, _| moved(z, 3, 24)));
}

struct Wavelet;
impl Make<72, 0> for Wavelet {
    type Block = Haar;
    fn make(b: &mut Builder<f64>) -> Result<Haar> {
        Haar::new(b, Shape::image(3, 4, 6))
    }
}

#[test]
fn haar_is_a_product_with_the_four_bands() {
    let bands = || {
        let bands =
            [[0.5; 4], [0.5, -0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5], [0.5, -0.5, -0.5, 0.5]];
        let bands = Cpu::default().tensor_from_vec(bands.concat(), (4, 4));
        bands.retaped::<OwnedTape<f64, Cpu>>()
    };
    compare::<Wavelet, 72>(
        |x, _| times(squeezed(x, 3, 4, 6), bands()),
        Some(&|z, _| unsqueezed(times(z, transposed(bands())), 3, 4, 6)),
    );
}

struct Kernels;
impl Make<16, 0> for Kernels {
    type Block = InvertibleConv;
    fn make(b: &mut Builder<f64>) -> Result<InvertibleConv> {
        InvertibleConv::new(b, Shape::image(2, 2, 4), 2, 1.5)
    }
}

#[test]
fn an_invertible_convolution_squeezes_and_multiplies() {
    compare::<Kernels, 16>(|x, w| times(squeezed(x, 2, 2, 4), matrix(w, 0, 8, 8)), None);
}
