use super::*;
use crate::engine::{Gradients, State, Workspace};
use crate::nets::testing::{evaluate, product};
use crate::nets::Differentiable;
use crate::sums::dot;
use crate::testing::normal;

fn net(
    inputs: usize,
    outputs: usize,
    hidden: &[usize],
    options: NetOptions,
) -> (FeedForward, State<f64>) {
    let mut builder = Builder::new(3);
    let last = LastLayer { start: &|i| Some(i as f64) };
    let activation = Activation::Swish;
    let net = FeedForward::mlp(
        &mut builder,
        Shape::vector(inputs),
        outputs,
        last,
        hidden,
        activation,
        options,
    )
    .unwrap();
    (net, builder.finish().1)
}

/// Weight and bias of each layer, in the order of the flat vector.
fn parts<'a>(net: &FeedForward, state: &'a State<f64>) -> Vec<(&'a [f64], &'a [f64])> {
    let mut rest = &*state.values.parameters;
    let each = net.layers.iter().map(|layer| {
        let (weight, behind) = rest.split_at(layer.inputs() * layer.outputs());
        let (bias, behind) = behind.split_at(layer.outputs());
        rest = behind;
        (weight, bias)
    });
    each.collect()
}

/// The net as three nested loops, one row at a time.
fn slow(net: &FeedForward, state: &State<f64>, row: &[f64]) -> Vec<f64> {
    let mut below = row.to_vec();
    for (i, layer) in net.layers.iter().enumerate() {
        let (weight, bias) = parts(net, state)[i];
        below = (0..layer.outputs())
            .map(|o| {
                let mut sum = bias[o];
                for (j, value) in below.iter().enumerate() {
                    sum += weight[o * layer.inputs() + j] * value;
                }
                if i + 1 == net.layers.len() {
                    sum
                } else {
                    sum / (1.0 + (-sum).exp())
                }
            })
            .collect();
    }
    below
}

#[test]
fn values_are_those_of_three_loops() {
    let options = NetOptions { zero_init: false, lipschitz: None, ..NetOptions::default() };
    for (rows, inputs, outputs, hidden) in
        [(1, 3, 4, vec![5]), (3, 1, 1, vec![7, 2, 6]), (9, 4, 3, vec![]), (2, 0, 3, vec![2])]
    {
        let (net, state) = net(inputs, outputs, &hidden, options);
        let input = normal(rows * inputs, 1);
        let got = evaluate(&net, &state, rows, &input);
        for row in 0..rows {
            let want = slow(&net, &state, &input[row * inputs..(row + 1) * inputs]);
            for (got, want) in got[row * outputs..].iter().zip(want) {
                assert!((got - want).abs() < 1e-14, "{got}, expected {want}");
            }
        }
    }
}

#[test]
fn products_are_those_of_central_differences() {
    let options = NetOptions { zero_init: false, lipschitz: None, ..NetOptions::default() };
    for (rows, hidden) in [(1, vec![5]), (4, vec![6, 3]), (3, vec![])] {
        let (net, state) = net(3, 2, &hidden, options);
        let (input, cotangent) = (normal(rows * 3, 1), normal(rows * 2, 2));
        let (by_input, by_parameters) = product(&net, &state, rows, &input, &cotangent);
        let loss = |state: &State<f64>, input: &[f64]| -> f64 {
            let output = evaluate(&net, state, rows, input);
            output.iter().zip(&cotangent).map(|(a, b)| a * b).sum()
        };
        let step = 1e-5;
        for i in 0..input.len() {
            let at = |by: f64| {
                let mut moved = input.clone();
                moved[i] += by;
                loss(&state, &moved)
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((by_input[i] - want).abs() < 1e-8, "input {i}: {}, not {want}", by_input[i]);
        }
        for (i, got) in by_parameters.into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = state.clone();
                moved.values.parameters[i] += by;
                loss(&moved, &input)
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((got - want).abs() < 1e-8, "parameter {i}: {got}, not {want}");
        }
    }
}

#[test]
fn the_last_layer_starts_as_it_was_asked_to() {
    let (zero, state) = net(2, 3, &[4], NetOptions::default());
    assert_eq!(evaluate(&zero, &state, 1, &[5.0, -7.0]), [0.0, 1.0, 2.0]);
    let (random, state) =
        net(2, 3, &[4], NetOptions { zero_init: false, lipschitz: None, ..NetOptions::default() });
    assert_ne!(evaluate(&random, &state, 1, &[5.0, -7.0]), [0.0, 1.0, 2.0]);
}

#[test]
fn a_hidden_layer_of_nothing_is_an_error() {
    let mut builder = Builder::<f32>::new(0);
    let last = LastLayer { start: &|_| Some(0.0) };
    let hidden = [4, 0];
    let options = NetOptions::default();
    let error = FeedForward::mlp(
        &mut builder,
        Shape::vector(2),
        2,
        last,
        &hidden,
        Activation::Relu,
        options,
    )
    .unwrap_err();
    assert!(error.to_string().contains("hidden layer 1 is 0"), "{error}");
}

fn limited(constant: f64, scale: f64) -> (FeedForward, State<f64>) {
    let options =
        NetOptions { zero_init: false, lipschitz: Some(constant), ..NetOptions::default() };
    let (net, mut state) = net(3, 2, &[6, 4], options);
    state.values.parameters.iter_mut().for_each(|p| *p *= scale);
    prepare(&net, &mut state);
    (net, state)
}

fn prepare<E: Scalar>(net: &FeedForward, state: &mut State<E>) {
    let State { values, derived, .. } = state;
    net.prepare(values, derived).unwrap();
}

#[test]
fn a_net_keeps_its_constant() {
    let (net, mut state) = limited(0.7, 40.0);
    let used = |state: &State<f64>| -> f64 {
        let weights = (0..3).map(|i| {
            let layer = &net.layers[i];
            let weight = net.weights.used(state, i);
            crate::lipschitz::norm::norm(weight, layer.outputs(), layer.inputs())
        });
        weights.product::<f64>() * Activation::Swish.lipschitz().powi(2)
    };
    assert!(used(&state) <= 0.7 && used(&state) > 0.699, "{}", used(&state));
    assert_eq!(Conditioner::<f64>::lipschitz(&net), 0.7);
    for seed in 0..50 {
        let (a, b) = (normal(3, seed), normal(3, seed + 100));
        let (p, q) = (evaluate(&net, &state, 1, &a), evaluate(&net, &state, 1, &b));
        let far = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
        };
        assert!(far(&p, &q) <= 0.7 * far(&a, &b));
    }
    // Where the product is below the constant, nothing changes.
    state.values.parameters.iter_mut().for_each(|p| *p *= 1e-2);
    prepare(&net, &mut state);
    for (i, (weight, _)) in parts(&net, &state).into_iter().enumerate() {
        assert_eq!(net.weights.used(&state, i), weight);
    }
}

#[test]
fn a_limited_net_in_single_precision_keeps_its_constant() {
    let mut builder = Builder::<f32>::new(3);
    let last = LastLayer { start: &|_| None };
    let options = NetOptions { zero_init: false, lipschitz: Some(0.9), ..NetOptions::default() };
    let hidden = [33, 20];
    let net = FeedForward::mlp(
        &mut builder,
        Shape::vector(5),
        7,
        last,
        &hidden,
        Activation::Relu,
        options,
    )
    .unwrap();
    let (_, mut state) = builder.finish();
    state.values.parameters.iter_mut().for_each(|p| *p *= 30.0);
    prepare(&net, &mut state);
    let weights = net.layers.iter().enumerate().map(|(i, layer)| {
        let weight = net.weights.used(&state, i);
        crate::lipschitz::norm::norm(weight, layer.outputs(), layer.inputs())
    });
    let product: f64 = weights.product();
    assert!(product <= 0.9 && product > 0.8999, "{product}");
}

#[test]
fn the_limit_is_differentiable() {
    for (constant, scale) in [(0.7, 6.0), (50.0, 1.0)] {
        let (net, state) = limited(constant, scale);
        let (input, cotangent) = (normal(12, 1), normal(8, 2));
        let (_, by_parameters) = product(&net, &state, 4, &input, &cotangent);
        for (i, got) in by_parameters.into_iter().enumerate() {
            let step = 1e-5;
            let at = |by: f64| -> f64 {
                let mut moved = state.clone();
                moved.values.parameters[i] += by;
                prepare(&net, &mut moved);
                let output = evaluate(&net, &moved, 4, &input);
                output.iter().zip(&cotangent).map(|(a, b)| a * b).sum()
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((got - want).abs() < 1e-7, "parameter {i}: {got}, not {want}");
        }
    }
}

#[test]
fn a_bad_constant_is_an_error() {
    for constant in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut builder = Builder::<f64>::new(0);
        let last = LastLayer { start: &|_| Some(0.0) };
        let options =
            NetOptions { zero_init: true, lipschitz: Some(constant), ..NetOptions::default() };
        let made = FeedForward::mlp(
            &mut builder,
            Shape::vector(2),
            2,
            last,
            &[4],
            Activation::Relu,
            options,
        );
        assert!(made.is_err(), "{constant}");
    }
}

/// A net on images of 3 × 2 pixels with two channels and one of context.
fn images(options: NetOptions) -> (FeedForward, State<f64>) {
    let mut builder = Builder::new(4);
    let last = LastLayer { start: &|_| Some(0.5) };
    let (shape, kernels) = (Shape::image(3, 3, 2), [3, 1, 5]);
    let activation = Activation::Swish;
    let net =
        FeedForward::conv(&mut builder, shape, 4, last, &kernels, 5, activation, options).unwrap();
    let mut state = builder.finish().1;
    prepare(&net, &mut state);
    (net, state)
}

const RANDOM: NetOptions = NetOptions { zero_init: false, lipschitz: None, weight_norm: false };

/// One layer after the other, with the sums written out.
fn slow_images(state: &State<f64>, image: &[f64]) -> Vec<f64> {
    let (height, width) = (3i64, 2i64);
    let mut rest = &*state.values.parameters;
    let mut below = image.to_vec();
    for (inputs, outputs, kernel, last) in [(3, 5, 3, false), (5, 5, 1, false), (5, 4, 5, true)] {
        let (weight, behind) = rest.split_at(outputs * inputs * kernel * kernel);
        let (bias, behind) = behind.split_at(outputs);
        rest = behind;
        let mut above = vec![];
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for (o, bias) in bias.iter().enumerate() {
                let mut sum = *bias;
                for (i, (dy, dx)) in (0..inputs).flat_map(|i| {
                    (0..kernel).flat_map(move |dy| (0..kernel).map(move |dx| (i, (dy, dx))))
                }) {
                    let reach = kernel as i64 / 2;
                    let (row, column) = (y + dy as i64 - reach, x + dx as i64 - reach);
                    if (0..height).contains(&row) && (0..width).contains(&column) {
                        let tap = ((o * inputs + i) * kernel + dy) * kernel + dx;
                        sum += weight[tap] * below[(row * width + column) as usize * inputs + i];
                    }
                }
                above.push(if last { sum } else { sum / (1.0 + (-sum).exp()) });
            }
        }
        below = above;
    }
    below
}

#[test]
fn convolutions_are_those_of_written_out_sums() {
    let (net, state) = images(RANDOM);
    let input = normal(3 * 18, 1);
    let got = evaluate(&net, &state, 3, &input);
    for (row, image) in input.chunks(18).enumerate() {
        for (got, want) in got[row * 24..].iter().zip(slow_images(&state, image)) {
            assert!((got - want).abs() < 1e-13, "{got}, expected {want}");
        }
    }
    let (zero, state) = images(NetOptions::default());
    assert!(evaluate(&zero, &state, 1, &input[..18]).iter().all(|&v| v == 0.5));
}

/// Gradients against central differences, weights prepared anew for each.
fn check_product(net: &FeedForward, state: &State<f64>, rows: usize) {
    let (inputs, outputs) = (Conditioner::<f64>::inputs(net), Conditioner::<f64>::outputs(net));
    let (input, cotangent) = (normal(rows * inputs, 1), normal(rows * outputs, 2));
    let (by_input, by_parameters) = product(net, state, rows, &input, &cotangent);
    let loss = |state: &State<f64>, input: &[f64]| -> f64 {
        let mut state = state.clone();
        prepare(net, &mut state);
        let output = evaluate(net, &state, rows, input);
        output.iter().zip(&cotangent).map(|(a, b)| a * b).sum()
    };
    let slope = |at: &dyn Fn(f64) -> f64| (at(1e-5) - at(-1e-5)) / 2e-5;
    for i in 0..input.len() {
        let want = slope(&|by| {
            let mut moved = input.clone();
            moved[i] += by;
            loss(state, &moved)
        });
        assert!((by_input[i] - want).abs() < 1e-7, "input {i}: {}, not {want}", by_input[i]);
    }
    for (i, got) in by_parameters.into_iter().enumerate() {
        let want = slope(&|by| {
            let mut moved = state.clone();
            moved.values.parameters[i] += by;
            loss(&moved, &input)
        });
        assert!((got - want).abs() < 1e-7, "parameter {i}: {got}, not {want}");
    }
}

#[test]
fn products_of_convolutions_are_those_of_central_differences() {
    let (net, state) = images(RANDOM);
    check_product(&net, &state, 2);
}

#[test]
fn normalised_and_limited_weights_are_differentiable() {
    for lipschitz in [None, Some(0.3)] {
        let options = NetOptions { weight_norm: true, lipschitz, ..RANDOM };
        let (net, state) = images(options);
        check_product(&net, &state, 2);
        let (net, mut state) = self::net(3, 2, &[4], options);
        prepare(&net, &mut state);
        check_product(&net, &state, 2);
    }
}

#[test]
fn a_normalised_weight_starts_as_its_directions_or_at_zero() {
    let options = NetOptions { weight_norm: true, ..NetOptions::default() };
    let (normalised, mut state) = net(2, 3, &[4], options);
    prepare(&normalised, &mut state);
    assert_eq!(evaluate(&normalised, &state, 1, &[5.0, -7.0]), [0.0, 1.0, 2.0]);
    let (plain, plain_state) = net(2, 3, &[4], RANDOM);
    let first = |net: &FeedForward, state: &State<f64>| net.weights.used(state, 0)[..4].to_vec();
    let lengths: f64 = first(&normalised, &state).iter().map(|v| v * v).sum();
    assert!(lengths > 0.01 && first(&plain, &plain_state).iter().any(|&v| v != 0.0));
}

#[test]
fn the_linearised_net_is_its_jacobian_and_differentiable() {
    let rows = 3;
    for case in 0..2 {
        let (net, state) =
            if case == 0 { self::net(3, 2, &[6, 4], RANDOM) } else { images(RANDOM) };
        let (inputs, outputs) =
            (Conditioner::<f64>::inputs(&net), Conditioner::<f64>::outputs(&net));
        let count = 2;
        let input = normal(rows * inputs, 1);
        let tangents = normal(rows * count * inputs, 3);
        let (by_output, cotangents) =
            (normal(rows * outputs, 4), normal(rows * count * outputs, 5));
        let pushed = with(&state, rows, |pass| {
            let mut output = vec![f64::NAN; rows * outputs];
            let at = net.linearize(pass, &input, &mut output, false).unwrap();
            let mut pushed = vec![f64::NAN; rows * count * outputs];
            net.push(pass, &at, &tangents, &mut pushed);
            let mut pulled = vec![f64::NAN; rows * count * inputs];
            net.pull(pass, &at, &cotangents, &mut pulled);
            at.release(pass);
            assert!((dot(&pushed, &cotangents) - dot(&tangents, &pulled)).abs() < 1e-11);
            assert_eq!(output, evaluate(&net, &state, rows, &input));
            (output, pushed)
        });
        // J v against differences along v, and the gradient against differences of the whole.
        let loss = |state: &State<f64>, input: &[f64]| -> f64 {
            let mut state = state.clone();
            prepare(&net, &mut state);
            with(&state, rows, |pass| {
                let mut output = vec![0.0; rows * outputs];
                let at = net.linearize(pass, input, &mut output, false).unwrap();
                let mut pushed = vec![0.0; rows * count * outputs];
                net.push(pass, &at, &tangents, &mut pushed);
                dot(&output, &by_output) + dot(&pushed, &cotangents)
            })
        };
        for k in 0..count {
            let along = |by: f64| {
                let mut moved = input.clone();
                for row in 0..rows {
                    for i in 0..inputs {
                        moved[row * inputs + i] += by * tangents[(row * count + k) * inputs + i];
                    }
                }
                evaluate(&net, &state, rows, &moved)
            };
            let (up, down) = (along(1e-5), along(-1e-5));
            for row in 0..rows {
                for o in 0..outputs {
                    let want = (up[row * outputs + o] - down[row * outputs + o]) / 2e-5;
                    let got = pushed.1[(row * count + k) * outputs + o];
                    assert!((got - want).abs() < 1e-7, "{got}, not {want}");
                }
            }
        }
        let mut workspace = Workspace::default();
        let mut gradients = Gradients::zeros(&state, 0);
        let mut pass = Pass::new(rows, &state, &[], &mut workspace, &mut gradients);
        let mut output = vec![0.0; rows * outputs];
        let at = net.linearize(&mut pass, &input, &mut output, true).unwrap();
        let mut by_input = vec![f64::NAN; input.len()];
        let mut again = vec![f64::NAN; cotangents.len()];
        let kept = net.push_keeping(&mut pass, &at, &tangents, &mut again);
        assert_eq!(again, pushed.1);
        net.gradient(&mut pass, &at, kept, &by_output, &cotangents, &mut by_input);
        at.release(&mut pass);
        let (by_parameters, derived) = gradients.whole();
        net.finish(&state, derived, by_parameters).unwrap();
        let slope = |at: &dyn Fn(f64) -> f64| (at(1e-5) - at(-1e-5)) / 2e-5;
        for i in 0..input.len() {
            let want = slope(&|by| {
                let mut moved = input.clone();
                moved[i] += by;
                loss(&state, &moved)
            });
            assert!((by_input[i] - want).abs() < 1e-7, "input {i}: {}, not {want}", by_input[i]);
        }
        for (i, got) in by_parameters.iter().enumerate() {
            let want = slope(&|by| {
                let mut moved = state.clone();
                moved.values.parameters[i] += by;
                loss(&moved, &input)
            });
            assert!((got - want).abs() < 1e-7, "parameter {i}: {got}, not {want}");
        }
    }
}

/// Runs something in a pass over some rows.
fn with<R>(state: &State<f64>, rows: usize, run: impl FnOnce(&mut Pass<'_, f64>) -> R) -> R {
    let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
    run(&mut Pass::new(rows, state, &[], &mut workspace, &mut none))
}

#[test]
fn a_kernel_must_be_odd_and_stand_on_an_image() {
    let last = LastLayer { start: &|_| Some(0.0) };
    let make = |shape, kernels: &[usize]| {
        let mut builder = Builder::<f32>::new(0);
        let activation = Activation::Relu;
        FeedForward::conv(&mut builder, shape, 2, last, kernels, 4, activation, RANDOM)
    };
    for (shape, kernels, says) in [
        (Shape::image(2, 3, 3), &[3, 2][..], "a kernel's side is 2"),
        (Shape::image(2, 3, 3), &[], "an empty list"),
        (Shape::vector(2), &[3], "expected an image"),
    ] {
        let error = make(shape, kernels).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
