//! Autoregressive blocks: the whole masked net, run once for each feature where the block goes in
//! sequence.

use std::iter::repeat_n;

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::{Conditioned, Free};

use crate::couplings::halves;
use crate::{compare, flow_of, places, repeated, spread, sums, transposed, Column, Rows, Weights};

/// (s, t) of each feature from a masked net with two hidden layers, by the definition of its masks.
fn net(weights: &Weights, hidden: [usize; 2], x: Rows, given: Option<Rows>) -> Rows {
    let (rows, features) = *x.shape();
    let context = given.as_ref().map_or(0, |given| given.shape().1);
    let unit = |j: usize| match context {
        0 => 1 + j % (features - 1).max(1),
        _ => j % features,
    };
    let degrees: [Vec<usize>; 4] = [
        (1..=features).chain(repeat_n(0, context)).collect(),
        (0..hidden[0]).map(unit).collect(),
        (0..hidden[1]).map(unit).collect(),
        (0..2 * features).map(|output| 1 + output / 2).collect(),
    ];
    let inputs = features + context;
    let mut h = spread(x, inputs, 0..features);
    if let Some(given) = given {
        h = h + spread(given, inputs, features..inputs);
    }
    for layer in 0..3 {
        let (below, above) = (&degrees[layer], &degrees[layer + 1]);
        let entries = (0..above.len()).flat_map(|i| (0..below.len()).map(move |j| (i, j)));
        let kept = entries.filter(|&(i, j)| match layer {
            2 => above[i] > below[j],
            _ => above[i] >= below[j],
        });
        let mask = places((above.len(), below.len()), kept);
        let name = |part: &str| format!("0.net.{layer}.{part}");
        let weight = weights.matrix(&name("weight"), above.len(), below.len()) * mask;
        let sum = h.matmul(transposed(weight)) + repeated(weights.vector(&name("bias")), rows);
        h = if layer < 2 { sum.tanh() } else { sum };
    }
    h
}

/// All features at once.
fn parallel(weights: &Weights, hidden: [usize; 2], x: Rows, given: Option<Rows>) -> (Rows, Column) {
    let (s, t) = halves(net(weights, hidden, x.with_empty_tape(), given));
    let log_det = sums(s.with_empty_tape());
    (x * s.exp() + t, log_det)
}

/// Feature by feature: each round, one more is right.
fn sequential(
    weights: &Weights,
    hidden: [usize; 2],
    z: Rows,
    given: Option<Rows>,
) -> (Rows, Column) {
    let rounds = z.shape().1;
    let mut x = z.with_empty_tape() * 0.0;
    for round in 1.. {
        let given = given.as_ref().map(|given| given.with_empty_tape());
        let (s, t) = halves(net(weights, hidden, x, given));
        let minus = s * -1.0;
        let log_det = (round == rounds).then(|| sums(minus.with_empty_tape()));
        x = (z.with_empty_tape() - t) * minus.exp();
        if let Some(log_det) = log_det {
            return (x, log_det);
        }
    }
    unreachable!("the last round returns")
}

#[test]
fn a_masked_block_is_its_masked_net() {
    let flow = flow_of!(Vector<5> { masked_autoregressive(affine, net = made([7, 11], tanh)); });
    compare(Free(flow), |weights, x, _| parallel(weights, [7, 11], x, None));
    let flow = flow_of!(Vector<4> given Vector<2> {
        masked_autoregressive(affine, net = made([9, 6], tanh));
    });
    compare(Conditioned::<_, _, 2>(flow), |weights, x, given| {
        parallel(weights, [9, 6], x, Some(given))
    });
}

#[test]
fn an_inverse_block_runs_the_net_for_each_feature() {
    let flow = flow_of!(Vector<5> { inverse_autoregressive(affine, net = made([7, 11], tanh)); });
    compare(Free(flow), |weights, x, _| sequential(weights, [7, 11], x, None));
    let flow = flow_of!(Vector<4> given Vector<2> {
        inverse_autoregressive(affine, net = made([9, 6], tanh));
    });
    compare(Conditioned::<_, _, 2>(flow), |weights, x, given| {
        sequential(weights, [9, 6], x, Some(given))
    });
}
