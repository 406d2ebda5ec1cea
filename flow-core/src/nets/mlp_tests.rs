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
