//! Trainings on a device beside those of the CPU: the same losses, the same weights.

use dfdx::prelude::{Cpu, TensorFromVec};
use flow_core::prelude::*;
use flow_core::train::{AdamW, Clip};
use flow_core::{Architecture, Flow};
use flow_tests::device::chosen as gpu;
use flow_tests::weights::{self, normal, shift};

use super::{
    close, Adaptive, Continuous, Estimated, Images, InCube, Logistic, Mixed, Plain, Rotations,
    Sequence, Solved,
};

flow! {
    struct Linear: Vector<4> {
        actnorm;
        linear(lu);
        spline_coupling(keep = first, bins = 3, net = mlp([6], tanh));
        permute(shuffle(3));
        linear(diagonal);
        masked_autoregressive(affine, net = made([7, 5], tanh));
    }

    struct Limited: Image<1, 2, 2> {
        conv1x1(dense);
        residual(lipschitz = 0.8, net = conv([3, 3], hidden = 3, swish));
    }

    struct Nested: Vector<3> {
        residual(lipschitz = 0.8, net = resnet(blocks = 2, hidden = 6, swish));
        ode(net = resnet(blocks = 1, hidden = 5, tanh), solver = rk4(2));
        residual(lipschitz = 0.5, net = resnet(blocks = 1, hidden = 5, gelu), log_det = series(4));
    }
}

/// Trains a flow here and there on the same batches, and compares losses and weights. Gradients near
/// zero have any sign, which a large epsilon keeps from mattering.
fn check_training<A: Architecture<f32>>(flow: Flow<A, f32>, rows: &Rows<f32>) {
    check_training_in(Memory::Stored, flow, rows);
}

fn check_training_in<A: Architecture<f32>>(
    memory: Memory,
    mut flow: Flow<A, f32>,
    rows: &Rows<f32>,
) {
    let Some(gpu) = gpu() else { return };
    let (steps, batch) = (7, 10);
    let rule = AdamW { learning_rate: 0.02, epsilon: 1e-3, weight_decay: 0.1, ..AdamW::default() };
    let on_gpu = flow.on(gpu.clone()).expect("a flow that runs on a GPU");
    let mut on_gpu = on_gpu.memory(memory).expect("a memory of a GPU");
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
    let start = weights::all(&flow);
    let trainer = Trainer::new(rule).clip(clip).steps(steps).batch_size(batch).seed(3).silent();
    let mut there = flow.clone();
    on_gpu.to_cpu(&mut there).expect("weights of this flow");
    let history = trainer.fit(&mut flow, rows).expect("a training on the CPU");
    let moved = weights::all(&flow).iter().zip(&start).filter(|(a, b)| a != b).count();
    assert!(3 * moved > start.len(), "{moved} of {} weights moved", start.len());
    close("weights", &weights::all(&there), &weights::all(&flow), 2e-4);
    let want: Vec<f32> = history.records.iter().map(|record| record.loss as f32).collect();
    close("losses", &losses, &want, 1e-4);
}

#[test]
fn training_is_that_of_the_cpu() {
    let cpu = Cpu::default();
    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 3 * 24), 3).unwrap();
    check_training((*plain).clone(), &rows);
    let mut frozen = (*plain).clone();
    frozen.freeze("0.net.*").unwrap();
    let before = frozen.parameters().next().unwrap().values.to_vec();
    check_training(frozen.clone(), &rows);
    assert_eq!(frozen.parameters().next().unwrap().values, before);
}

#[test]
fn a_learning_rate_holds_from_the_next_step_on() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 3 * 24), 3).unwrap();
    let mut on_gpu = flow.on(gpu).unwrap();
    let mut after = |rate: f64| {
        let mut training = on_gpu.train(Adam::new(1e-2), None, &rows, 8, 0).unwrap();
        training.set_learning_rate(rate).unwrap();
        training.step().unwrap();
        on_gpu.to_cpu(&mut flow).unwrap();
        weights::all(&flow)
    };
    let start = after(0.0);
    assert_eq!(start, weights::all(&Plain::<f32>::build(&cpu, 1).unwrap()));
    let moved = after(0.5);
    let most = start.iter().zip(&moved).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!((most - 0.5).abs() < 1e-3, "Adam's first step is as long as the rate: {most}");
}

#[test]
fn rates_out_of_range_are_refused() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 3 * 24), 3).unwrap();
    let mut on_gpu = flow.on(gpu).unwrap();
    let betas = Adam { betas: [0.9, 1.0], ..Adam::default() };
    for (rule, said) in [
        (Adam::new(f64::NAN), "the learning rate is NaN, expected a finite number of at least 0"),
        (betas, "the second beta is 1, expected at least 0 and less than 1"),
    ] {
        let error = on_gpu.train(rule, None, &rows, 8, 0).map(drop).unwrap_err().to_string();
        assert_eq!(error, said);
    }
    let mut training = on_gpu.train(Adam::default(), None, &rows, 8, 0).unwrap();
    assert!(training.loss().unwrap_err().to_string().contains("at least 1"));
    let error = training.set_learning_rate(f64::NAN).unwrap_err().to_string();
    assert!(error.starts_with("the learning rate is NaN"), "{error}");
}

#[test]
fn derived_weights_are_followed_on_the_device() {
    let cpu = Cpu::default();
    let mut linear = Linear::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 4 * 25), 4).unwrap();
    linear
        .initialize(cpu.tensor_from_vec(rows.values().to_vec(), (25, dfdx::shapes::Const)))
        .unwrap();
    check_training((*linear).clone(), &rows);
}

#[test]
fn images_train_on_the_device() {
    let cpu = Cpu::default();
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 16 * 21), 16).unwrap();
    images.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check_training((*images).clone(), &rows);
    check_training_in(Memory::Recomputed, (*images).clone(), &rows);
}

#[test]
fn derived_weights_are_trained_as_on_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let rotations = Rotations::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 4 * 23), 4).unwrap();
    let rows = rows.given(normal("context", 2 * 23), 2).unwrap();
    check_training((*rotations).clone(), &rows);
    let mut on_gpu = rotations.on(gpu.clone()).unwrap();
    let training = on_gpu.train(Adam::new(1e-3), None, &rows, 10, 0).unwrap();
    assert_eq!(training.derived_on_cpu().unwrap(), [""; 0]);

    let mut limited = Limited::<f32>::build(&cpu, 1).unwrap();
    shift(&mut limited, 0.5);
    let rows = Rows::new(normal("x", 4 * 24), 4).unwrap();
    check_training((*limited).clone(), &rows);
    let mut on_gpu = limited.on(gpu).unwrap();
    let training = on_gpu.train(Adam::new(1e-3), None, &rows, 10, 0).unwrap();
    assert_eq!(training.derived_on_cpu().unwrap(), [""; 0]);
}

#[test]
fn sequential_directions_train_on_the_device() {
    let flow = Sequence::<f32>::build(&Cpu::default(), 1).unwrap();
    check_training((*flow).clone(), &Rows::new(normal("x", 3 * 24), 3).unwrap());
}

#[test]
fn residual_blocks_train_on_the_device() {
    let mut solved = Solved::<f32>::build(&Cpu::default(), 1).unwrap();
    shift(&mut solved, 0.5);
    let rows = Rows::new(normal("x", 2 * 24), 2).unwrap();
    check_training((*solved).clone(), &rows);
    check_training_in(Memory::Recomputed, (*solved).clone(), &rows);
}

#[test]
fn estimators_train_on_the_device() {
    let mut flow = Estimated::<f32>::build(&Cpu::default(), 1).unwrap();
    shift(&mut flow, 0.5);
    let rows = Rows::new(normal("x", 3 * 40), 3).unwrap();
    check_training((*flow).clone(), &rows.given(normal("context", 40), 1).unwrap());
}

#[test]
fn every_base_trains_on_the_device() {
    let cpu = Cpu::default();
    let mut cube = InCube::<f32>::build(&cpu, 1).unwrap();
    shift(&mut cube, 0.1);
    check_training((*cube).clone(), &Rows::new(normal("x", 3 * 24), 3).unwrap());
    let rows = Rows::new(normal("x", 4 * 24), 4).unwrap();
    let mut logistic = Logistic::<f32>::build(&cpu, 1).unwrap();
    logistic.initialize(rows.x::<Image<1, 2, 2>>().unwrap()).unwrap();
    check_training((*logistic).clone(), &rows);
    let mixed = Mixed::<f32>::build(&cpu, 1).unwrap();
    check_training((*mixed).clone(), &rows);
}

#[test]
fn continuous_blocks_train_on_the_device() {
    let cpu = Cpu::default();
    let mut equal = Continuous::<f32>::build(&cpu, 1).unwrap();
    shift(&mut equal, 0.3);
    let rows = Rows::new(normal("x", 2 * 24), 2).unwrap();
    let rows = rows.given(normal("context", 24), 1).unwrap();
    check_training((*equal).clone(), &rows);
    check_training_in(Memory::Recomputed, (*equal).clone(), &rows);

    let mut adaptive = Adaptive::<f32>::build(&cpu, 1).unwrap();
    shift(&mut adaptive, 0.3);
    check_training((*adaptive).clone(), &Rows::new(normal("x", 2 * 24), 2).unwrap());
}

#[test]
fn residual_nets_have_their_jacobians_on_the_device() {
    let cpu = Cpu::default();
    let mut nested = Nested::<f32>::build(&cpu, 1).unwrap();
    shift(&mut nested, 0.3);
    check_training((*nested).clone(), &Rows::new(normal("x", 3 * 24), 3).unwrap());
}
