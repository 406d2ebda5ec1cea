//! Flows on a GPU, which is the emulated one unless the environment says otherwise: what a user calls, and training against the CPU's.

use dfdx::prelude::{AsArray, Cpu, HasShape, TensorFrom, TensorFromVec};
use flow_core::prelude::*;
use flow_core::train::{AdamW, Clip};
use flow_core::{Architecture, Flow};
use flow_tests::device::chosen as gpu;

flow! {
    struct Plain: Vector<3> {
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish));
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish));
    }

    struct Linear: Vector<4> {
        actnorm;
        linear(lu);
        spline_coupling(keep = first, bins = 3, net = mlp([6], tanh));
        permute(shuffle(3));
        linear(diagonal);
        masked_autoregressive(affine, net = made([7, 5], tanh));
    }

    struct Images: Image<1, 4, 4> {
        multiscale 2 {
            squeeze(2);
            actnorm;
            conv1x1(lu);
            affine_coupling(scale = tanh(0.5), net = conv([3, 1], hidden = 4, relu));
        }
    }

    struct Rotations: Vector<4> given Vector<2> {
        linear(svd);
        affine_coupling(keep = even, scale = tanh(1.0), net = mlp([6], swish, weight_norm = true));
        linear(orthogonal);
    }

    struct Sequence: Vector<3> {
        masked_autoregressive(affine, net = made([7, 5], tanh, zero_init = false));
        inverse_autoregressive(spline, net = made([6], swish, zero_init = false));
    }

    struct Solved: Vector<2> {
        residual(lipschitz = 0.9, net = mlp([8], swish));
    }
}

fn numbers(name: &str, len: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; len];
    Noise::seed(5).named(name).fill_normal(0, &mut numbers);
    numbers
}

fn close(what: &str, found: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}[{i}] is {a}, not {b}");
    }
}

fn weights<A: Architecture<f32>>(flow: &Flow<A, f32>) -> Vec<f32> {
    flow.parameters().flat_map(|p| p.values.to_vec()).collect()
}

/// Trains a flow here and there on the same batches, and compares losses and weights. Gradients near
/// zero have any sign, which a large epsilon keeps from mattering.
fn check_training<A: Architecture<f32>>(mut flow: Flow<A, f32>, rows: &Rows<f32>) {
    let Some(gpu) = gpu() else { return };
    let (steps, batch) = (7, 10);
    let rule = AdamW { learning_rate: 0.02, epsilon: 1e-3, weight_decay: 0.1, ..AdamW::default() };
    let mut on_gpu = flow.on(gpu.clone()).expect("a flow that runs on a GPU");
    let clip = Clip::Norm(0.8);
    let mut training = on_gpu.train(rule, Some(clip), rows, batch, 3).expect("a training");
    let mut losses = Vec::new();
    for _ in 0..steps {
        training.step().expect("a step");
        losses.push(training.loss().expect("a finite loss") as f32);
    }
    assert_eq!(training.steps(), steps);
    let graphs = on_gpu.graphs();
    // A card that waits for each kernel makes none.
    assert!(graphs.refused.is_empty(), "{graphs:?}");
    assert_eq!(graphs.captured > 0, std::env::var("FLOW_GPU").is_err(), "{graphs:?}");
    let start = weights(&flow);
    let trainer = Trainer::new(rule).clip(clip).steps(steps).batch_size(batch).seed(3).silent();
    let mut there = flow.clone();
    on_gpu.to_cpu(&mut there).expect("weights of this flow");
    let history = trainer.fit(&mut flow, rows).expect("a training on the CPU");
    let moved = weights(&flow).iter().zip(&start).filter(|(a, b)| a != b).count();
    assert!(3 * moved > start.len(), "{moved} of {} weights moved", start.len());
    close("weights", &weights(&there), &weights(&flow), 2e-4);
    let want: Vec<f32> = history.records.iter().map(|record| record.loss as f32).collect();
    close("losses", &losses, &want, 1e-4);
}

#[test]
fn training_is_that_of_the_cpu() {
    let cpu = Cpu::default();
    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 3 * 24), 3).unwrap();
    check_training((*plain).clone(), &rows);
    let mut frozen = (*plain).clone();
    frozen.freeze("0.net.*").unwrap();
    let before = frozen.parameters().next().unwrap().values.to_vec();
    check_training(frozen.clone(), &rows);
    assert_eq!(frozen.parameters().next().unwrap().values, before);
}

#[test]
fn derived_weights_are_followed_on_the_device() {
    let cpu = Cpu::default();
    let mut linear = Linear::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 4 * 25), 4).unwrap();
    linear
        .initialize(cpu.tensor_from_vec(rows.values().to_vec(), (25, dfdx::shapes::Const)))
        .unwrap();
    check_training((*linear).clone(), &rows);
}

#[test]
fn images_train_on_the_device() {
    let cpu = Cpu::default();
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 16 * 21), 16).unwrap();
    images.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check_training((*images).clone(), &rows);
}

#[test]
fn weights_without_kernels_are_derived_on_the_cpu() {
    let cpu = Cpu::default();
    let rotations = Rotations::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 4 * 23), 4).unwrap();
    let rows = rows.given(numbers("context", 2 * 23), 2).unwrap();
    check_training((*rotations).clone(), &rows);
}

#[test]
fn passes_and_samples_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu.clone()).unwrap();
    let x = cpu.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]]);
    let (z, log_det) = on_gpu.forward(x.clone()).unwrap();
    let (want, want_log_det) = flow.forward(x.clone()).unwrap();
    close("latents", &z.as_vec(), &want.as_vec(), 1e-5);
    close("log-determinants", &log_det.as_vec(), &want_log_det.as_vec(), 1e-5);
    let (back, _) = on_gpu.inverse(z).unwrap();
    close("data", &back.as_vec(), &x.as_vec(), 1e-5);
    let found = on_gpu.log_prob(x.clone()).unwrap();
    assert_eq!(found.shape(), &(dfdx::shapes::Const::<2>,));
    close("log-probabilities", &found.as_vec(), &flow.log_prob(x).unwrap().as_vec(), 1e-5);
    let found = on_gpu.sample(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample(5, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-5);
    let found = on_gpu.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-5);
}

#[test]
fn sequential_directions_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Sequence::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu).unwrap();
    let x = cpu.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]]);
    let (z, log_det) = on_gpu.forward(x.clone()).unwrap();
    let (want, want_log_det) = flow.forward(x.clone()).unwrap();
    close("latents", &z.as_vec(), &want.as_vec(), 1e-5);
    close("log-determinants", &log_det.as_vec(), &want_log_det.as_vec(), 1e-5);
    let found = on_gpu.sample(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample(5, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-4);
    let rows = Rows::new(numbers("x", 3 * 24), 3).unwrap();
    check_training((*flow).clone(), &rows);
}

#[test]
fn what_cannot_be_done_is_said() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let solved = Solved::<f32>::build(&cpu, 1).unwrap();
    let message = match solved.on(gpu.clone()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("residual blocks have no kernels"),
    };
    assert!(message.starts_with("`residual(") && message.contains(" at 0 does not run on a GPU"));

    let flow = Rotations::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu.clone()).unwrap();
    let error = on_gpu.forward(cpu.tensor([[0.0; 4]])).unwrap_err();
    assert!(matches!(error, FlowError::MissingContext { .. }), "{error}");
    let context = cpu.tensor([[0.5, 1.0], [0.0, 2.0]]);
    let error = on_gpu.forward_given(cpu.tensor([[0.0; 4]]), context.clone()).unwrap_err();
    assert_eq!(error, FlowError::ContextRows { rows: 1, context_rows: 2 });
    let x = cpu.tensor([[0.0, 1.0, -1.0, 0.5], [2.0, 0.0, 0.0, -0.5]]);
    let (z, _) = on_gpu.forward_given(x.clone(), context.clone()).unwrap();
    let (want, _) = flow.given(context).forward(x).unwrap();
    close("conditional latents", &z.as_vec(), &want.as_vec(), 1e-5);

    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    let mut on_gpu = plain.on(gpu.clone()).unwrap();
    let error = on_gpu.map_rows(false, &[f32::NAN, 0.0, 0.0], &[]).unwrap_err();
    assert!(matches!(error, FlowError::NonFinite { row: 0, .. }), "{error}");
    let rows = Rows::new(vec![0.0; 4], 2).unwrap();
    let error = on_gpu.train(Adam::new(1e-3), None, &rows, 2, 0).err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some("a row has 2 numbers, expected 3"));
    let rows = Rows::new(vec![0.0; 6], 3).unwrap();
    let sgd = flow_core::train::Sgd::new(1e-3);
    let error = on_gpu.train(sgd, None, &rows, 2, 0).err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("Sgd, expected Adam or AdamW on a GPU")));
    let diverging = Rows::new(vec![1e20; 6], 3).unwrap();
    let mut training = on_gpu.train(Adam::new(1.0), None, &diverging, 2, 0).unwrap();
    training.step().unwrap();
    let error = training.loss().unwrap_err().to_string();
    assert!(error.contains("at step 1"), "{error}");
    assert!(AsArray::array(&cpu.tensor(1.0f32)) == 1.0);
}
