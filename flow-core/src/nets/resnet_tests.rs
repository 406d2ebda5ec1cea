use super::*;
use crate::engine::{Gradients, Workspace};
use crate::lipschitz::norm::{norm_and_direction, Map};
use crate::nets::testing::{evaluate, product};
use crate::nets::Differentiable;
use crate::sums::dot;
use crate::testing::normal;

const RANDOM: NetOptions = NetOptions { zero_init: false, lipschitz: None, weight_norm: false };

/// Three numbers a pixel in, two out, two blocks of five features.
fn net(shape: Shape, attention: bool, options: NetOptions) -> (ResNet, State<f64>) {
    let mut builder = Builder::new(4);
    let last = LastLayer { start: &|_| Some(0.5) };
    let act = Activation::Swish;
    let net = ResNet::new(&mut builder, shape, 2, last, 2, 5, act, attention, options).unwrap();
    let mut state = builder.finish().1;
    prepare(&net, &mut state);
    (net, state)
}

fn vector() -> Shape {
    Shape::vector(3)
}

fn image() -> Shape {
    Shape::image(3, 3, 2)
}

fn prepare(net: &ResNet, state: &mut State<f64>) {
    let State { values, derived, .. } = state;
    net.prepare(values, derived).unwrap();
}

fn sizes(net: &ResNet) -> (usize, usize) {
    (Conditioner::<f64>::inputs(net), Conditioner::<f64>::outputs(net))
}

/// Reads the flat vector of parameters layer by layer.
struct Rest<'a>(&'a [f64]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> &'a [f64] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    /// A layer with its sums written out, on pixels of an image of that many rows and columns.
    fn layer(
        &mut self,
        below: &[Vec<f64>],
        outputs: usize,
        kernel: usize,
        (height, width): (usize, usize),
    ) -> Vec<Vec<f64>> {
        let inputs = below[0].len();
        let weight = self.take(outputs * inputs * kernel * kernel);
        let bias = self.take(outputs);
        let reach = kernel as i64 / 2;
        let pixel = |at: usize| {
            let (y, x) = ((at / width) as i64, (at % width) as i64);
            let sum = |o: usize| {
                let mut sum = bias[o];
                for (dy, dx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    let (row, column) = (y + dy as i64 - reach, x + dx as i64 - reach);
                    if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                        let from = &below[row as usize * width + column as usize];
                        for (i, v) in from.iter().enumerate() {
                            sum += weight[((o * inputs + i) * kernel + dy) * kernel + dx] * v;
                        }
                    }
                }
                sum
            };
            (0..outputs).map(sum).collect()
        };
        (0..height * width).map(pixel).collect()
    }
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

fn swish(values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    values.iter().map(|row| row.iter().map(|v| v * sigmoid(*v)).collect()).collect()
}

/// The net with its sums written out, on one image.
fn slow(state: &State<f64>, input: &[f64], shape: Shape, attention: bool) -> Vec<f64> {
    let (sides, kernel) = shape.sides().map_or(((1, 1), 1), |sides| (sides, 3));
    let mut rest = Rest(&state.values.parameters);
    let input: Vec<Vec<f64>> = input.chunks(3).map(<[f64]>::to_vec).collect();
    let mut sum = rest.layer(&input, 5, 1, sides);
    for _ in 0..2 {
        let inner = rest.layer(&swish(&sum), 5, kernel, sides);
        let mut branch = rest.layer(&swish(&inner), 5, kernel, sides);
        if attention {
            let pixels = branch.len() as f64;
            let mean = |c: usize| branch.iter().map(|pixel| pixel[c]).sum::<f64>() / pixels;
            let between = rest.layer(&[(0..5).map(mean).collect()], 1, 1, (1, 1));
            let gates = rest.layer(&swish(&between), 5, 1, (1, 1));
            for pixel in &mut branch {
                pixel.iter_mut().zip(&gates[0]).for_each(|(v, gate)| *v *= sigmoid(*gate));
            }
        }
        for (sum, branch) in sum.iter_mut().zip(&branch) {
            sum.iter_mut().zip(branch).for_each(|(a, b)| *a += b);
        }
    }
    let output = rest.layer(&sum, 2, 1, sides);
    assert!(rest.0.is_empty(), "parameters are left");
    output.concat()
}

#[test]
fn values_are_those_of_written_out_sums() {
    for shape in [vector(), image()] {
        for attention in [false, true] {
            let (net, state) = net(shape, attention, RANDOM);
            let (inputs, outputs) = sizes(&net);
            for rows in [1, 3] {
                let input = normal(rows * inputs, 1);
                let got = evaluate(&net, &state, rows, &input);
                for (row, x) in input.chunks(inputs).enumerate() {
                    let want = slow(&state, x, shape, attention);
                    assert_eq!(want.len(), outputs);
                    for (got, want) in got[row * outputs..].iter().zip(want) {
                        assert!((got - want).abs() < 1e-13, "{got}, expected {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn names_are_those_of_the_language() {
    let mut builder = Builder::<f32>::new(0);
    let last = LastLayer { start: &|_| None };
    let act = Activation::Relu;
    ResNet::new(&mut builder, image(), 2, last, 1, 8, act, true, RANDOM).unwrap();
    let entries = builder.finish().0.entries;
    let named = |entry: &crate::engine::Entry| (entry.name.clone(), entry.shape.clone());
    let names: Vec<(String, Vec<usize>)> = entries.iter().map(named).collect();
    let want = [
        ("net.initial.weight", vec![8, 3, 1, 1]),
        ("net.initial.bias", vec![8]),
        ("net.0.0.weight", vec![8, 8, 3, 3]),
        ("net.0.0.bias", vec![8]),
        ("net.0.1.weight", vec![8, 8, 3, 3]),
        ("net.0.1.bias", vec![8]),
        ("net.0.attention.0.weight", vec![2, 8]),
        ("net.0.attention.0.bias", vec![2]),
        ("net.0.attention.1.weight", vec![8, 2]),
        ("net.0.attention.1.bias", vec![8]),
        ("net.final.weight", vec![2, 8, 1, 1]),
        ("net.final.bias", vec![2]),
    ];
    assert_eq!(names, want.map(|(name, shape)| (name.to_owned(), shape)));
}

#[test]
fn the_last_layer_starts_as_it_was_asked_to() {
    for weight_norm in [false, true] {
        let options = NetOptions { weight_norm, ..NetOptions::default() };
        let (net, state) = net(image(), false, options);
        assert!(evaluate(&net, &state, 1, &normal(18, 1)).iter().all(|&v| v == 0.5));
    }
}

/// Gradients against central differences, weights prepared anew for each.
fn check_slopes(
    (net, state): &(ResNet, State<f64>),
    input: &[f64],
    (by_input, by_parameters): (Vec<f64>, Vec<f64>),
    loss: impl Fn(&State<f64>, &[f64]) -> f64,
) {
    let slope = |at: &dyn Fn(f64) -> f64| (at(1e-5) - at(-1e-5)) / 2e-5;
    for (i, got) in by_input.into_iter().enumerate() {
        let want = slope(&|by| {
            let mut moved = input.to_vec();
            moved[i] += by;
            loss(state, &moved)
        });
        assert!((got - want).abs() < 1e-7, "input {i}: {got}, not {want}");
    }
    for (i, got) in by_parameters.into_iter().enumerate() {
        let want = slope(&|by| {
            let mut moved = state.clone();
            moved.values.parameters[i] += by;
            prepare(net, &mut moved);
            loss(&moved, input)
        });
        assert!((got - want).abs() < 1e-7, "parameter {i}: {got}, not {want}");
    }
}

#[test]
fn products_are_those_of_central_differences() {
    let limited = NetOptions { lipschitz: Some(0.4), ..RANDOM };
    let both = NetOptions { weight_norm: true, ..limited };
    let normalised = NetOptions { weight_norm: true, ..RANDOM };
    for (shape, attention, options) in [
        (vector(), false, RANDOM),
        (vector(), false, limited),
        (vector(), true, normalised),
        (image(), false, both),
        (image(), false, NetOptions { lipschitz: Some(50.0), ..RANDOM }),
        (image(), true, RANDOM),
    ] {
        let made = net(shape, attention, options);
        let (inputs, outputs) = sizes(&made.0);
        let rows = 2;
        let (input, cotangent) = (normal(rows * inputs, 1), normal(rows * outputs, 2));
        let slopes = product(&made.0, &made.1, rows, &input, &cotangent);
        check_slopes(&made, &input, slopes, |state, input| {
            dot(&evaluate(&made.0, state, rows, input), &cotangent)
        });
    }
}

#[test]
fn a_net_keeps_its_constant() {
    let act = Activation::Swish.lipschitz();
    for shape in [vector(), image()] {
        let options = NetOptions { lipschitz: Some(0.7), ..RANDOM };
        let (net, mut state) = net(shape, false, options);
        state.values.parameters.iter_mut().for_each(|p| *p *= 3.0);
        prepare(&net, &mut state);
        let norm = |i: usize, outputs, inputs, kernel: usize| {
            let sides = shape.sides().unwrap_or((1, 1));
            let window = match shape.sides() {
                Some(_) => window(kernel, sides).unwrap(),
                None => window(1, sides).unwrap(),
            };
            let map = Map { outputs, inputs, window, image: true };
            norm_and_direction(net.weights.used(&state, i), map).0
        };
        let block = |i| 1.0 + act * act * norm(i, 5, 5, 3) * norm(i + 1, 5, 5, 3);
        let bound = norm(0, 5, 3, 1) * block(1) * block(3) * norm(5, 2, 5, 1);
        assert!(bound <= 0.7 && bound > 0.699, "{bound}");
        assert_eq!(Conditioner::<f64>::lipschitz(&net), 0.7);
        let (inputs, _) = sizes(&net);
        for seed in 0..30 {
            let (a, b) = (normal(inputs, seed), normal(inputs, seed + 100));
            let (p, q) = (evaluate(&net, &state, 1, &a), evaluate(&net, &state, 1, &b));
            let far = |a: &[f64], b: &[f64]| -> f64 {
                a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
            };
            assert!(far(&p, &q) <= 0.7 * far(&a, &b));
        }
        // Where the product is below the constant, nothing changes.
        state.values.parameters.iter_mut().for_each(|p| *p *= 1e-2);
        prepare(&net, &mut state);
        assert_eq!(net.weights.used(&state, 0), &state.values.parameters[..15]);
    }
}

#[test]
fn the_linearised_net_is_its_jacobian_and_differentiable() {
    let (rows, count) = (3, 2);
    for shape in [vector(), image()] {
        let made = net(shape, false, RANDOM);
        let (net, state) = (&made.0, &made.1);
        let (inputs, outputs) = sizes(net);
        let input = normal(rows * inputs, 1);
        let tangents = normal(rows * count * inputs, 3);
        let (by_output, cotangents) =
            (normal(rows * outputs, 4), normal(rows * count * outputs, 5));
        let run = |state: &State<f64>, input: &[f64]| {
            let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
            let mut pass = Pass::new(rows, state, &[], &mut workspace, &mut none);
            let mut output = vec![f64::NAN; rows * outputs];
            let at = net.linearize(&mut pass, input, &mut output, false).unwrap();
            let mut pushed = vec![f64::NAN; cotangents.len()];
            net.push(&mut pass, &at, &tangents, &mut pushed);
            let mut pulled = vec![f64::NAN; tangents.len()];
            net.pull(&mut pass, &at, &cotangents, &mut pulled);
            at.release(&mut pass);
            (output, pushed, pulled)
        };
        let (output, pushed, pulled) = run(state, &input);
        for (got, want) in output.iter().zip(evaluate(net, state, rows, &input)) {
            assert!((got - want).abs() < 1e-14);
        }
        assert!((dot(&pushed, &cotangents) - dot(&tangents, &pulled)).abs() < 1e-11);
        for k in 0..count {
            let along = |by: f64| {
                let mut moved = input.clone();
                for (i, v) in moved.iter_mut().enumerate() {
                    *v += by * tangents[(i / inputs * count + k) * inputs + i % inputs];
                }
                evaluate(net, state, rows, &moved)
            };
            let (up, down) = (along(1e-5), along(-1e-5));
            for i in 0..rows * outputs {
                let want = (up[i] - down[i]) / 2e-5;
                let got = pushed[(i / outputs * count + k) * outputs + i % outputs];
                assert!((got - want).abs() < 1e-7, "{got}, not {want}");
            }
        }

        let mut workspace = Workspace::default();
        let mut gradients = Gradients::zeros(state, 0);
        let mut pass = Pass::new(rows, state, &[], &mut workspace, &mut gradients);
        let at = net.linearize(&mut pass, &input, &mut vec![0.0; rows * outputs], true).unwrap();
        let mut by_input = vec![f64::NAN; input.len()];
        let mut again = vec![f64::NAN; cotangents.len()];
        let kept = net.push_keeping(&mut pass, &at, &tangents, &mut again);
        assert_eq!(again, pushed);
        net.gradient(&mut pass, &at, kept, &by_output, &cotangents, &mut by_input);
        at.release(&mut pass);
        let (by_parameters, derived) = gradients.whole();
        net.finish(state, derived, by_parameters).unwrap();
        check_slopes(&made, &input, (by_input, by_parameters.clone()), |state, input| {
            let (output, pushed, _) = run(state, input);
            dot(&output, &by_output) + dot(&pushed, &cotangents)
        });
    }
}

#[test]
fn attention_has_no_bound_and_no_jacobian() {
    let (with, state) = net(image(), true, RANDOM);
    assert!(!Conditioner::<f64>::is_lipschitz(&with));
    assert_eq!(Conditioner::<f64>::lipschitz(&with), f64::INFINITY);
    let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
    let mut pass = Pass::new(1, &state, &[], &mut workspace, &mut none);
    let error = with.linearize(&mut pass, &[0.0; 18], &mut [0.0; 12], false).unwrap_err();
    assert!(error.to_string().contains("attention is true"), "{error}");
    assert!(Conditioner::<f64>::is_lipschitz(&net(image(), false, RANDOM).0));
}

#[test]
fn what_cannot_be_built_is_an_error() {
    let last = LastLayer { start: &|_| Some(0.0) };
    let limited = NetOptions { lipschitz: Some(0.5), ..RANDOM };
    for (blocks, hidden, attention, options, says) in [
        (0, 4, false, RANDOM, "blocks is 0"),
        (1, 0, false, RANDOM, "hidden layer 0 is 0"),
        (1, 4, true, limited, "none beside attention"),
    ] {
        let mut builder = Builder::<f32>::new(0);
        let act = Activation::Relu;
        let shape = vector();
        let made =
            ResNet::new(&mut builder, shape, 2, last, blocks, hidden, act, attention, options);
        let error = made.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
