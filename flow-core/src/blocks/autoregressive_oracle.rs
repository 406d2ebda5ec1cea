//! The block against plain dfdx operations: masked matrices as they stand in the definition, the
//! whole net run once for each feature where the block goes in sequence, and gradients by autograd.

use dfdx::prelude::*;

use super::block;
use crate::blocks::MaskedAutoregressive;
use crate::engine::{Builder, Gradients, Pass, State, Workspace};
use crate::transforms::{Affine, Scale};
use crate::{Block, Memory, Noise, Scalar};

const ROWS: usize = 6;
const FEATURES: usize = 5;
const CONTEXT: usize = 2;
const FIRST: usize = 7;
const SECOND: usize = 11;
const INPUTS: usize = FEATURES + CONTEXT;
const OUTPUTS: usize = 2 * FEATURES;

/// Numbers of one pass and its product.
struct Outcome<E> {
    rows: Vec<E>,
    log_det: Vec<E>,
    by_input: Vec<E>,
    by_context: Vec<E>,
    by_parameters: Vec<E>,
}

struct Case<E> {
    input: Vec<E>,
    context: Vec<E>,
    by_output: Vec<E>,
    by_log_det: Vec<E>,
}

impl<E: Scalar> Case<E> {
    fn new() -> Self {
        let draw = |name: &str, len: usize| {
            let mut numbers = vec![E::zero(); len];
            Noise::seed(4).named(name).fill_normal(0, &mut numbers);
            numbers
        };
        Self {
            input: draw("input", ROWS * FEATURES),
            context: draw("context", ROWS * CONTEXT),
            by_output: draw("by output", ROWS * FEATURES),
            by_log_det: draw("by log_det", ROWS),
        }
    }

    /// The block's own.
    fn run(
        &self,
        block: &MaskedAutoregressive<Affine>,
        state: &State<E>,
        inverse: bool,
    ) -> Outcome<E> {
        let (mut workspace, mut gradients) = (Workspace::default(), Gradients::default());
        gradients.parameters.resize(state.values.parameters.len(), E::zero());
        gradients.derived.resize(state.derived.len(), E::zero());
        gradients.context.resize(self.context.len(), E::zero());
        let mut pass = Pass::new(ROWS, state, &self.context, &mut workspace, &mut gradients)
            .keeping(Memory::Stored);
        let (mut rows, mut log_det) = (self.input.clone(), vec![E::zero(); ROWS]);
        let mut by_input = self.by_output.clone();
        if inverse {
            block.inverse(&mut pass, &mut rows, &mut log_det).unwrap();
            block.inverse_vjp(&mut pass, &mut by_input, &self.by_log_det).unwrap();
        } else {
            block.forward(&mut pass, &mut rows, &mut log_det).unwrap();
            block.forward_vjp(&mut pass, &mut by_input, &self.by_log_det).unwrap();
        }
        block.finish(state, &gradients.derived, &mut gradients.parameters).unwrap();
        let (by_context, by_parameters) = (gradients.context, gradients.parameters);
        Outcome { rows, log_det, by_input, by_context, by_parameters }
    }
}

fn made<E: Scalar>() -> (MaskedAutoregressive<Affine>, State<E>) {
    let mut b = Builder::new(2);
    let affine = Affine::new(Scale::Exp);
    let made = block(&mut b, FEATURES, CONTEXT, &[FIRST, SECOND], affine).unwrap();
    let (_, mut state) = b.finish();
    let noise = Noise::seed(6);
    for (i, p) in state.values.parameters.iter_mut().enumerate() {
        *p += E::of(0.3 * noise.normal(i as u64));
    }
    let State { values, derived, .. } = &mut state;
    made.prepare(values, derived).unwrap();
    (made, state)
}

/// 1 where a weight is kept.
fn mask<E: Scalar>(above: &[usize], below: &[usize]) -> Vec<E> {
    let pairs = above.iter().flat_map(|a| below.iter().map(move |b| a >= b));
    pairs.map(|kept| E::of(f64::from(u8::from(kept)))).collect()
}

fn close<E: Scalar>(what: &str, got: &[E], want: &[E], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (got, want) = (got.as_f64(), want.as_f64());
        let error = (got - want).abs() / want.abs().max(1.0);
        assert!(error < tolerance, "{what}[{i}] is {got}, not {want}");
    }
}

macro_rules! oracle {
    ($name:ident: $e:ty, $tolerance:literal) => {
        mod $name {
            use super::*;

            type Matrix<const M: usize, const N: usize> = Tensor<Rank2<M, N>, $e, Cpu>;
            type Traced<const M: usize, const N: usize> =
                Tensor<Rank2<M, N>, $e, Cpu, OwnedTape<$e, Cpu>>;

            fn oracle(case: &Case<$e>, parameters: &[$e], inverse: bool) -> Outcome<$e> {
                let cpu = Cpu::default();
                let mut rest = parameters;
                let mut next = |len: usize| {
                    let (part, tail) = rest.split_at(len);
                    rest = tail;
                    part.to_vec()
                };
                let first: Matrix<FIRST, INPUTS> =
                    cpu.tensor_from_vec(next(FIRST * INPUTS), (Const, Const));
                let first_bias: Tensor<Rank1<FIRST>, $e, Cpu> =
                    cpu.tensor_from_vec(next(FIRST), (Const,));
                let second: Matrix<SECOND, FIRST> =
                    cpu.tensor_from_vec(next(SECOND * FIRST), (Const, Const));
                let second_bias: Tensor<Rank1<SECOND>, $e, Cpu> =
                    cpu.tensor_from_vec(next(SECOND), (Const,));
                let last: Matrix<OUTPUTS, SECOND> =
                    cpu.tensor_from_vec(next(OUTPUTS * SECOND), (Const, Const));
                let last_bias: Tensor<Rank1<OUTPUTS>, $e, Cpu> =
                    cpu.tensor_from_vec(next(OUTPUTS), (Const,));

                let input_degrees = [1, 2, 3, 4, 5, 0, 0];
                let hidden = |width: usize| (0..width).map(|j| j % FEATURES).collect::<Vec<_>>();
                let outputs: Vec<usize> = (0..OUTPUTS).map(|o| o / 2).collect();
                let mask_first: Matrix<FIRST, INPUTS> =
                    cpu.tensor_from_vec(mask(&hidden(FIRST), &input_degrees), (Const, Const));
                let mask_second: Matrix<SECOND, FIRST> =
                    cpu.tensor_from_vec(mask(&hidden(SECOND), &hidden(FIRST)), (Const, Const));
                let mask_last: Matrix<OUTPUTS, SECOND> =
                    cpu.tensor_from_vec(mask(&outputs, &hidden(SECOND)), (Const, Const));
                // Matrices that put features and context side by side, and take s and t apart.
                let place = |rows: usize, columns: usize, at: &dyn Fn(usize) -> usize| {
                    let mut numbers = vec![0.0; rows * columns];
                    (0..rows).for_each(|i| numbers[i * columns + at(i)] = 1.0);
                    numbers
                };
                let take = |from: &dyn Fn(usize) -> usize| {
                    let mut numbers = vec![0.0; OUTPUTS * FEATURES];
                    (0..FEATURES).for_each(|i| numbers[from(i) * FEATURES + i] = 1.0);
                    numbers
                };
                let put_features: Matrix<FEATURES, INPUTS> =
                    cpu.tensor_from_vec(place(FEATURES, INPUTS, &|i| i), (Const, Const));
                let put_context: Matrix<CONTEXT, INPUTS> =
                    cpu.tensor_from_vec(place(CONTEXT, INPUTS, &|i| FEATURES + i), (Const, Const));
                let get_s: Matrix<OUTPUTS, FEATURES> =
                    cpu.tensor_from_vec(take(&|i| 2 * i), (Const, Const));
                let get_t: Matrix<OUTPUTS, FEATURES> =
                    cpu.tensor_from_vec(take(&|i| 2 * i + 1), (Const, Const));

                let rows: Matrix<ROWS, FEATURES> =
                    cpu.tensor_from_vec(case.input.clone(), (Const, Const));
                let context: Matrix<ROWS, CONTEXT> =
                    cpu.tensor_from_vec(case.context.clone(), (Const, Const));
                let by_rows: Matrix<ROWS, FEATURES> =
                    cpu.tensor_from_vec(case.by_output.clone(), (Const, Const));
                let by_log_det: Tensor<Rank1<ROWS>, $e, Cpu> =
                    cpu.tensor_from_vec(case.by_log_det.clone(), (Const,));

                let net = |x: Traced<ROWS, FEATURES>| -> Traced<ROWS, OUTPUTS> {
                    let (x, tape) = x.split_tape();
                    let (w1, tape) =
                        (first.clone().put_tape(tape) * mask_first.clone()).split_tape();
                    let (w2, tape) =
                        (second.clone().put_tape(tape) * mask_second.clone()).split_tape();
                    let (w3, tape) = (last.clone().put_tape(tape) * mask_last.clone()).split_tape();
                    let (w1, tape): (Matrix<INPUTS, FIRST>, _) =
                        w1.put_tape(tape).permute().split_tape();
                    let (w2, tape): (Matrix<FIRST, SECOND>, _) =
                        w2.put_tape(tape).permute().split_tape();
                    let (w3, tape): (Matrix<SECOND, OUTPUTS>, _) =
                        w3.put_tape(tape).permute().split_tape();
                    let (b1, tape): (Matrix<ROWS, FIRST>, _) =
                        first_bias.clone().put_tape(tape).broadcast().split_tape();
                    let (b2, tape): (Matrix<ROWS, SECOND>, _) =
                        second_bias.clone().put_tape(tape).broadcast().split_tape();
                    let (b3, tape): (Matrix<ROWS, OUTPUTS>, _) =
                        last_bias.clone().put_tape(tape).broadcast().split_tape();
                    let (beside, tape) =
                        context.clone().put_tape(tape).matmul(put_context.clone()).split_tape();
                    let x = x.put_tape(tape).matmul(put_features.clone()) + beside;
                    let h = (x.matmul(w1) + b1).tanh();
                    let h = (h.matmul(w2) + b2).tanh();
                    h.matmul(w3) + b3
                };
                let split = |x: Traced<ROWS, FEATURES>| {
                    let (theta, tape) = net(x).split_tape();
                    let (s, tape) =
                        theta.clone().put_tape(tape).matmul(get_s.clone()).split_tape();
                    (s, theta.put_tape(tape).matmul(get_t.clone()))
                };

                let tape = rows.leaky_trace().split_tape().1;
                let (out, s, tape) = if inverse {
                    // One more feature is right after each round.
                    let zeros: Matrix<ROWS, FEATURES> = cpu.zeros();
                    let (mut x, mut log_slope) = (zeros.clone().put_tape(tape), zeros);
                    for _ in 0..FEATURES {
                        let (s, t) = split(x);
                        let (shifted, tape) = (t.negate() + rows.clone()).split_tape();
                        let (minus, tape) = s.put_tape(tape).negate().split_tape();
                        let (factor, tape) = minus.clone().put_tape(tape).exp().split_tape();
                        x = shifted.put_tape(tape) * factor;
                        log_slope = minus;
                    }
                    let (x, tape) = x.split_tape();
                    (x, log_slope, tape)
                } else {
                    let (s, t) = split(rows.clone().put_tape(tape));
                    let (t, tape) = t.split_tape();
                    let (factor, tape) = s.clone().put_tape(tape).exp().split_tape();
                    let (z, tape) = (rows.clone().put_tape(tape) * factor + t).split_tape();
                    (z, s, tape)
                };
                let (log_det, tape) = s.put_tape(tape).sum::<Rank1<ROWS>, _>().split_tape();
                let (one, tape) =
                    (log_det.clone().put_tape(tape) * by_log_det).sum().split_tape();
                let loss = (out.clone().put_tape(tape) * by_rows).sum() + one;
                let gradients = loss.backward();
                let by_parameters = [
                    gradients.get(&first).as_vec(),
                    gradients.get(&first_bias).as_vec(),
                    gradients.get(&second).as_vec(),
                    gradients.get(&second_bias).as_vec(),
                    gradients.get(&last).as_vec(),
                    gradients.get(&last_bias).as_vec(),
                ];
                Outcome {
                    rows: out.as_vec(),
                    log_det: log_det.as_vec(),
                    by_input: gradients.get(&rows).as_vec(),
                    by_context: gradients.get(&context).as_vec(),
                    by_parameters: by_parameters.concat(),
                }
            }

            #[test]
            fn both_directions_and_their_products_are_those_of_the_whole_net() {
                let (block, state) = made::<$e>();
                let case = Case::<$e>::new();
                for inverse in [false, true] {
                    let got = case.run(&block, &state, inverse);
                    let want = oracle(&case, &state.values.parameters, inverse);
                    close("the output", &got.rows, &want.rows, $tolerance);
                    close("log_det", &got.log_det, &want.log_det, $tolerance);
                    close("by the input", &got.by_input, &want.by_input, $tolerance);
                    close("by the context", &got.by_context, &want.by_context, $tolerance);
                    close("by the weights", &got.by_parameters, &want.by_parameters, $tolerance);
                }
            }
        }
    };
}

oracle!(double: f64, 1e-12);
oracle!(single: f32, 2e-5);
