//! What finite differences cost: `cargo bench -p flow-core --bench finite_differences`.
//!
//! Training steps of 100 affine couplings of two numbers by the likelihood alone, and with finite
//! differences of both directions (FD) once every ten steps. Runs take turns; a step counts by the
//! median of its kind, so that other work on the machine weighs little.

use flow_core::objective::{FiniteDifferences, Likelihood, Objectives};
use flow_core::prelude::*;
use flow_core::train::History;
use flow_core::Cpu;

flow! {
    struct Checkerboard: Vector<2> {
        repeat 50 {
            affine_coupling(keep = first, scale = sigmoid(0.5, 1.0), net = mlp([64, 64], swish));
            affine_coupling(keep = second, scale = sigmoid(0.5, 1.0), net = mlp([64, 64], swish));
        }
    }
}

/// Steps of a run, runs of each kind, and steps from one use of finite differences to the next.
const STEPS: u64 = 30;
const RUNS: usize = 6;
const EVERY: u64 = 10;

fn main() -> Result<(), FlowError> {
    let mut x = vec![0.0_f32; 2 * 250];
    let noise = Noise::seed(1);
    x.iter_mut().zip(0..).for_each(|(x, i)| *x = 8.0 * noise.uniform(i) as f32 - 4.0);
    let rows = Rows::new(x, 2)?;
    let flow = Checkerboard::<f32>::build(&Cpu::default(), 0)?;
    let trainer = Trainer::new(Adam::new(1e-4)).batch_size(250).steps(STEPS).silent();
    let alone = Objectives::new().plus(1.0, Likelihood);
    let both = Objectives::new().plus(1.0, Likelihood).plus_every(
        EVERY,
        1e-3,
        FiniteDifferences::default(),
    );

    let (mut without, mut between, mut due) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let history = trainer.fit_objectives(&mut flow.clone(), &rows, &alone)?;
        without.extend(durations(&history).map(|(_, time)| time));
        let history = trainer.fit_objectives(&mut flow.clone(), &rows, &both)?;
        for (step, time) in durations(&history) {
            if step % EVERY == 0 { &mut due } else { &mut between }.push(time);
        }
    }
    let [without, between, due] = [without, between, due].map(median);
    let mean = ((EVERY - 1) as f64 * between + due) / EVERY as f64;
    println!("likelihood alone        {:>7.2} ms a step", 1e3 * without);
    println!("between two uses of FD  {:>7.2} ms", 1e3 * between);
    println!("with FD                 {:>7.2} ms, {:.2} times", 1e3 * due, due / without);
    println!("FD every {EVERY} steps      {:>7.2} ms, {:.2} times", 1e3 * mean, mean / without);
    Ok(())
}

/// The time of each step but the first, with the number of those before it.
fn durations(history: &History) -> impl Iterator<Item = (u64, f64)> + '_ {
    let pairs = history.records.windows(2);
    pairs.map(|pair| (pair[0].step, pair[1].seconds - pair[0].seconds))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
