use super::*;
use crate::engine::{Gradients, Layout, Pass, State, Workspace};
use crate::testing::normal;
use crate::Memory;

/// A net of two numbers a feature, with random weights.
fn net(features: usize, context: usize, hidden: &[usize]) -> (Made, Layout, State<f64>) {
    net_with(NetOptions::default(), features, context, hidden)
}

fn net_with(
    options: NetOptions,
    features: usize,
    context: usize,
    hidden: &[usize],
) -> (Made, Layout, State<f64>) {
    let mut builder = Builder::new(3);
    let last = LastLayer { start: &|_| None };
    let made =
        Made::new(&mut builder, features, context, 2, last, hidden, Activation::Swish, options);
    let (layout, mut state) = builder.finish();
    let made = made.unwrap();
    prepare(&made, &mut state);
    (made, layout, state)
}

fn prepare(net: &Made, state: &mut State<f64>) {
    let State { values, derived, .. } = state;
    net.prepare(values, derived);
}

/// Whether a weight is kept: the definition, weight by weight.
fn kept(
    features: usize,
    context: usize,
    layer: usize,
    layers: usize,
    out: usize,
    input: usize,
) -> bool {
    let hidden = |unit: usize| match context {
        0 => 1 + unit % std::cmp::max(1, features - 1),
        _ => unit % features,
    };
    let below = match layer {
        0 if input < features => input + 1,
        0 => 0,
        _ => hidden(input),
    };
    if layer + 1 == layers {
        1 + out / 2 > below
    } else {
        hidden(out) >= below
    }
}

/// The net as nested loops, one row at a time.
fn slow(net: &Made, state: &State<f64>, x: &[f64], context: &[f64]) -> Vec<f64> {
    let mut below = [x, context].concat();
    let mut rest = &state.values.parameters[..];
    for (l, level) in net.levels.iter().enumerate() {
        let (weight, tail) = rest.split_at(level.below.len() * level.above.len());
        let (bias, tail) = tail.split_at(level.above.len());
        rest = tail;
        below = (0..bias.len())
            .map(|o| {
                let mut sum = bias[o];
                for (i, value) in below.iter().enumerate() {
                    if kept(x.len(), context.len(), l, net.levels.len(), o, i) {
                        sum += weight[o * below.len() + i] * value;
                    }
                }
                if l + 1 == net.levels.len() {
                    sum
                } else {
                    sum / (1.0 + (-sum).exp())
                }
            })
            .collect();
    }
    below
}

/// What the net gives each feature, feature by feature, opened in those bands.
fn outputs(
    net: &Made,
    state: &State<f64>,
    rows: usize,
    x: &[f64],
    context: &[f64],
    bands: impl Iterator<Item = Range<usize>>,
) -> Vec<Vec<f64>> {
    let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
    let mut pass = Pass::new(rows, state, context, &mut workspace, &mut none);
    let mut at = net.start(&mut pass, x);
    // What is not open yet must not be read.
    let inputs = net.places().end * rows;
    at.units[inputs..].fill(f64::NAN);
    bands.for_each(|band| net.open(&mut pass, &mut at, band));
    (0..net.features).map(|i| net.feature(&mut at, i).1.to_vec()).collect()
}

const CASES: [(usize, usize, &[usize]); 7] = [
    (1, 0, &[3]),
    (1, 2, &[3, 2]),
    (2, 0, &[5]),
    (5, 0, &[3, 2]),
    (5, 0, &[7, 11, 6]),
    (5, 2, &[9, 4]),
    (3, 1, &[]),
];

#[test]
fn values_are_those_of_nested_loops() {
    for (features, context, hidden) in CASES {
        let (net, _, state) = net(features, context, hidden);
        for rows in [1, 3] {
            let (x, c) = (normal(rows * features, 1), normal(rows * context, 2));
            let at_once = outputs(&net, &state, rows, &x, &c, net.bands());
            let in_turn = (0..=features).map(|degree| degree..degree + 1);
            let in_turn = outputs(&net, &state, rows, &x, &c, in_turn);
            for row in 0..rows {
                let x = &x[row * features..(row + 1) * features];
                let want = slow(&net, &state, x, &c[row * context..(row + 1) * context]);
                for (i, &want) in want.iter().enumerate() {
                    for got in [&at_once, &in_turn] {
                        let got = got[i / 2][row * 2 + i % 2];
                        assert!(
                            (got - want).abs() < 1e-14,
                            "{features}, {context}, {hidden:?}: output {i} is {got}, not {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn wide_nets_are_opened_in_bands() {
    assert_eq!(bands(4, &[500]), [0..1, 1..3, 3..5]);
    assert_eq!(bands(1, &[5000]), [0..1, 1..2]);
    assert_eq!(bands(4, &[]).len(), 1);
    let (net, _, state) = net(9, 0, &[300, 2 * BAND]);
    assert_eq!(net.bands.len(), 2);
    let x = normal(9, 1);
    let got = outputs(&net, &state, 1, &x, &[], net.bands()).concat();
    for (got, want) in got.iter().zip(slow(&net, &state, &x, &[])) {
        assert!((got - want).abs() < 1e-13, "{got}, expected {want}");
    }
}

/// The gradients by `x` and by the parameters where each output's gradient is a number drawn.
fn product(
    net: &Made,
    state: &State<f64>,
    rows: usize,
    x: &[f64],
    context: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let mut workspace = Workspace::default();
    let mut gradients = Gradients::zeros(state, context.len());
    let mut pass =
        Pass::new(rows, state, context, &mut workspace, &mut gradients).keeping(Memory::Stored);
    let mut at = net.start(&mut pass, x);
    net.bands().for_each(|band| net.open(&mut pass, &mut at, band));
    let mut by_x = vec![0.0; x.len()];
    let mut by = net.cotangents(&mut pass, &by_x);
    for i in 0..net.features {
        net.product(&mut at, &mut by, i, |_, parameters, _| {
            parameters.copy_from_slice(&normal(parameters.len(), i as u64));
        });
    }
    net.bands().rev().for_each(|band| net.close(&pass, &at, &mut by, band));
    net.give_gradients(&mut pass, at, by, &mut by_x);
    let (by_parameters, derived) = gradients.whole();
    net.finish(state, derived, by_parameters);
    (by_x, by_parameters.clone())
}

#[test]
fn a_feature_sees_those_before_it_and_no_other() {
    for (features, context, hidden) in CASES {
        let (net, _, state) = net(features, context, hidden);
        let (x, c) = (normal(features, 1), normal(context, 2));
        let before = outputs(&net, &state, 1, &x, &c, net.bands());
        // A layer without a unit of some degree hides that degree's feature from the next.
        let degrees = if context == 0 { features - 1 } else { features };
        let every = hidden.iter().all(|&width| width >= degrees);
        for moved in 0..features {
            let mut x = x.clone();
            x[moved] += 0.5;
            let after = outputs(&net, &state, 1, &x, &c, net.bands());
            for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                if i <= moved {
                    assert_eq!(before, after, "feature {i} sees feature {moved}");
                } else if every {
                    assert_ne!(before, after, "feature {i} does not see feature {moved}");
                }
            }
        }
    }
}

#[test]
fn numbers_under_a_mask_do_not_matter() {
    let options = NetOptions { lipschitz: Some(0.5), weight_norm: true, ..Default::default() };
    for (features, context, hidden) in CASES {
        for options in [NetOptions::default(), options] {
            let (net, layout, mut state) = net_with(options, features, context, hidden);
            let (x, c) = (normal(3 * features, 1), normal(3 * context, 2));
            let before = outputs(&net, &state, 3, &x, &c, net.bands());
            let (by_x, by_parameters) = product(&net, &state, 3, &x, &c);
            let weights = layout.entries.iter().filter(|entry| entry.shape.len() == 2);
            let mut masked = 0;
            for (l, entry) in weights.enumerate() {
                let width = entry.shape[1];
                for (i, at) in entry.range.clone().enumerate() {
                    if !kept(features, context, l, net.levels.len(), i / width, i % width) {
                        assert_eq!(by_parameters[at], 0.0, "gradient under the mask of layer {l}");
                        state.values.parameters[at] = f64::NAN;
                        masked += 1;
                    }
                }
            }
            assert!(masked > 0);
            prepare(&net, &mut state);
            assert_eq!(outputs(&net, &state, 3, &x, &c, net.bands()), before);
            assert_eq!(product(&net, &state, 3, &x, &c), (by_x, by_parameters));
        }
    }
}

#[test]
fn a_limit_counts_what_the_masks_leave() {
    let options = NetOptions { lipschitz: Some(1e6), ..NetOptions::default() };
    let (net, layout, mut state) = net_with(options, 4, 0, &[9, 6]);
    let x = normal(4, 1);
    let free = outputs(&net, &state, 1, &x, &[], net.bands());
    for (l, entry) in layout.entries.iter().filter(|entry| entry.shape.len() == 2).enumerate() {
        for (i, at) in entry.range.clone().enumerate() {
            let (out, input) = (i / entry.shape[1], i % entry.shape[1]);
            let far = if kept(4, 0, l, 3, out, input) { 1.0 } else { 1e9 };
            state.values.parameters[at] *= far;
        }
    }
    prepare(&net, &mut state);
    assert_eq!(outputs(&net, &state, 1, &x, &[], net.bands()), free);

    state.values.parameters.iter_mut().for_each(|p| *p *= 1e3);
    prepare(&net, &mut state);
    let widths = [(9, 4), (6, 9), (8, 6)];
    let norms = widths.iter().enumerate().map(|(i, &(outputs, inputs))| {
        crate::lipschitz::norm::norm(net.weights.used(&state, i), outputs, inputs)
    });
    let product = norms.product::<f64>() * Activation::Swish.lipschitz().powi(2);
    assert!(product <= 1e6 && product > 0.999e6, "{product}");
}

#[test]
fn names_and_starts_are_those_of_the_language() {
    let mut b = Builder::<f64>::new(1);
    let last = LastLayer { start: &|i| Some(i as f64) };
    let made = Made::new(&mut b, 3, 1, 2, last, &[8], Activation::Relu, NetOptions::default());
    let (layout, state) = b.finish();
    let names: Vec<_> = layout.entries.iter().map(|e| (e.name.as_str(), e.shape.clone())).collect();
    assert_eq!(
        names,
        [
            ("net.0.weight", vec![8, 4]),
            ("net.0.bias", vec![8]),
            ("net.1.weight", vec![6, 8]),
            ("net.1.bias", vec![6]),
        ]
    );
    let of = |i: usize| &state.values.parameters[layout.entries[i].range.clone()];
    assert!(of(0).iter().all(|v| v.abs() <= 0.5) && of(0).iter().any(|v| v.abs() > 0.4));
    assert!(of(2).iter().all(|&v| v == 0.0));
    assert_eq!(of(3), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(made.is_ok());
}

#[test]
fn impossible_nets_are_errors() {
    for (features, hidden, says) in [(3, &[4, 0][..], "hidden layer 1 is 0"), (0, &[4], "is 0")] {
        let last = LastLayer { start: &|_| Some(0.0) };
        let mut b = Builder::<f32>::new(0);
        let made = Made::new(
            &mut b,
            features,
            0,
            2,
            last,
            hidden,
            Activation::Relu,
            NetOptions::default(),
        );
        let error = made.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
