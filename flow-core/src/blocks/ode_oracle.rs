//! The block on two features in operations of dfdx: two steps of the classic method, with the trace
//! of the Jacobian by hand and all gradients by dfdx.

use dfdx::prelude::*;

type Rows = Tensor<Rank1<4>, f64, Cpu>;
type Hidden = Tensor<Rank1<5>, f64, Cpu>;
type Taped<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;
type Column = Taped<Rank1<4>>;

struct Net {
    /// Weights of the hidden layer by the two features and the time.
    first: [Hidden; 3],
    bias: Hidden,
    last: [Hidden; 2],
    last_bias: [Tensor<Rank0, f64, Cpu>; 2],
}

fn wide(v: &Hidden) -> Taped<Rank2<4, 5>> {
    v.leaky_trace().broadcast()
}

fn sum(v: Taped<Rank2<4, 5>>) -> Column {
    v.sum::<Rank1<4>, Axis<1>>()
}

impl Net {
    /// The slopes of both features and of the integrated trace.
    fn slopes(&self, [a, b]: [Column; 2], t: f64) -> [Column; 3] {
        let read = a.broadcast::<Rank2<4, 5>, Axis<1>>() * wide(&self.first[0])
            + b.broadcast::<Rank2<4, 5>, Axis<1>>() * wide(&self.first[1]);
        let values = (read + wide(&self.first[2]) * t + wide(&self.bias)).tanh();
        let output = |i: usize| -> Column {
            let bias = self.last_bias[i].leaky_trace().broadcast::<Rank1<4>, _>();
            sum(wide(&self.last[i]) * values.with_empty_tape()) + bias
        };
        let (first, second) = (output(0), output(1));
        let diagonal =
            wide(&self.last[0]) * wide(&self.first[0]) + wide(&self.last[1]) * wide(&self.first[1]);
        [first, second, sum(diagonal * (values.square().negate() + 1.0))]
    }
}

/// `x + by·slope`, leaving the tapes where they are.
fn moved(x: &[Column; 2], slopes: &[Column; 3], by: f64) -> [Column; 2] {
    [0, 1].map(|i| x[i].with_empty_tape() + slopes[i].with_empty_tape() * by)
}

/// Outputs, log-determinants, and the gradients by x and by the parameters in their order.
pub(super) fn run(
    x: &[f64],
    parameters: &[f64],
    cotangent: &[f64],
    by_log_det: &[f64],
    time: f64,
) -> [Vec<f64>; 4] {
    let cpu = Cpu::default();
    let rows = |v: Vec<f64>| -> Rows { cpu.tensor_from_vec(v, (Const::<4>,)) };
    let hidden = |v: Vec<f64>| -> Hidden { cpu.tensor_from_vec(v, (Const::<5>,)) };
    let column =
        |v: &[f64], j: usize, of: usize| v.iter().skip(j).step_by(of).copied().collect::<Vec<_>>();
    let net = Net {
        first: [0, 1, 2].map(|j| hidden(column(&parameters[..15], j, 3))),
        bias: hidden(parameters[15..20].to_vec()),
        last: [0, 1].map(|i| hidden(parameters[20 + 5 * i..][..5].to_vec())),
        last_bias: [0, 1].map(|i| cpu.tensor(parameters[30 + i])),
    };
    let inputs = [0, 1].map(|j| rows(column(x, j, 2)));
    let h = time / 2.0;
    let mut at = inputs.each_ref().map(|x| x.leaky_trace());
    let mut log_det = rows(vec![0.0; 4]).leaky_trace();
    for step in 0..2 {
        let t = h * f64::from(step);
        let copy = at.each_ref().map(|x| x.with_empty_tape());
        let k1 = net.slopes(copy, t);
        let k2 = net.slopes(moved(&at, &k1, 0.5 * h), t + 0.5 * h);
        let k3 = net.slopes(moved(&at, &k2, 0.5 * h), t + 0.5 * h);
        let k4 = net.slopes(moved(&at, &k3, h), t + h);
        let [a, b] = at;
        let mut next = [a, b, log_det].into_iter();
        let mut slopes = [k1, k2, k3, k4].map(|k| k.into_iter());
        let [a, b, l] = [(); 3].map(|()| {
            let [k1, k2, k3, k4] = slopes.each_mut().map(|k| k.next().unwrap());
            next.next().unwrap() + (k1 + k2 * 2.0 + k3 * 2.0 + k4) * (h / 6.0)
        });
        (at, log_det) = ([a, b], l);
    }
    let [a, b] = at;
    let y = [a.as_vec(), b.as_vec()];
    let y = (0..8).map(|i| y[i % 2][i / 2]).collect();
    let numbers = log_det.as_vec();
    let loss = (a * rows(column(cotangent, 0, 2))).sum::<Rank0, _>()
        + (b * rows(column(cotangent, 1, 2))).sum::<Rank0, _>()
        + (log_det * rows(by_log_det.to_vec())).sum::<Rank0, _>();
    let gradients = loss.backward();
    let by_x = inputs.each_ref().map(|x| gradients.get(x).as_vec());
    let by_x = (0..8).map(|i| by_x[i % 2][i / 2]).collect();
    let by_first = net.first.each_ref().map(|w| gradients.get(w).as_vec());
    let mut all: Vec<f64> = (0..15).map(|i| by_first[i % 3][i / 3]).collect();
    all.extend(gradients.get(&net.bias).as_vec());
    net.last.iter().for_each(|w| all.extend(gradients.get(w).as_vec()));
    net.last_bias.iter().for_each(|b| all.push(gradients.get(b).array()));
    [y, numbers, by_x, all]
}
