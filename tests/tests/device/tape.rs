//! Passes on a device as operations on dfdx's tape: gradients by batch, context and every weight,
//! against those of the flow on the CPU.

use std::collections::BTreeMap;

use dfdx::optim::{Adam as DfdxAdam, AdamConfig};
use dfdx::prelude::*;
use flow_core::prelude::{flow, Flow, FlowError, NormalizingFlow};
use flow_core::Architecture;
use flow_tests::device::chosen as gpu;
use flow_tests::numeric;
use flow_tests::weights::{self, normal};

flow! {
    struct Plain: Vector<3> {
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
        linear(lu);
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
    }

    #[base(mixture(2))]
    struct Given: Vector<4> given Vector<2> {
        linear(svd);
        affine_coupling(keep = even, scale = tanh(1.0), net = mlp([6], swish, weight_norm = true, zero_init = false));
        linear(orthogonal);
    }

    struct Images: Image<1, 4, 4> {
        multiscale 2 {
            squeeze(2);
            actnorm;
            conv1x1(lu);
            affine_coupling(scale = tanh(0.5), net = conv([3, 1], hidden = 4, relu, zero_init = false));
        }
    }

    struct Solved: Vector<2> {
        residual(lipschitz = 0.8, net = mlp([8], swish, zero_init = false));
    }
}

type Cpu = dfdx::prelude::Cpu;
type Rows<const C: usize> = Tensor<(usize, Const<C>), f32, Cpu>;

fn rows<const C: usize>(name: &str, count: usize) -> Rows<C> {
    Cpu::default().tensor_from_vec(normal(name, C * count), (count, Const))
}

fn close(what: &str, found: &[f32], want: &[f32]) {
    super::close(what, found, want, 1e-4);
}

/// The gradients of a loss by a flow's weights, each compared with another's.
fn same_weights<A: Architecture<f32>>(
    flow: &Flow<A, f32>,
    found: &mut Gradients<f32, Cpu>,
    want: &mut Gradients<f32, Cpu>,
) {
    let [found, want]: [BTreeMap<&str, Vec<f32>>; 2] =
        [found, want].map(|gradients| flow.gradients(gradients).expect("gradients by name"));
    assert!(!want.is_empty() && want.values().flatten().any(|&v| v != 0.0));
    assert_eq!(found.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    want.iter().for_each(|(name, want)| close(name, &found[name], want));
}

/// A loss of both outputs of a pass, of a batch that is used elsewhere as well, so that gradients must
/// be added to what is there.
macro_rules! check_passes {
    ($flow:expr, $on_gpu:expr, $x:expr, $z:expr) => {{
        let (flow, on_gpu, x, z) = (&$flow, &$on_gpu, $x, $z);
        macro_rules! gradients {
            ($on:expr, $pass:ident, $from:expr) => {{
                let (y, log_det) = $on.$pass($from.leaky_trace()).expect("a pass");
                let seen = [y.as_vec(), log_det.as_vec()];
                let again = $from.leaky_trace().cos().sum();
                let gradients = (y.square().sum() + (log_det * 0.7).sum() + again).backward();
                let by_batch = gradients.get(&$from).as_vec();
                (seen, by_batch, gradients)
            }};
        }
        for ((seen, by_batch, mut found), (want_seen, want_by_batch, mut want)) in [
            (gradients!(on_gpu, forward, x), gradients!(flow, forward, x)),
            (gradients!(on_gpu, inverse, z), gradients!(flow, inverse, z)),
        ] {
            close("the output", &seen[0], &want_seen[0]);
            close("log-determinants", &seen[1], &want_seen[1]);
            close("by the batch", &by_batch, &want_by_batch);
            same_weights(flow, &mut found, &mut want);
        }
        let (found, want) = (on_gpu.log_prob(x.leaky_trace()), flow.log_prob(x.leaky_trace()));
        let (found, want) = (found.expect("a density"), want.expect("a density"));
        close("log-probabilities", &found.as_vec(), &want.as_vec());
        let (mut found, mut want) = (found.mean().backward(), want.mean().backward());
        close("by the batch", &found.get(&x).as_vec(), &want.get(&x).as_vec());
        same_weights(flow, &mut found, &mut want);
    }};
}

#[test]
fn gradients_on_the_tape_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    check_passes!(plain, plain.on(gpu.clone()).unwrap(), rows::<3>("x", 7), rows::<3>("z", 7));
    let solved = Solved::<f32>::build(&cpu, 1).unwrap();
    check_passes!(solved, solved.on(gpu.clone()).unwrap(), rows::<2>("x", 5), rows::<2>("z", 5));
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let x = rows::<16>("x", 5).reshape_like(&(5, Const::<1>, Const::<4>, Const::<4>));
    images.initialize(x.clone()).unwrap();
    check_passes!(images, images.on(gpu).unwrap(), x, rows::<16>("z", 5));
}

#[test]
fn gradients_by_a_context_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Given::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu).unwrap();
    let x = rows::<4>("x", 6);
    // One row for each, and one for all.
    for count in [6, 1] {
        let context = rows::<2>("context", count);
        let found = on_gpu.log_prob_given(x.leaky_trace(), context.leaky_trace()).unwrap();
        let want = flow.given(context.leaky_trace()).log_prob(x.leaky_trace()).unwrap();
        close("log-probabilities", &found.as_vec(), &want.as_vec());
        let (mut found, mut want) = (found.sum().backward(), want.sum().backward());
        close("by the batch", &found.get(&x).as_vec(), &want.get(&x).as_vec());
        close("by the context", &found.get(&context).as_vec(), &want.get(&context).as_vec());
        same_weights(&flow, &mut found, &mut want);

        // The tape comes with the context alone.
        let (found, found_log) = on_gpu.inverse_given(x.clone(), context.leaky_trace()).unwrap();
        let (want, want_log) = flow.given(context.leaky_trace()).inverse(x.clone()).unwrap();
        let mut found = (found.square().sum() + found_log.sum()).backward();
        let mut want = (want.square().sum() + want_log.sum()).backward();
        close("by the context", &found.get(&context).as_vec(), &want.get(&context).as_vec());
        same_weights(&flow, &mut found, &mut want);
        let (z, _) = on_gpu.forward_given(x.leaky_trace(), context.clone()).unwrap();
        let (want, _) = flow.given(context).forward(x.leaky_trace()).unwrap();
        let (found, want) = (z.square().sum().backward(), want.square().sum().backward());
        close("by the batch", &found.get(&x).as_vec(), &want.get(&x).as_vec());
    }
}

/// Passes over as many rows have one place on the device: the last one's product comes first, and the
/// first one's must not see what the last one left.
#[test]
fn passes_in_one_loss_do_not_meet() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu).unwrap();
    let [a, b] = ["a", "b"].map(|name| rows::<3>(name, 4));
    macro_rules! gradients {
        ($on:expr) => {{
            let first = $on.log_prob(a.leaky_trace()).unwrap();
            let second = $on.log_prob(b.leaky_trace()).unwrap();
            (first.exp().sum() + second.square().sum()).backward()
        }};
    }
    let (mut found, mut want) = (gradients!(on_gpu), gradients!(flow));
    close("by the first", &found.get(&a).as_vec(), &want.get(&a).as_vec());
    close("by the second", &found.get(&b).as_vec(), &want.get(&b).as_vec());
    same_weights(&flow, &mut found, &mut want);
}

/// A solver that takes more steps than there is room for: the pass is made once more with more room, and
/// so is one that ran before in the old place.
#[test]
fn passes_that_outgrow_their_room_are_made_again() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = super::passes::winding(&cpu);
    let on_gpu = flow.on(gpu).unwrap();
    // So small that they take few steps.
    let [a, b] = [rows::<2>("a", 4) * 1e-6, rows::<2>("b", 4)];
    macro_rules! gradients {
        ($on:expr) => {{
            let (first, _) = $on.forward(a.leaky_trace()).expect("a pass");
            let (second, log_det) = $on.forward(b.leaky_trace()).expect("a pass with more room");
            (first.square().sum() + second.square().sum() + log_det.sum()).backward()
        }};
    }
    let [mut found, mut want] = [gradients!(on_gpu), gradients!(flow)];
    let off = |found: Vec<f32>, want: Vec<f32>| {
        let [found, want] = [found, want].map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
        // Rounding chooses other steps, each of which may be off by 8e-6; there are a hundred.
        let off = numeric::distance(&found, &want) / numeric::norm(&want);
        assert!(off < 1e-3, "off by {off:e}");
    };
    off(found.get(&a).as_vec(), want.get(&a).as_vec());
    off(found.get(&b).as_vec(), want.get(&b).as_vec());
    let [found, want] = [&mut found, &mut want].map(|gradients| {
        let by_name = flow.gradients(gradients).expect("gradients by name");
        by_name.into_values().flatten().collect::<Vec<f32>>()
    });
    off(found, want);
}

#[test]
fn optimisers_of_dfdx_train_a_flow_on_the_device() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut here = Plain::<f32>::build(&cpu, 1).unwrap();
    here.freeze("0.net.0.*").unwrap();
    let mut there = here.clone();
    let mut on_gpu = there.on(gpu).unwrap();
    let config = AdamConfig { lr: 0.02, eps: 1e-3, ..AdamConfig::default() };
    let (mut adam, mut other) = (DfdxAdam::new(&*here, config), DfdxAdam::new(&there, config));
    let start = weights::all(&here);
    for step in 0..5 {
        let x = rows::<3>(&format!("x {step}"), 8);
        let loss = here.log_prob(x.leaky_trace()).unwrap().mean().negate();
        adam.update(&mut *here, &loss.backward()).unwrap();
        let loss = on_gpu.log_prob(x.leaky_trace()).unwrap().mean().negate();
        other.update(&mut there, &loss.backward()).unwrap();
        on_gpu.set_weights(&there).unwrap();
    }
    let mut moved = 0;
    for ((found, want), start) in
        there.parameters().zip(here.parameters()).zip(here.parameters().scan(0, |end, p| {
            let from = *end;
            *end += p.values.len();
            Some(&start[from..*end])
        }))
    {
        close(found.name, found.values, want.values);
        assert_eq!(found.frozen, found.name.starts_with("0.net.0."));
        assert_eq!(found.frozen, found.values == start, "{}", found.name);
        moved += usize::from(!found.frozen);
    }
    assert!(moved > 3);
    let x = rows::<3>("x", 3);
    let found = on_gpu.log_prob(x.clone()).unwrap();
    close("log-probabilities", &found.as_vec(), &here.log_prob(x).unwrap().as_vec());
}

#[test]
fn backward_passes_that_cannot_be_are_errors() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let mut on_gpu = flow.on(gpu.clone()).unwrap();
    let x = rows::<3>("x", 4);
    let (_, log_det) = on_gpu.forward(x.leaky_trace()).unwrap();
    assert!(log_det.sum().try_backward().is_err());
    assert_eq!(on_gpu.last_error(), Some(FlowError::TapeDropped));
    assert_eq!(on_gpu.last_error(), None);

    // Weights that changed meanwhile: the gradient would be that of another flow.
    let log_prob = on_gpu.log_prob(x.leaky_trace()).unwrap();
    on_gpu.set_weights(&Plain::<f32>::build(&cpu, 2).unwrap()).unwrap();
    assert!(log_prob.sum().try_backward().is_err());
    let error = on_gpu.last_error().expect("why").to_string();
    assert!(error.contains("weights on the device changed"), "{error}");

    // A training takes the place of densities with a tape.
    let log_prob = on_gpu.log_prob(x.leaky_trace()).unwrap();
    let data = flow_core::Rows::new(x.as_vec(), 3).unwrap();
    on_gpu.train(flow_core::train::Adam::new(1e-3), None, &data, 2, 0).unwrap();
    assert!(log_prob.sum().try_backward().is_err());
    let error = on_gpu.last_error().expect("why").to_string();
    assert!(error.contains("a training began"), "{error}");

    let other = Given::<f32>::build(&cpu, 1).unwrap().on(gpu).unwrap();
    let error = other.log_prob(rows::<4>("x", 2)).unwrap_err();
    assert!(matches!(error, FlowError::MissingContext { .. }), "{error}");
    let error = other.log_prob_given(rows::<4>("x", 2), rows::<2>("context", 3)).unwrap_err();
    assert_eq!(error, FlowError::ContextRows { rows: 2, context_rows: 3 });
    let mut wrong = rows::<3>("x", 2).as_vec();
    wrong[4] = f32::NAN;
    let error = on_gpu.forward(cpu.tensor_from_vec(wrong, (2, Const::<3>))).unwrap_err();
    assert!(matches!(error, FlowError::NonFinite { row: 1, entry: 1, .. }), "{error}");
}
