//! Residual and continuous blocks, on two numbers with a net of one hidden layer.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::Free;

use crate::{columns, compare_sized, flow_of, repeated, sums, transposed, Column, Rows, Weights};

const HIDDEN: usize = 4;

/// `tanh(W₁ x + b₁)` of the net's input.
fn hidden(weights: &Weights, x: Rows) -> Rows {
    let (rows, inputs) = *x.shape();
    let above = x.matmul(transposed(weights.matrix("0.net.0.weight", HIDDEN, inputs)));
    (above + repeated(weights.vector("0.net.0.bias"), rows)).tanh()
}

/// The slopes of the activation, from its values.
fn slopes(h: &Rows) -> Rows {
    h.with_empty_tape().square() * -1.0 + 1.0
}

/// `W₂ h + b₂`.
fn output(weights: &Weights, h: Rows) -> Rows {
    let rows = h.shape().0;
    let above = h.matmul(transposed(weights.matrix("0.net.1.weight", 2, HIDDEN)));
    above + repeated(weights.vector("0.net.1.bias"), rows)
}

/// The entry `∂f_i/∂x_j = Σₖ W₂[i,k]·sₖ·W₁[k,j]` of each row.
fn entry(weights: &Weights, slopes: Rows, inputs: usize, i: usize, j: usize) -> Column {
    let rows = slopes.shape().0;
    let w1 = columns(weights.matrix("0.net.0.weight", HIDDEN, inputs), [j].into_iter());
    let w2 = columns(transposed(weights.matrix("0.net.1.weight", 2, HIDDEN)), [i].into_iter());
    let both = (w1 * w2).reshape_like(&(HIDDEN,));
    sums(slopes * repeated(both, rows))
}

#[test]
fn a_residual_block_adds_its_net_and_takes_the_determinant() {
    let flow = flow_of!(Vector<2> { residual(lipschitz = 0.9, net = mlp([4], tanh)); });
    // So small that nothing is scaled down.
    compare_sized(Free(flow), 0.3, |weights, x, _| {
        let h = hidden(weights, x.with_empty_tape());
        let s = slopes(&h);
        let of = |i, j| entry(weights, s.with_empty_tape(), 2, i, j);
        let det = (of(0, 0) + 1.0) * (of(1, 1) + 1.0) - of(0, 1) * of(1, 0);
        // The slopes carry the tape of the net's hidden layer on, at no weight.
        (x + output(weights, h), det.ln() + sums(s * 0.0))
    });
}

/// The field and its trace at a time, which the net reads last.
fn field(weights: &Weights, x: Rows, time: f64) -> (Rows, Column) {
    let rows = x.shape().0;
    let x = crate::spread(x, 3, 0..2);
    let times = (0..3 * rows).map(|i| if i % 3 == 2 { time } else { 0.0 }).collect();
    let h = hidden(weights, x + Cpu::default().tensor_from_vec(times, (rows, 3)));
    let s = slopes(&h);
    let trace = entry(weights, s.with_empty_tape(), 3, 0, 0) + entry(weights, s, 3, 1, 1);
    (output(weights, h), trace)
}

#[test]
fn a_continuous_block_takes_the_classic_steps() {
    // One long step and back again is no identity: only so many that the round trip holds.
    let flow = flow_of!(Vector<2> { ode(net = mlp([4], tanh), time = 0.01, solver = rk4(2)); });
    compare_sized(Free(flow), 1.0, |weights, x, _| {
        let step = 0.005;
        let (mut x, mut log_det) = (x.with_empty_tape() + x * 0.0, None::<Column>);
        for k in 0..2 {
            let t = step * f64::from(k);
            let (k1, l1) = field(weights, x.with_empty_tape(), t);
            let at = |k: &Rows, by: f64| x.with_empty_tape() + k.with_empty_tape() * by;
            let (k2, l2) = field(weights, at(&k1, step / 2.0), t + step / 2.0);
            let (k3, l3) = field(weights, at(&k2, step / 2.0), t + step / 2.0);
            let (k4, l4) = field(weights, at(&k3, step), t + step);
            let sum = (l1 + l2 * 2.0 + l3 * 2.0 + l4) * (step / 6.0);
            log_det = Some(match log_det {
                Some(before) => before + sum,
                None => sum,
            });
            x = x + (k1 + k2 * 2.0 + k3 * 2.0 + k4) * (step / 6.0);
        }
        (x, log_det.expect("two steps"))
    });
}
