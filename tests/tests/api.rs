//! The API's promises: tapes, contexts, views, errors, determinism.

use dfdx::optim::{Adam, AdamConfig, Optimizer};
use dfdx::prelude::*;
use flow_core::prelude::*;

flow! {
    struct Plain: Vector<3> {
        'steps: repeat 2 {
            linear(lu);
            affine_coupling(scale = tanh(1.0), net = mlp([8], swish, zero_init = false));
        }
    }

    struct Posterior: Vector<2> given Vector<3> {
        affine_coupling(keep = first, net = mlp([8], tanh, zero_init = false));
        affine_coupling(keep = second, net = mlp([8], tanh, zero_init = false));
    }

    #[base(uniform)]
    struct Cube: Vector<2> {
        linear(diagonal);
    }

    struct Unready: Vector<2> {
        'first: actnorm;
    }
}

type Owned = OwnedTape<f64, Cpu>;

fn plain() -> Plain<f64> {
    Plain::build(&Cpu::default(), 1).unwrap()
}

fn posterior() -> Posterior<f64> {
    Posterior::build(&Cpu::default(), 1).unwrap()
}

fn rows<const D: usize>(count: usize) -> Tensor<(usize, Const<D>), f64, Cpu> {
    let mut numbers = vec![0.0; count * D];
    Noise::seed(4).fill_normal(0, &mut numbers);
    Cpu::default().tensor_from_vec(numbers, (count, Const))
}

/// The gradient of a loss of a traced input, by the input.
fn slope(
    x: &Tensor<(usize, Const<3>), f64, Cpu>,
    loss: impl Fn(Tensor<(usize, Const<3>), f64, Cpu, Owned>) -> Tensor<Rank0, f64, Cpu, Owned>,
) -> Vec<f64> {
    loss(x.leaky_trace()).backward().get(x).as_vec()
}

fn near(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance, "{a} is not near {b}");
    }
}

#[test]
fn batches_are_dynamic_or_constant() {
    let flow = plain();
    let x = Cpu::default().tensor([[0.1, 0.2, 0.3], [1.0, -1.0, 0.5]]);
    let dynamic = x.clone().reshape_like(&(2usize, Const::<3>));
    let constant: Tensor<Rank1<2>, f64, Cpu> = flow.log_prob(x).unwrap();
    assert_eq!(constant.as_vec(), flow.log_prob(dynamic).unwrap().as_vec());
}

#[test]
fn log_prob_is_base_plus_log_det() {
    let flow = plain();
    let x = rows::<3>(50);
    let (z, log_det) = flow.forward(x.clone()).unwrap();
    let base = z.square().sum::<(usize,), _>() * -0.5 - 1.5 * std::f64::consts::TAU.ln();
    near(&(base + log_det).as_vec(), &flow.log_prob(x.clone()).unwrap().as_vec(), 1e-12);
    let scores: Vec<f64> = x.as_vec().chunks(3).map(|row| flow.score(row, &[]).unwrap()).collect();
    near(&scores, &flow.log_prob(x).unwrap().as_vec(), 1e-12);
}

#[test]
fn either_output_may_be_dropped_but_never_silently() {
    let flow = plain();
    let x = rows::<3>(20);
    // Without the log-determinant the gradient is that of the latent alone.
    let latent_only = slope(&x, |x| {
        let (z, _) = flow.forward(x).unwrap();
        z.square().sum()
    });
    let both = slope(&x, |x| {
        let (z, log_det) = flow.forward(x).unwrap();
        z.square().sum() + log_det.sum::<Rank0, _>() * 0.0
    });
    near(&latent_only, &both, 1e-12);
    assert!(latent_only.iter().any(|g| g.abs() > 1e-3));
    // The other way round the first tape is gone, and the backward pass says so.
    let (_, log_det) = flow.forward(x.leaky_trace()).unwrap();
    assert!(log_det.sum::<Rank0, _>().try_backward().is_err());
    assert_eq!(flow.last_error(), Some(FlowError::TapeDropped));
    assert_eq!(flow.last_error(), None, "an error is told once");
}

#[test]
fn the_order_of_the_two_outputs_in_a_loss_does_not_matter() {
    let flow = plain();
    let x = rows::<3>(20);
    let first = slope(&x, |x| {
        let (z, log_det) = flow.forward(x).unwrap();
        log_det.sum::<Rank0, _>() + z.square().sum()
    });
    let second = slope(&x, |x| {
        let (z, log_det) = flow.forward(x).unwrap();
        z.square().sum::<Rank0, _>() + log_det.sum()
    });
    near(&first, &second, 1e-12);
}

#[test]
fn a_tape_may_arrive_through_the_context_alone() {
    let flow = posterior();
    let (x, context) = (rows::<2>(10), rows::<3>(10));
    let view = flow.given(context.leaky_trace());
    let gradients = view.log_prob(x.clone()).unwrap().sum().backward();
    let through_context = gradients.get(&context).as_vec();
    assert!(through_context.iter().any(|g| g.abs() > 1e-3));
    let view = flow.given(context.leaky_trace());
    let gradients = view.log_prob(x.leaky_trace()).unwrap().sum().backward();
    near(&through_context, &gradients.get(&context).as_vec(), 1e-12);
}

#[test]
fn the_tape_of_a_context_is_used_once() {
    let flow = posterior();
    let view = flow.given(rows::<3>(4).leaky_trace());
    view.log_prob(rows::<2>(4)).unwrap();
    assert_eq!(view.log_prob(rows::<2>(4)).err(), Some(FlowError::TapeUsed));
    let untaped = flow.given(rows::<3>(4));
    let first = untaped.log_prob(rows::<2>(4)).unwrap().as_vec();
    assert_eq!(first, untaped.log_prob(rows::<2>(4)).unwrap().as_vec());
}

/// dfdx permutes and broadcasts without copying: the gradient goes to the numbers as they lie.
#[test]
fn gradients_go_through_permuted_and_broadcast_inputs() {
    let (flow, conditional) = (plain(), posterior());
    let columns: Tensor<Rank2<3, 2>, f64, Cpu> =
        Cpu::default().tensor([[0.1, 1.0], [0.2, -1.0], [0.3, 0.5]]);
    let rows: Tensor<Rank2<2, 3>, f64, Cpu> = columns.clone().permute();
    let rows = rows.contiguous();
    let transposed = |numbers: Vec<f64>| [0, 2, 4, 1, 3, 5].map(|i| numbers[i]);

    let x = columns.leaky_trace().permute::<Rank2<2, 3>, _>();
    let through = flow.log_prob(x).unwrap().sum().backward().get(&columns).as_vec();
    let direct = flow.log_prob(rows.leaky_trace()).unwrap().sum().backward().get(&rows).as_vec();
    near(&transposed(through), &direct, 1e-12);

    let theta = Cpu::default().tensor([[0.3, -0.2], [1.0, 0.7]]);
    let by_context = |context: Tensor<Rank2<2, 3>, f64, Cpu, Owned>| {
        conditional.given(context).log_prob(theta.clone()).unwrap().sum::<Rank0, _>().backward()
    };
    let through = by_context(columns.leaky_trace().permute()).get(&columns).as_vec();
    let direct = by_context(rows.leaky_trace()).get(&rows).as_vec();
    near(&transposed(through), &direct, 1e-12);

    let one: Tensor<Rank1<3>, f64, Cpu> = Cpu::default().tensor([0.1, 0.2, 0.3]);
    let through = by_context(one.leaky_trace().broadcast()).get(&one).as_vec();
    let both: Tensor<Rank2<2, 3>, f64, Cpu> = one.clone().broadcast();
    let both = both.contiguous();
    let direct = by_context(both.leaky_trace()).get(&both).as_vec();
    near(&through, &[0, 1, 2].map(|i| direct[i] + direct[i + 3]), 1e-12);
}

#[test]
fn one_context_row_serves_all_rows() {
    let flow = posterior();
    let (x, context) = (rows::<2>(6), rows::<3>(1));
    let repeated = context.as_vec().repeat(6);
    let repeated = Cpu::default().tensor_from_vec(repeated, (6, Const::<3>));
    let one = flow.given(context.leaky_trace()).log_prob(x.clone()).unwrap();
    let all = flow.given(repeated.leaky_trace()).log_prob(x).unwrap();
    assert_eq!(one.as_vec(), all.as_vec());
    let by_one = one.sum().backward().get(&context).as_vec();
    let by_all = all.sum().backward().get(&repeated).as_vec();
    let mut sums = [0.0; 3];
    by_all.chunks(3).for_each(|row| (0..3).for_each(|i| sums[i] += row[i]));
    near(&by_one, &sums, 1e-12);
}

#[test]
fn rows_of_data_and_context_must_match() {
    let flow = posterior();
    let error = flow.given(rows::<3>(4)).log_prob(rows::<2>(5)).err();
    assert_eq!(error, Some(FlowError::ContextRows { rows: 5, context_rows: 4 }));
    let error = flow.memory(Memory::Stored).log_prob(rows::<2>(5)).err();
    assert!(matches!(error, Some(FlowError::MissingContext { expected: 3, .. })), "{error:?}");
}

#[test]
fn bad_rows_are_named() {
    let flow = plain();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut numbers = rows::<3>(9).as_vec();
        numbers[3 * 5 + 1] = bad;
        let x = Cpu::default().tensor_from_vec(numbers, (9usize, Const::<3>));
        match flow.log_prob(x) {
            Err(FlowError::NonFinite { row: 5, entry: 1, what, .. }) => assert_eq!(what, "batch"),
            other => panic!("expected row 5 to be named, got {other:?}"),
        }
    }
    let empty = Cpu::default().tensor_from_vec(vec![], (0usize, Const::<3>));
    assert!(matches!(flow.log_prob(empty.clone()), Err(FlowError::EmptyBatch { .. })));
    assert!(matches!(flow.inverse(empty), Err(FlowError::EmptyBatch { .. })));
    assert!(matches!(flow.sample(0, &mut Noise::seed(1)), Err(FlowError::EmptyBatch { .. })));
    let context = Cpu::default().tensor([[f64::NAN, 0.0, 0.0]]);
    let error = posterior().given(context).log_prob(rows::<2>(1)).err();
    assert!(matches!(error, Some(FlowError::NonFinite { row: 0, entry: 0, .. })), "{error:?}");
    let error = flow.score(&[0.0, 1.0], &[]).err();
    assert!(matches!(error, Some(FlowError::Length { found: 2, expected: 3, .. })), "{error:?}");
}

#[test]
fn rows_outside_the_support_have_no_probability() {
    let flow = Cube::<f64>::build(&Cpu::default(), 0).unwrap();
    let x = Cpu::default().tensor([[0.5, 0.5], [0.5, 1.5]]);
    assert_eq!(flow.log_prob(x).unwrap().array(), [0.0, f64::NEG_INFINITY]);
}

#[test]
fn an_actnorm_without_data_is_an_error() {
    let mut flow = Unready::<f32>::build(&Cpu::default(), 0).unwrap();
    let x = Cpu::default().tensor([[1.0_f32, 2.0], [3.0, 7.0]]);
    let error = flow.log_prob(x.clone()).unwrap_err();
    assert!(error.to_string().contains("first"), "{error}");
    assert!(matches!(error, FlowError::NotInitialized { .. }));
    flow.initialize(x.clone()).unwrap();
    let (z, _) = flow.forward(x).unwrap();
    let mean = z.mean::<Rank1<2>, Axis<0>>().array();
    assert!(mean.iter().all(|m| m.abs() < 1e-6), "{mean:?}");
}

#[test]
fn samples_depend_on_the_seed_alone() {
    let flow = plain();
    let draw = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (x, log_prob) = flow.sample_with_log_prob(301, &mut Noise::seed(7)).unwrap();
            let x = x.leaky_trace();
            let mut gradients = flow.log_prob(x).unwrap().sum().backward();
            let gradients = flow.gradients(&mut gradients).unwrap();
            let gradients: Vec<f64> = gradients.into_values().flatten().collect();
            (log_prob.as_vec(), gradients)
        })
    };
    assert_eq!(draw(1), draw(2));
    assert_eq!(draw(1), draw(4));
    let mut noise = Noise::seed(7);
    let first = flow.sample(5, &mut noise).unwrap().as_vec();
    assert_ne!(first, flow.sample(5, &mut noise).unwrap().as_vec());
    assert_eq!(first, flow.sample(5, &mut Noise::seed(7)).unwrap().as_vec());
}

#[test]
fn samples_come_with_their_own_density() {
    let flow = plain();
    let (x, log_prob) = flow.sample_with_log_prob(40, &mut Noise::seed(2)).unwrap();
    near(&flow.log_prob(x).unwrap().as_vec(), &log_prob.as_vec(), 1e-10);
    let cold = flow.temperature(0.0).sample(2, &mut Noise::seed(2)).unwrap().as_vec();
    near(&cold[..3], &cold[3..], 0.0);
    let error = flow.temperature(f64::NAN).sample(2, &mut Noise::seed(2)).err();
    assert!(matches!(error, Some(FlowError::Option { .. })), "{error:?}");
}

#[test]
fn views_chain_in_any_order() {
    let flow = posterior();
    let context = rows::<3>(4);
    let x = rows::<2>(4);
    let one = flow.given(context.clone()).memory(Memory::Recomputed).temperature(0.5);
    let two = flow.temperature(0.5).memory(Memory::Recomputed).given(context);
    assert_eq!(one.log_prob(x.clone()).unwrap().as_vec(), two.log_prob(x).unwrap().as_vec());
    let draw = |view: &dyn Fn(&mut Noise) -> Vec<f64>| view(&mut Noise::seed(1));
    let sample_one = |noise: &mut Noise| one.sample(4, noise).unwrap().as_vec();
    let sample_two = |noise: &mut Noise| two.sample(4, noise).unwrap().as_vec();
    assert_eq!(draw(&sample_one), draw(&sample_two));
}

#[test]
fn recomputing_gives_the_same_gradient() {
    let flow = plain();
    let x = rows::<3>(33);
    let by = |memory| {
        let loss = flow.memory(memory).log_prob(x.leaky_trace()).unwrap().sum::<Rank0, _>();
        let mut gradients = loss.backward();
        let by_x = gradients.get(&x).as_vec();
        let parameters: Vec<f64> =
            flow.gradients(&mut gradients).unwrap().into_values().flatten().collect();
        (by_x, parameters)
    };
    assert_eq!(by(Memory::Stored), by(Memory::Recomputed));
}

#[test]
fn frozen_parameters_stay() {
    let mut flow = plain();
    let frozen = flow.freeze("steps.0.*").unwrap();
    assert_eq!(frozen, flow.parameters().filter(|p| p.frozen).count());
    let before: Vec<(String, Vec<f64>)> =
        flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    let config = AdamConfig {
        lr: 1e-2,
        weight_decay: Some(WeightDecay::Decoupled(0.5)),
        ..Default::default()
    };
    let mut adam = Adam::new(&flow, config);
    let gradients = flow.alloc_grads();
    let loss = flow.log_prob(rows::<3>(20).traced(gradients)).unwrap().mean().negate();
    adam.update(&mut flow, &loss.backward()).unwrap();
    for ((name, before), now) in before.iter().zip(flow.parameters()) {
        let same = before.as_slice() == now.values;
        let never_read = name.ends_with("lower") || name.ends_with("upper");
        assert!(same == name.starts_with("steps.0.") || never_read, "{name}");
    }
    let error = flow.freeze("step.0.*").unwrap_err();
    assert!(matches!(error, FlowError::NoSuchParameter { .. }));
    flow.unfreeze("*").unwrap();
    assert!(flow.parameters().all(|p| !p.frozen));
}

#[test]
fn a_tape_keeps_the_weights_it_saw() {
    let mut flow = plain();
    let x = rows::<3>(8);
    let gradient = |flow: &Plain<f64>| slope(&x, |x| flow.log_prob(x).unwrap().sum());
    let want = gradient(&flow);
    let loss = flow.log_prob(x.leaky_trace()).unwrap().sum::<Rank0, _>();
    let name = "steps.1.1.net.0.weight";
    let zeros = vec![0.0; flow.parameters().find(|p| p.name == name).unwrap().values.len()];
    flow.set(name, &zeros).unwrap();
    assert_eq!(loss.backward().get(&x).as_vec(), want);
    assert_ne!(gradient(&flow), want);
}

#[test]
fn a_clone_has_its_own_weights() {
    let flow = plain();
    let mut other = (*flow).clone();
    let before = flow.score(&[0.1, 0.2, 0.3], &[]).unwrap();
    other.set("steps.0.0.log_diagonal", &[1.0, 1.0, 1.0]).unwrap();
    assert_eq!(flow.score(&[0.1, 0.2, 0.3], &[]).unwrap(), before);
    assert_ne!(other.score(&[0.1, 0.2, 0.3], &[]).unwrap(), before);
}

#[test]
fn flows_go_between_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    check(&plain());
    check(&posterior());
}

/// A name that both preludes export is an error where it is used, unless it is one item, as `Cpu` is.
mod preludes {
    #[allow(unused_imports)]
    mod both {
        pub(super) use dfdx::prelude::*;
        pub(super) use flow_core::prelude::*;
    }

    #[allow(unused_imports)]
    use both::{
        evaluate, flow, Adam, AdamW, Adamax, Batches, Clip, Cpu, Flow, FlowError, Image, Memory,
        Noise, NormalizingFlow, OnDivergence, Region, Rows, Scalar, Schedule, Sgd, Trainer, Vector,
    };

    #[test]
    fn name_every_item_of_ours_once() {
        let source = include_str!("../../flow-core/src/prelude.rs");
        let exported: String = source.lines().filter(|line| !line.starts_with("//")).collect();
        let exported = exported.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let skip = ["pub", "use", "crate", "lipschitz", "train", ""];
        let exported: Vec<&str> = exported.filter(|word| !skip.contains(word)).collect();
        let here = include_str!("api.rs");
        let (_, list) = here.split_once("use both::{").unwrap();
        let (list, _) = list.split_once("};").unwrap();
        for name in exported {
            let listed = list.split(',').any(|item| item.trim() == name);
            assert!(listed, "`{name}` of the prelude is not tested against dfdx's");
        }
    }
}
