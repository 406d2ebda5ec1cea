//! The numbers that parameters start with: those of `flow_core::reference`.

use std::collections::BTreeMap;

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_core::{Architecture, Flow};
use flow_tests::weights::drawn;

flow! {
    #[base(mixture(2))]
    struct Starts: Vector<64> {
        'random: affine_coupling(net = mlp([64], relu, zero_init = false));
        'zero: affine_coupling(net = mlp([64], relu));
        'normalised: affine_coupling(net = mlp([64], relu, weight_norm = true));
        'spline: spline_coupling(bins = 4, net = mlp([8], relu));
        'hats: affine_coupling(scale = mexican_hat(3, beta = 0.5), net = mlp([8], relu));
        'masked: masked_autoregressive(affine, net = made([64], relu));
        'lu: linear(lu);
        'reflected: linear(householder(3));
        'svd: linear(svd);
        'activation: spline_activation(bins = 4, slopes = (0.5, 2.0), beta = 1.25);
        'planar: planar;
        'radial: radial;
        'sylvester: sylvester(rank = 8);
    }

    struct Lu: Vector<5> { linear(lu); }
    struct Dense: Vector<5> { linear(dense); }
    struct Svd: Vector<5> { linear(svd); }
    struct Orthogonal: Vector<5> { linear(orthogonal); }
    struct Pixels: Image<5, 2, 1> { conv1x1(lu); conv1x1(dense); }

    struct Usual: Vector<5> { spline_activation; }
    struct Steep: Vector<5> { spline_activation(slopes = (1.5, 3.0)); }
    struct Gentle: Vector<5> { spline_activation(beta = 0.25); }
    struct Near: Vector<5> {
        affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([8], relu));
    }
    struct Hats: Vector<5> {
        affine_coupling(scale = mexican_hat(2, beta = 0.5), net = mlp([8], relu));
    }
    struct Unset: Vector<5> { standardize; }
    struct Plain: Vector<5> {
        additive_coupling(net = mlp([8], relu));
        affine_coupling(scale = tanh(1.0), net = mlp([8], relu, weight_norm = true));
    }
}

/// All parameters by their names.
fn parameters<A: Architecture<f64>>(flow: &Flow<A, f64>) -> BTreeMap<String, Vec<f64>> {
    flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect()
}

/// Random numbers of mean 0 within ±limit that reach near it, with the variance of a uniform start.
fn uniform(numbers: &[f64], limit: f64) {
    let largest = numbers.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    assert!(largest <= limit && largest > 0.9 * limit, "{largest} of {limit}");
    let variance = numbers.iter().map(|v| v * v).sum::<f64>() / numbers.len() as f64;
    assert!((variance * 3.0 / (limit * limit) - 1.0).abs() < 0.3, "{variance}");
}

/// Random numbers of a normal start.
fn normal(numbers: &[f64], deviation: f64) {
    let variance = numbers.iter().map(|v| v * v).sum::<f64>() / numbers.len() as f64;
    assert!((variance / deviation.powi(2) - 1.0).abs() < 0.4, "{variance}");
    let beyond = numbers.iter().filter(|v| v.abs() > 1.5 * deviation).count() as f64;
    assert!(beyond > 0.0 && beyond < 0.3 * numbers.len() as f64, "{beyond}");
}

fn all(numbers: &[f64], value: f64) {
    assert!(numbers.iter().all(|v| (v - value).abs() < 1e-12), "{numbers:?}, not {value}");
}

#[test]
fn layers_start_as_pytorchs_and_last_ones_as_the_block_asks() {
    let found = parameters(&Starts::<f64>::build(&Cpu::default(), 3).unwrap());
    let get = |name: &str| found[name].as_slice();

    uniform(get("random.net.0.weight"), 1.0 / 32f64.sqrt());
    uniform(get("random.net.0.bias"), 1.0 / 32f64.sqrt());
    uniform(get("random.net.1.weight"), 1.0 / 8.0);
    uniform(get("random.net.1.bias"), 1.0 / 8.0);
    uniform(get("zero.net.0.weight"), 1.0 / 32f64.sqrt());
    all(get("zero.net.1.weight"), 0.0);
    all(get("zero.net.1.bias"), 0.0);
    // Masked weights count among those that an output reads.
    uniform(get("masked.net.0.weight"), 1.0 / 8.0);
    all(get("masked.net.1.weight"), 0.0);

    uniform(get("normalised.net.0.weight_v"), 1.0 / 32f64.sqrt());
    uniform(get("normalised.net.1.weight_v"), 1.0 / 8.0);
    let rows = get("normalised.net.0.weight_v").chunks_exact(32);
    for (row, length) in rows.zip(get("normalised.net.0.weight_g")) {
        assert!((row.iter().map(|v| v * v).sum::<f64>().sqrt() - length).abs() < 1e-14);
    }
    all(get("normalised.net.1.weight_g"), 0.0);

    // Four widths, four heights, three slopes for each feature.
    all(get("spline.net.1.weight"), 0.0);
    for feature in get("spline.net.1.bias").chunks_exact(11) {
        all(&feature[..8], 0.0);
        all(&feature[8..], ((1.0_f64 - 1e-3).exp() - 1.0).ln());
    }

    // Rows of s are random, those of t zero.
    all(get("hats.w"), 0.0);
    for (row, weights) in get("hats.net.1.weight").chunks_exact(8).enumerate() {
        assert_eq!(weights.iter().any(|&v| v != 0.0), row % 2 == 0, "row {row}");
    }
}

#[test]
fn other_parameters_start_as_the_reference_says() {
    let flow = Starts::<f64>::build(&Cpu::default(), 3).unwrap();
    let found = parameters(&flow);
    let get = |name: &str| found[name].as_slice();

    for (at, (lower, upper)) in get("lu.lower").iter().zip(get("lu.upper")).enumerate() {
        let (row, column) = (at / 64, at % 64);
        assert!(row > column || *lower == 0.0, "{row}, {column}");
        assert!(row < column || *upper == 0.0, "{row}, {column}");
    }
    let order = flow.buffers().find(|buffer| buffer.name == "lu.permutation").unwrap();
    assert!(order.values.iter().enumerate().all(|(i, &p)| p == i as f64));
    for name in ["reflected.reflections", "svd.left", "svd.right", "sylvester.reflections"] {
        normal(get(name), 1.0);
    }
    all(get("svd.log_singular"), 0.0);

    all(get("activation.widths"), 0.0);
    // σ(0) is halfway from 0.5 to 2.
    all(get("activation.heights"), 0.0);
    all(get("activation.slopes"), 0.0);
    all(get("activation.extent"), 3.0);

    normal(get("planar.w"), 1.0 / 8.0);
    all(get("planar.b"), 0.0);
    let along: f64 = get("planar.u").iter().zip(get("planar.w")).map(|(u, w)| u * w).sum();
    all(&[along.exp().ln_1p()], 1.0);
    normal(get("radial.center"), 1.0);
    all(get("radial.log_alpha"), 0.0);
    all(get("radial.beta"), (std::f64::consts::E - 1.0).ln());
    uniform(get("sylvester.inner"), 1.0 / 8f64.sqrt());
    all(get("sylvester.outer"), 0.0);
    all(get("sylvester.b"), 0.0);

    all(get("base.weights"), 0.0);
    normal(get("base.means"), 1.0);
    all(get("base.log_scales"), 0.0);
}

/// Latents and log-determinants of five rows of five numbers, which come first.
macro_rules! run {
    ($flow:ident, $spread:expr) => {{
        let cpu = Cpu::default();
        let x: Vec<f64> =
            drawn::<f64>(&Noise::seed(2), 25).into_iter().map(|v| $spread * v).collect();
        let flow = $flow::<f64>::build(&cpu, 7).unwrap();
        let (z, log_det) = flow.forward(cpu.tensor_from_vec(x.clone(), (5, Const::<5>))).unwrap();
        (x, z.as_vec(), log_det.as_vec())
    }};
}

#[test]
fn matrices_start_as_rotations() {
    for (name, (x, z, log_det)) in [
        ("lu", run!(Lu, 1.0)),
        ("dense", run!(Dense, 1.0)),
        ("svd", run!(Svd, 1.0)),
        ("orthogonal", run!(Orthogonal, 1.0)),
    ] {
        for (x, z) in x.chunks_exact(5).zip(z.chunks_exact(5)) {
            let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
            assert!((square(x) - square(z)).abs() < 1e-12, "{name}");
            assert!(x.iter().zip(z).any(|(x, z)| (x - z).abs() > 0.1), "{name} turns nothing");
        }
        assert!(log_det.iter().all(|v| v.abs() < 1e-12), "{name}: {log_det:?}");
    }
    let cpu = Cpu::default();
    let flow = Pixels::<f64>::build(&cpu, 7).unwrap();
    let x =
        cpu.tensor_from_vec(drawn(&Noise::seed(2), 30), (3, Const::<5>, Const::<2>, Const::<1>));
    let (z, log_det) = flow.forward(x.clone()).unwrap();
    let squares = |x: Tensor<_, f64, _>| x.square().sum::<(usize,), Axes3<1, 2, 3>>().as_vec();
    for (x, z) in squares(x).into_iter().zip(squares(z)) {
        assert!((x - z).abs() < 1e-12);
    }
    assert!(log_det.abs().max::<Rank0, _>().array() < 1e-12);
}

/// Blocks that start as a multiple of the identity, in all features or in those behind the first two.
#[test]
fn what_starts_as_a_line_has_its_slope() {
    let sigmoid = 0.5 + 0.5 / (1.0 + (-2.0_f64).exp());
    for (name, (x, z, log_det), from, slope) in [
        ("spline_activation", run!(Usual, 4.0), 0, 0.999),
        ("spline_activation of steep slopes", run!(Steep, 4.0), 0, 1.5015),
        ("spline_activation of beta", run!(Gentle, 4.0), 0, 0.25),
        ("sigmoid", run!(Near, 1.0), 2, sigmoid),
        ("mexican_hat", run!(Hats, 1.0), 2, 2.0),
        ("standardize", run!(Unset, 1.0), 0, 1.0),
        ("additive_coupling and tanh", run!(Plain, 1.0), 0, 1.0),
    ] {
        for (i, (x, z)) in x.iter().zip(&z).enumerate() {
            let want = if i % 5 < from { *x } else { slope * x };
            assert!((z - want).abs() < 1e-12, "{name}: entry {i} of {x} is {z}, not {want}");
        }
        let want = (5 - from) as f64 * slope.ln();
        assert!(log_det.iter().all(|v| (v - want).abs() < 1e-12), "{name}: {log_det:?}");
    }
}
