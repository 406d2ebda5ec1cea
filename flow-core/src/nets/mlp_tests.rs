use super::*;
use crate::engine::State;
use crate::nets::testing::{evaluate, product};
use crate::Noise;

fn net(inputs: usize, outputs: usize, hidden: &[usize], options: MlpOptions) -> (Mlp, State<f64>) {
    let mut builder = Builder::new(3);
    let last = LastLayer { zero: true, bias: &|i| i as f64 };
    let activation = Activation::Swish;
    let net = Mlp::new(&mut builder, inputs, outputs, last, hidden, activation, options).unwrap();
    (net, builder.finish().1)
}

fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut numbers = vec![0.0; len];
    Noise::seed(seed).fill_normal(0, &mut numbers);
    numbers
}

/// The net as three nested loops, one row at a time.
fn slow(net: &Mlp, state: &State<f64>, row: &[f64]) -> Vec<f64> {
    let mut below = row.to_vec();
    for (i, layer) in net.layers.iter().enumerate() {
        let weight = state.values.parameter(&layer.weight);
        let bias = state.values.parameter(&layer.bias);
        below = (0..layer.outputs)
            .map(|o| {
                let mut sum = bias[o];
                for (j, value) in below.iter().enumerate() {
                    sum += weight[o * layer.inputs + j] * value;
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
    let options = MlpOptions { zero_init: false, lipschitz: None };
    for (rows, inputs, outputs, hidden) in
        [(1, 3, 4, vec![5]), (3, 1, 1, vec![7, 2, 6]), (9, 4, 3, vec![]), (2, 0, 3, vec![2])]
    {
        let (net, state) = net(inputs, outputs, &hidden, options);
        let input = numbers(rows * inputs, 1);
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
    let options = MlpOptions { zero_init: false, lipschitz: None };
    for (rows, hidden) in [(1, vec![5]), (4, vec![6, 3]), (3, vec![])] {
        let (net, state) = net(3, 2, &hidden, options);
        let (input, cotangent) = (numbers(rows * 3, 1), numbers(rows * 2, 2));
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
    let (zero, state) = net(2, 3, &[4], MlpOptions::default());
    assert_eq!(evaluate(&zero, &state, 1, &[5.0, -7.0]), [0.0, 1.0, 2.0]);
    let (random, state) = net(2, 3, &[4], MlpOptions { zero_init: false, lipschitz: None });
    assert_ne!(evaluate(&random, &state, 1, &[5.0, -7.0]), [0.0, 1.0, 2.0]);
}

#[test]
fn a_hidden_layer_of_nothing_is_an_error() {
    let mut builder = Builder::<f32>::new(0);
    let last = LastLayer { zero: true, bias: &|_| 0.0 };
    let hidden = [4, 0];
    let options = MlpOptions::default();
    let error = Mlp::new(&mut builder, 2, 2, last, &hidden, Activation::Relu, options).unwrap_err();
    assert!(error.to_string().contains("hidden layer 1 is 0"), "{error}");
}

fn limited(constant: f64, scale: f64) -> (Mlp, State<f64>) {
    let options = MlpOptions { zero_init: false, lipschitz: Some(constant) };
    let (net, mut state) = net(3, 2, &[6, 4], options);
    state.values.parameters.iter_mut().for_each(|p| *p *= scale);
    prepare(&net, &mut state);
    (net, state)
}

fn prepare<E: Scalar>(net: &Mlp, state: &mut State<E>) {
    let State { values, derived, .. } = state;
    net.prepare(values, derived).unwrap();
}

#[test]
fn a_net_keeps_its_constant() {
    let (net, mut state) = limited(0.7, 40.0);
    let used = |state: &State<f64>| -> f64 {
        let weights = (0..3).map(|i| {
            let layer = &net.layers[i];
            let weight = net.limit.as_ref().unwrap().used(i).of(&state.derived);
            crate::lipschitz::norm::norm(weight, layer.outputs, layer.inputs)
        });
        weights.product::<f64>() * Activation::Swish.lipschitz().powi(2)
    };
    assert!(used(&state) <= 0.7 && used(&state) > 0.699, "{}", used(&state));
    assert_eq!(Conditioner::<f64>::lipschitz(&net), 0.7);
    for seed in 0..50 {
        let (a, b) = (numbers(3, seed), numbers(3, seed + 100));
        let (p, q) = (evaluate(&net, &state, 1, &a), evaluate(&net, &state, 1, &b));
        let far = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
        };
        assert!(far(&p, &q) <= 0.7 * far(&a, &b));
    }
    // Where the product is below the constant, nothing changes.
    state.values.parameters.iter_mut().for_each(|p| *p *= 1e-2);
    prepare(&net, &mut state);
    for (i, layer) in net.layers.iter().enumerate() {
        let weight = net.limit.as_ref().unwrap().used(i).of(&state.derived);
        assert_eq!(weight, state.values.parameter(&layer.weight));
    }
}

#[test]
fn a_limited_net_in_single_precision_keeps_its_constant() {
    let mut builder = Builder::<f32>::new(3);
    let last = LastLayer { zero: false, bias: &|_| 0.0 };
    let options = MlpOptions { zero_init: false, lipschitz: Some(0.9) };
    let hidden = [33, 20];
    let net = Mlp::new(&mut builder, 5, 7, last, &hidden, Activation::Relu, options).unwrap();
    let (_, mut state) = builder.finish();
    state.values.parameters.iter_mut().for_each(|p| *p *= 30.0);
    prepare(&net, &mut state);
    let weights = net.layers.iter().enumerate().map(|(i, layer)| {
        let weight = net.limit.as_ref().unwrap().used(i).of(&state.derived);
        crate::lipschitz::norm::norm(weight, layer.outputs, layer.inputs)
    });
    let product: f64 = weights.product();
    assert!(product <= 0.9 && product > 0.8999, "{product}");
}

#[test]
fn the_limit_is_differentiable() {
    for (constant, scale) in [(0.7, 6.0), (50.0, 1.0)] {
        let (net, state) = limited(constant, scale);
        let (input, cotangent) = (numbers(12, 1), numbers(8, 2));
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
        let last = LastLayer { zero: true, bias: &|_| 0.0 };
        let options = MlpOptions { zero_init: true, lipschitz: Some(constant) };
        let made = Mlp::new(&mut builder, 2, 2, last, &[4], Activation::Relu, options);
        assert!(made.is_err(), "{constant}");
    }
}
