//! What finite differences cost: `cargo bench -p flow-core --bench finite_differences`.
//!
//! Training steps of 100 affine couplings of two numbers by the likelihood alone, and with finite
//! differences of both directions in every step and once every ten steps. Runs take turns, and each
//! ratio is that of the fastest runs, so that other work on the machine weighs little.

use std::time::{Duration, Instant};

use flow_core::objective::{FiniteDifferences, Likelihood, Objectives};
use flow_core::prelude::*;
use flow_core::Cpu;

flow! {
    struct Checkerboard: Vector<2> {
        repeat 50 {
            affine_coupling(keep = first, scale = sigmoid(0.5, 1.0), net = mlp([64, 64], swish));
            affine_coupling(keep = second, scale = sigmoid(0.5, 1.0), net = mlp([64, 64], swish));
        }
    }
}

/// Steps of a run, and runs of each kind.
const STEPS: u64 = 20;
const RUNS: usize = 7;

fn main() -> Result<(), FlowError> {
    let mut x = vec![0.0_f32; 2 * 250];
    let noise = Noise::seed(1);
    x.iter_mut().zip(0..).for_each(|(x, i)| *x = 8.0 * noise.uniform(i) as f32 - 4.0);
    let rows = Rows::new(x, 2)?;
    let flow = Checkerboard::<f32>::build(&Cpu::default(), 0)?;
    let trainer = Trainer::new(Adam::new(1e-4)).batch_size(250).steps(STEPS).silent();
    let with = |every: Option<u64>| {
        let objectives = Objectives::new().plus(1.0, Likelihood);
        match every {
            Some(steps) => objectives.plus_every(steps, 1e-3, FiniteDifferences::default()),
            None => objectives,
        }
    };
    let kinds = [None, Some(10), Some(1)];
    let mut fastest = [Duration::MAX; 4];
    for _ in 0..RUNS {
        for (fastest, every) in fastest.iter_mut().zip(kinds) {
            let (mut flow, start) = (flow.clone(), Instant::now());
            trainer.fit_objectives(&mut flow, &rows, &with(every))?;
            *fastest = start.elapsed().min(*fastest);
        }
        let (mut flow, start) = (flow.clone(), Instant::now());
        trainer.fit(&mut flow, &rows)?;
        fastest[3] = start.elapsed().min(fastest[3]);
    }
    let names = ["likelihood", "with FD every 10 steps", "with FD in every step", "Trainer::fit"];
    for (name, time) in names.into_iter().zip(fastest) {
        println!(
            "{name:<24} {:>7.2} ms a step, {:.2} times the likelihood alone",
            1e3 * time.as_secs_f64() / STEPS as f64,
            time.as_secs_f64() / fastest[0].as_secs_f64()
        );
    }
    Ok(())
}
