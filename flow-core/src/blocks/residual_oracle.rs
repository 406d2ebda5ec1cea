//! The block on two features in operations of dfdx, one entry of the Jacobian after the other.

use dfdx::prelude::*;

type Rows = Tensor<Rank1<4>, f64, Cpu>;
type Hidden = Tensor<Rank1<5>, f64, Cpu>;
type Taped<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;

fn wide(v: &Hidden) -> Taped<Rank2<4, 5>> {
    v.leaky_trace().broadcast()
}

fn sum(v: Taped<Rank2<4, 5>>) -> Taped<Rank1<4>> {
    v.sum::<Rank1<4>, Axis<1>>()
}

/// Outputs, log-determinants, and the gradients by x and by the parameters in their order.
pub(super) fn run(
    x: &[f64],
    parameters: &[f64],
    cotangent: &[f64],
    by_log_det: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
    let cpu = Cpu::default();
    let rows = |v: Vec<f64>| -> Rows { cpu.tensor_from_vec(v, (Const::<4>,)) };
    let hidden = |v: Vec<f64>| -> Hidden { cpu.tensor_from_vec(v, (Const::<5>,)) };
    let column = |v: &[f64], j: usize| v.iter().skip(j).step_by(2).copied().collect::<Vec<_>>();
    let x = [0, 1].map(|j| rows(column(x, j)));
    let first = [0, 1].map(|j| hidden(column(&parameters[..10], j)));
    let bias = hidden(parameters[10..15].to_vec());
    let last = [0, 1].map(|i| hidden(parameters[15 + 5 * i..][..5].to_vec()));
    let last_bias = [0, 1].map(|i| cpu.tensor(parameters[25 + i]));

    let read = |j: usize| -> Taped<Rank2<4, 5>> {
        x[j].leaky_trace().broadcast::<Rank2<4, 5>, Axis<1>>() * wide(&first[j])
    };
    let values = (read(0) + read(1) + wide(&bias)).tanh();
    let values_only = values.with_empty_tape();
    let slopes = values.square().negate() + 1.0;
    let output = |i: usize| -> Taped<Rank1<4>> {
        let bias = last_bias[i].leaky_trace().broadcast::<Rank1<4>, _>();
        sum(wide(&last[i]) * values_only.with_empty_tape()) + bias + x[i].leaky_trace()
    };
    let slopes_only = slopes.with_empty_tape();
    let jacobian = |i: usize, j: usize| -> Taped<Rank1<4>> {
        let entry = sum(wide(&last[i]) * wide(&first[j]) * slopes_only.with_empty_tape());
        if i == j {
            entry + 1.0
        } else {
            entry
        }
    };
    let determinant = jacobian(0, 0) * jacobian(1, 1) - jacobian(0, 1) * jacobian(1, 0);
    let log_det = determinant.ln();
    let (a, b) = (output(0), output(1));
    let y = [a.as_vec(), b.as_vec()];
    let y = (0..8).map(|i| y[i % 2][i / 2]).collect();
    let numbers = log_det.as_vec();
    let loss = (a * rows(column(cotangent, 0))).sum::<Rank0, _>()
        + (b * rows(column(cotangent, 1))).sum::<Rank0, _>()
        + (log_det * rows(by_log_det.to_vec())).sum::<Rank0, _>()
        // The operations that all of these share.
        + (slopes * 0.0).sum::<Rank0, _>();
    let gradients = loss.backward();
    let by_x = x.each_ref().map(|x| gradients.get(x).as_vec());
    let by_x = (0..8).map(|i| by_x[i % 2][i / 2]).collect();
    let by_first = first.each_ref().map(|w| gradients.get(w).as_vec());
    let mut all: Vec<f64> = (0..10).map(|i| by_first[i % 2][i / 2]).collect();
    all.extend(gradients.get(&bias).as_vec());
    last.iter().for_each(|w| all.extend(gradients.get(w).as_vec()));
    last_bias.iter().for_each(|b| all.push(gradients.get(b).array()));
    (y, numbers, by_x, all)
}
