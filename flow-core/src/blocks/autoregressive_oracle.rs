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

            type Vector<const N: usize> = Tensor<Rank1<N>, $e, Cpu>;
            type Matrix<const M: usize, const N: usize> = Tensor<Rank2<M, N>, $e, Cpu>;
            type Traced<const M: usize, const N: usize> =
                Tensor<Rank2<M, N>, $e, Cpu, OwnedTape<$e, Cpu>>;

            fn tensor<S: ConstShape>(numbers: Vec<$e>) -> Tensor<S, $e, Cpu> {
                Cpu::default().tensor_from_vec(numbers, S::default())
            }

            /// 1 at the column that each row is given.
            fn place<const M: usize, const N: usize>(column: fn(usize) -> usize) -> Matrix<M, N> {
                let one = |i: usize| if i % N == column(i / N) { 1.0 } else { 0.0 };
                tensor((0..M * N).map(one).collect())
            }

            fn layer<const M: usize, const N: usize>(
                x: Traced<ROWS, N>,
                (weight, bias): &(Matrix<M, N>, Vector<M>),
                (above, below): (&[usize], &[usize]),
            ) -> Traced<ROWS, M> {
                let (x, tape) = x.split_tape();
                let masked = weight.clone().put_tape(tape) * tensor(mask(above, below));
                let (weight, tape): (Matrix<N, M>, _) = masked.permute().split_tape();
                let bias = bias.clone().put_tape(tape).broadcast::<Rank2<ROWS, M>, _>();
                let (bias, tape) = bias.split_tape();
                x.put_tape(tape).matmul(weight) + bias
            }

            fn oracle(case: &Case<$e>, parameters: &[$e], inverse: bool) -> Outcome<$e> {
                let mut rest = parameters;
                let mut next = |len: usize| {
                    let (part, tail) = rest.split_at(len);
                    rest = tail;
                    part.to_vec()
                };
                let first: (Matrix<FIRST, INPUTS>, Vector<FIRST>) =
                    (tensor(next(FIRST * INPUTS)), tensor(next(FIRST)));
                let second: (Matrix<SECOND, FIRST>, Vector<SECOND>) =
                    (tensor(next(SECOND * FIRST)), tensor(next(SECOND)));
                let last: (Matrix<OUTPUTS, SECOND>, Vector<OUTPUTS>) =
                    (tensor(next(OUTPUTS * SECOND)), tensor(next(OUTPUTS)));
                let rows: Matrix<ROWS, FEATURES> = tensor(case.input.clone());
                let context: Matrix<ROWS, CONTEXT> = tensor(case.context.clone());

                let inputs = [1, 2, 3, 4, 5, 0, 0];
                let hidden = |width: usize| (0..width).map(|j| j % FEATURES).collect::<Vec<_>>();
                let (lower, upper) = (hidden(FIRST), hidden(SECOND));
                let outputs: Vec<usize> = (0..OUTPUTS).map(|o| o / 2).collect();
                // (s, t) of every feature.
                let net = |x: Traced<ROWS, FEATURES>| {
                    let (x, tape) = x.split_tape();
                    let (beside, tape) = context
                        .clone()
                        .put_tape(tape)
                        .matmul(place::<CONTEXT, INPUTS>(|i| FEATURES + i))
                        .split_tape();
                    let x = x.put_tape(tape).matmul(place::<FEATURES, INPUTS>(|i| i)) + beside;
                    let h = layer(x, &first, (&lower, &inputs)).tanh();
                    let h = layer(h, &second, (&upper, &lower)).tanh();
                    let (theta, tape) = layer(h, &last, (&outputs, &upper)).split_tape();
                    let pick = |at: fn(usize) -> usize| -> Matrix<OUTPUTS, FEATURES> {
                        place::<FEATURES, OUTPUTS>(at).permute()
                    };
                    let (s, tape) =
                        theta.clone().put_tape(tape).matmul(pick(|i| 2 * i)).split_tape();
                    (s, theta.put_tape(tape).matmul(pick(|i| 2 * i + 1)))
                };

                let tape = rows.leaky_trace().split_tape().1;
                let (out, log_slope, tape) = if inverse {
                    // One more feature is right after each round.
                    let zeros: Matrix<ROWS, FEATURES> = Cpu::default().zeros();
                    let (mut x, mut log_slope) = (zeros.clone().put_tape(tape), zeros);
                    for _ in 0..FEATURES {
                        let (s, t) = net(x);
                        let (shifted, tape) = (t.negate() + rows.clone()).split_tape();
                        let (minus, tape) = s.put_tape(tape).negate().split_tape();
                        let (factor, tape) = minus.clone().put_tape(tape).exp().split_tape();
                        x = shifted.put_tape(tape) * factor;
                        log_slope = minus;
                    }
                    let (x, tape) = x.split_tape();
                    (x, log_slope, tape)
                } else {
                    let (s, t) = net(rows.clone().put_tape(tape));
                    let (t, tape) = t.split_tape();
                    let (factor, tape) = s.clone().put_tape(tape).exp().split_tape();
                    let (z, tape) = (rows.clone().put_tape(tape) * factor + t).split_tape();
                    (z, s, tape)
                };
                let (log_det, tape) =
                    log_slope.put_tape(tape).sum::<Rank1<ROWS>, _>().split_tape();
                let part = log_det.clone().put_tape(tape) * tensor(case.by_log_det.clone());
                let (part, tape) = part.sum().split_tape();
                let loss = out.clone().put_tape(tape) * tensor(case.by_output.clone());
                let gradients = (loss.sum() + part).backward();
                let by_parameters = [
                    gradients.get(&first.0).as_vec(),
                    gradients.get(&first.1).as_vec(),
                    gradients.get(&second.0).as_vec(),
                    gradients.get(&second.1).as_vec(),
                    gradients.get(&last.0).as_vec(),
                    gradients.get(&last.1).as_vec(),
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
