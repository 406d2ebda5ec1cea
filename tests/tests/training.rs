//! Training of whole flows, by their likelihood and by losses of dfdx.

use std::ops::ControlFlow;

use dfdx::optim::{Adam as Theirs, AdamConfig};
use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_core::train::Ending;

flow! {
    struct Plane: Vector<2> {
        actnorm;
        linear(lu);
        affine_coupling(net = mlp([16], tanh));
        affine_coupling(net = mlp([16], tanh));
    }

    struct Posterior: Vector<2> given Vector<2> {
        affine_coupling(net = mlp([32], tanh));
        affine_coupling(net = mlp([32], tanh));
    }
}

/// Rows of a normal with mean (3, −1) and covariance L Lᵀ, L = [[2, 0], [0.9, 0.5]].
fn correlated(rows: u64, noise: &Noise) -> Rows<f64> {
    let row = |i| {
        let (a, b) = noise.normal_pair(i);
        [3.0 + 2.0 * a, -1.0 + 0.9 * a + 0.5 * b]
    };
    Rows::from_rows((0..rows).map(row)).expect("finite rows")
}

fn weights<A: flow_core::Architecture<E>, E: Scalar>(flow: &Flow<A, E, Cpu>) -> Vec<E> {
    flow.parameters().flat_map(|p| p.values.to_vec()).collect()
}

/// The entropy in nats of two normals with these standard deviations.
fn entropy(a: f64, b: f64) -> f64 {
    1.0 + (2.0 * std::f64::consts::PI * a * b).ln()
}

#[test]
fn a_flow_learns_a_normal_to_a_hundredth_of_a_nat() -> Result<(), FlowError> {
    let (train, held_out) = correlated(20_000, &Noise::seed(1)).split(0.1, &mut Noise::seed(2))?;
    let mut flow = Plane::<f64>::build(&Cpu::default(), 0)?;
    flow.initialize(train.x::<Vector<2>>()?)?;
    let history = Trainer::new(Adam::new(5e-3))
        .schedule(Schedule::Cosine)
        .batch_size(200)
        .epochs(8)
        .clip(Clip::Norm(5.0))
        .average(0.98)
        .patience(8)
        .silent()
        .fit(&mut flow, train.validated_by(held_out))?;
    assert_eq!(history.ending, Ending::Complete);

    // KL(p‖q) = −entropy − E log q, on fresh rows, whose own log-density is known.
    let fresh = correlated(50_000, &Noise::seed(3));
    let log_p = |row: &[f64]| {
        let a = (row[0] - 3.0) / 2.0;
        let b = (row[1] + 1.0 - 0.9 * a) / 0.5;
        -0.5 * (a * a + b * b) - (2.0 * std::f64::consts::PI * 2.0 * 0.5).ln()
    };
    let log_p = fresh.values().chunks_exact(2).map(log_p).sum::<f64>() / 50_000.0;
    let divergence = log_p - evaluate(&flow, &fresh)?.mean;
    assert!((-1e-3..0.01).contains(&divergence), "the divergence is {divergence} nats");
    Ok(())
}

#[test]
fn our_adam_and_that_of_dfdx_take_the_same_steps() -> Result<(), FlowError> {
    let rows = correlated(75, &Noise::seed(4));
    let mut ours = Plane::<f64>::build(&Cpu::default(), 0)?;
    ours.initialize(rows.x::<Vector<2>>()?)?;
    ours.freeze("1.upper")?;
    let mut theirs = ours.clone();
    let begin = weights(&ours);

    let config = AdamConfig { lr: 0.01, ..AdamConfig::default() };
    let mut optimizer = Theirs::new(&theirs, config);
    let mut gradients = theirs.alloc_grads();
    for steps in 1..=5 {
        let x = rows.x::<Vector<2>>()?;
        let loss = theirs.log_prob(x.trace(gradients))?.mean().negate();
        gradients = loss.backward();
        optimizer.update(&mut theirs, &gradients).expect("every tensor has a gradient");
        theirs.zero_grads(&mut gradients);

        // A stream keeps the order of the rows, so the sums are the same.
        let mut flow = ours.clone();
        let stream = (0..steps).map(|_| rows.clone());
        Trainer::new(Adam::new(0.01)).silent().fit(&mut flow, stream)?;
        assert_ne!(weights(&flow), begin);
        for (ours, theirs) in weights(&flow).iter().zip(weights(&theirs)) {
            let off = (ours - theirs).abs();
            assert!(off < 1e-12, "{off} apart after {steps} steps");
        }
    }
    Ok(())
}

#[test]
fn what_is_frozen_stays_and_the_rest_moves() -> Result<(), FlowError> {
    let rows = correlated(300, &Noise::seed(5));
    let mut flow = Plane::<f64>::build(&Cpu::default(), 0)?;
    flow.initialize(rows.x::<Vector<2>>()?)?;
    flow.freeze("2.*")?;
    flow.freeze("0.shift")?;
    let before = flow.clone();
    Trainer::new(AdamW::new(0.01)).steps(20).silent().fit(&mut flow, &rows)?;
    for (before, after) in before.parameters().zip(flow.parameters()) {
        assert_eq!(before.values == after.values, after.frozen, "{}", after.name);
    }
    assert!(before.buffers().eq(flow.buffers()));

    // Where nothing is left to train, dfdx sees an empty tensor.
    flow.freeze("*")?;
    let begin = weights(&flow);
    Trainer::default().steps(2).silent().fit_with(&mut flow, &rows, |flow, batch, gradients| {
        Ok(flow.log_prob(batch.x::<Vector<2>>()?.trace(gradients))?.mean().negate())
    })?;
    assert_eq!(weights(&flow), begin);
    Ok(())
}

#[test]
fn a_flow_that_was_not_initialised_says_so() -> Result<(), FlowError> {
    let mut flow = Plane::<f32>::build(&Cpu::default(), 0)?;
    let rows = Rows::new(vec![0.0; 8], 2)?;
    let error = Trainer::default().silent().fit(&mut flow, &rows).unwrap_err();
    assert!(matches!(error, FlowError::NotInitialized { .. }), "{error}");
    Ok(())
}

/// θ = M s + 0.2 ε, where s are the sums of the first and the last of `width/2` observed numbers.
fn observed(rows: u64, width: usize) -> Result<Rows<f32>, FlowError> {
    let noise = Noise::seed(6);
    let mut seen = vec![0.0_f32; rows as usize * width];
    noise.named("seen").fill_normal(0, &mut seen);
    let row = |(i, seen): (u64, &[f32])| {
        let (first, last) = seen.split_at(width / 2);
        let (a, b): (f32, f32) = (first.iter().sum(), last.iter().sum());
        let (e, f) = noise.normal_pair(i);
        [a - 0.5 * b + 0.2 * e as f32, b + 0.2 * f as f32]
    };
    let theta = Rows::from_rows((0..).zip(seen.chunks_exact(width)).map(row))?;
    theta.given(seen, width)
}

#[test]
fn a_conditional_flow_learns_its_context() -> Result<(), FlowError> {
    let (train, held_out) = observed(4000, 2)?.split(0.2, &mut Noise::seed(7))?;
    let mut flow = Posterior::<f32>::build(&Cpu::default(), 0)?;
    let trainer = Trainer::new(Adam::new(1e-2)).batch_size(100).epochs(40).silent();
    trainer.schedule(Schedule::Cosine).fit(&mut flow, &train)?;
    let found = evaluate(&flow, &held_out)?;
    let off = found.mean + entropy(0.2, 0.2);
    assert!(off.abs() < 0.1 + 3.0 * found.standard_error, "{off} nats off: {found:?}");
    Ok(())
}

#[test]
fn an_embedding_net_is_trained_with_its_flow_and_resumed() -> Result<(), FlowError> {
    type Models = (dfdx::nn::modules::Linear<6, 2, f32, Cpu>, Posterior<f32>);
    let (train, held_out) = observed(2000, 6)?.split(0.2, &mut Noise::seed(8))?;
    let build = || -> Result<Models, FlowError> {
        let cpu = Cpu::default();
        let mut net = cpu.build_module::<dfdx::nn::builders::Linear<6, 2>, f32>();
        // dfdx draws from a generator of its own: the same start for every run.
        let mut weight = vec![0.0; 12];
        Noise::seed(9).fill_normal(0, &mut weight);
        net.weight.copy_from(&weight);
        net.bias.copy_from(&[0.0; 2]);
        Ok((net, Posterior::build(&cpu, 0)?))
    };
    let loss = |models: &mut Models, batch: &Rows<f32>, gradients| {
        let context = models.0.forward(batch.context::<6>()?.trace(gradients));
        let log_prob = models.1.given(context).log_prob(batch.x::<Vector<2>>()?)?;
        Ok(log_prob.mean().negate())
    };
    let trainer = || {
        let trainer = Trainer::new(Adam::new(1e-2)).batch_size(100).epochs(30);
        trainer.schedule(Schedule::Cosine).clip(Clip::Norm(5.0)).silent()
    };
    let batches = || train.clone().validated_by(held_out.clone());

    let mut whole = build()?;
    let start = whole.0.weight.as_vec();
    let history = trainer().fit_with(&mut whole, batches(), loss)?;
    assert_ne!(whole.0.weight.as_vec(), start);
    let found = history.records.last().and_then(|r| r.validation_loss).expect("a validation");
    let off = found - entropy(0.2, 0.2);
    assert!(off.abs() < 0.2, "{off} nats off");

    let path = std::env::temp_dir().join(format!("flow-embedding-{}", std::process::id()));
    let stop = |record: &flow_core::train::Record| match record.step {
        100 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = trainer().checkpoint(&path).watch(stop);
    let history = stopped.fit_with(&mut build()?, batches(), loss)?;
    assert_eq!((history.records.len(), history.ending), (100, Ending::Stopped));
    let mut resumed = build()?;
    trainer().checkpoint(&path).resume().fit_with(&mut resumed, batches(), loss)?;
    std::fs::remove_file(&path).expect("the checkpoint");
    assert_eq!(resumed.0.weight.as_vec(), whole.0.weight.as_vec());
    assert_eq!(weights(&resumed.1), weights(&whole.1));
    Ok(())
}

/// dfdx reads tensors without asking: what was trained or set must be there.
#[test]
fn dfdx_sees_what_was_trained() -> Result<(), FlowError> {
    let rows = correlated(50, &Noise::seed(5));
    let mut flow = Plane::<f64>::build(&Cpu::default(), 0)?;
    flow.initialize(rows.x::<Vector<2>>()?)?;
    Trainer::default().steps(3).silent().fit(&mut flow, &rows)?;
    let mut copy = Plane::<f64>::build(&Cpu::default(), 1)?;
    // With this decay the average is the other's weights.
    copy.ema(&flow, 0.0);
    assert_eq!(weights(&copy), weights(&flow));
    Ok(())
}
