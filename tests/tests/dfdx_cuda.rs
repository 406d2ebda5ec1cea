//! Tensors of dfdx on a card, in and out of a flow there: needs card 0 and feature `dfdx-cuda`.

use dfdx::prelude::*;
use flow_core::cuda::Gpu;
use flow_core::prelude::*;

flow! {
    struct Plain: Vector<3> {
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
    }
}

fn close(what: &str, found: &[f32], want: &[f32]) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{what}[{i}] is {a}, not {b}");
    }
}

/// Every output, and the gradient of a loss of both by the batch, which is used twice.
#[test]
fn passes_and_gradients_are_those_of_the_cpu() {
    let (cpu, card) = (Cpu::default(), Cuda::default());
    let flow = Plain::<f32>::build(&cpu, 1).expect("a flow");
    let on_card = flow.on(Gpu::new(0).expect("a card")).expect("a flow on it");
    let mut numbers = vec![0.0; 3 * 5];
    Noise::seed(5).fill_normal(0, &mut numbers);

    let x = cpu.tensor_from_vec(numbers.clone(), (5, Const::<3>));
    let (z, log_det) = flow.forward(x.leaky_trace()).expect("a pass");
    let (found, by_number) = (z.as_vec(), log_det.as_vec());
    let loss = z.square().sum() + log_det.sum() + x.leaky_trace().square().sum();
    let want = loss.backward().get(&x).as_vec();

    let there = card.tensor_from_vec(numbers, (5, Const::<3>));
    let (z, log_det) = on_card.forward_on_card(there.leaky_trace()).expect("a pass on the card");
    close("latents", &z.as_vec(), &found);
    close("log-determinants", &log_det.as_vec(), &by_number);
    let loss = z.square().sum() + log_det.sum() + there.leaky_trace().square().sum();
    close("the gradient", &loss.backward().get(&there).as_vec(), &want);

    let log_prob = on_card.log_prob_on_card(there.leaky_trace()).expect("a density");
    let want = flow.log_prob(x.leaky_trace()).expect("a density");
    close("log-probabilities", &log_prob.as_vec(), &want.as_vec());
    let (mut want, found) = (want.sum().backward(), log_prob.sum().backward());
    close("its gradient", &found.get(&there).as_vec(), &want.get(&x).as_vec());
    let weights = on_card.weights_on_card(&card).expect("what gradients are by");
    let by_name = flow.gradients(&mut want).expect("gradients by name");
    let want: Vec<f32> = flow.parameters().flat_map(|p| by_name[p.name].clone()).collect();
    close("by the weights", &found.get(&weights).as_vec(), &want);

    let (z, _) = on_card.forward_on_card(there.clone()).expect("a pass without a tape");
    let (back, _) = on_card.inverse_on_card(z).expect("its inverse");
    close("data", &back.as_vec(), &there.as_vec());
}

/// The log-determinant's tape alone has nothing of the flow.
#[test]
fn a_dropped_tape_is_an_error() {
    let flow = Plain::<f32>::build(&Cpu::default(), 1).expect("a flow");
    let on_card = flow.on(Gpu::new(0).expect("a card")).expect("a flow on it");
    let x = Cuda::default().tensor_from_vec(vec![0.5; 6], (2, Const::<3>));
    let (_, log_det) = on_card.forward_on_card(x.leaky_trace()).expect("a pass");
    assert!(log_det.sum().try_backward().is_err());
    assert_eq!(on_card.last_error(), Some(FlowError::TapeDropped));
}
