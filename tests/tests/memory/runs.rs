//! Trainings in every mode: what their guards saw, and how they resume.

use std::ops::ControlFlow;
use std::path::PathBuf;

use dfdx::prelude::{MeanTo, Trace};
use flow_core::memory::{Guard, Policy};
use flow_core::objective::{Likelihood, Objectives};
use flow_core::prelude::*;
use flow_core::train::{Guarded, Record};
use flow_core::Result;
use flow_tests::exploding::{exploding, Wide};
use flow_tests::weights;

use super::batch;

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("flow-memory-{name}-{}", std::process::id()))
}

fn under(policy: Policy) -> Memory {
    Memory::InvertedUnder(Guard { policy, ..Guard::default() })
}

fn stop_at_five(record: &Record) -> ControlFlow<()> {
    match record.step {
        5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

#[test]
fn a_run_resumes_in_every_mode() {
    let rows = batch::<f32>(120);
    let path = file("modes");
    let modes = [
        Memory::Stored,
        Memory::Recomputed,
        Memory::Inverted,
        under(Policy::SwitchToRecomputing),
        Memory::InvertedUnder(Guard::off_gradients_may_be_wrong()),
    ];
    let mut ends = Vec::new();
    for memory in modes {
        let trainer =
            || Trainer::new(Adam::new(1e-4)).memory(memory).batch_size(40).steps(8).silent();
        let start = || {
            let mut flow = exploding::<f32>();
            flow.freeze("steps.7.*").unwrap();
            flow
        };
        let mut whole = start();
        let history = trainer().fit(&mut whole, &rows).unwrap();
        trainer().checkpoint(&path).watch(stop_at_five).fit(&mut start(), &rows).unwrap();
        let mut resumed = start();
        let again = trainer().checkpoint(&path).resume().fit(&mut resumed, &rows).unwrap();
        assert!(weights::all(&resumed) == weights::all(&whole), "{memory:?}");
        assert_eq!(again.guard, history.guard, "{memory:?}");
        ends.push((weights::all(&whole), history.guard));
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(ends[0].0, ends[1].0);
    assert!(ends[2].1.steps == 8 && ends[2].1.between == Some((1, 8)), "{:?}", ends[2].1);
    // One step exploded, and then there was nothing to explode.
    assert_eq!(ends[3].1.between, Some((1, 1)));
    assert_eq!(ends[0].1, ends[4].1);
    assert_ne!(ends[2].0, ends[4].0);
}

/// Two flows, of which the second has lost its inverse, by a loss of one's own.
type Pair = (Wide<f32>, Wide<f32>);

fn pair() -> Pair {
    (Wide::build(&Default::default(), 2).unwrap(), exploding())
}

fn fit_pair(trainer: Trainer, memory: Memory, models: &mut Pair) -> Result<Guarded> {
    let history = trainer.fit_with(models, batch(120), |(calm, lost), rows, gradients| {
        let x = rows.x::<Vector<12>>()?.trace(gradients);
        let calm = calm.memory(memory).log_prob(x)?.mean();
        let lost = lost.memory(memory).log_prob(rows.x::<Vector<12>>()?.leaky_trace())?;
        Ok((calm + lost.mean()) * -1.0)
    });
    Ok(history?.guard)
}

fn fit_objectives(trainer: Trainer, memory: Memory, flow: &mut Wide<f32>) -> Result<Guarded> {
    let objectives = Objectives::new().plus(1.0, Likelihood);
    Ok(trainer.memory(memory).fit_objectives(flow, batch(120), &objectives)?.guard)
}

/// A run of eight steps at once, and one that is interrupted after five of them.
fn resumes<M>(
    name: &str,
    start: impl Fn() -> M,
    weights: impl Fn(&M) -> Vec<f32>,
    fit: impl Fn(Trainer, Memory, &mut M) -> Result<Guarded>,
) {
    let path = file(name);
    let trainer = || Trainer::new(Adam::new(1e-4)).batch_size(40).steps(8).silent();
    let mut ends = Vec::new();
    for memory in [Memory::Stored, Memory::Inverted, under(Policy::SwitchToRecomputing)] {
        let mut whole = start();
        let guard = fit(trainer(), memory, &mut whole).unwrap();
        let mut again = whole;
        let stopped = trainer().checkpoint(&path).watch(stop_at_five);
        let mut interrupted = start();
        fit(stopped, memory, &mut interrupted).unwrap();
        let mut resumed = start();
        let found = fit(trainer().checkpoint(&path).resume(), memory, &mut resumed).unwrap();
        assert!(weights(&resumed) == weights(&again), "{name}, {memory:?}");
        assert_eq!(found, guard, "{name}, {memory:?}");
        // A run that begins anew trusts the inverse again.
        let anew = fit(trainer().steps(1), memory, &mut again).unwrap();
        assert_eq!(anew.steps, guard.steps.min(1), "{name}, {memory:?}");
        ends.push(guard);
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(ends[0], Guarded::default());
    assert_eq!((ends[1].steps, ends[1].between), (8, Some((1, 8))));
    assert!(ends[1].recomputed >= 8);
    assert_eq!((ends[2].steps, ends[2].between), (1, Some((1, 1))));

    let error = fit(trainer(), under(Policy::Error), &mut start()).unwrap_err();
    assert!(matches!(error, FlowError::InverseExploded { .. }), "{name}: {error:?}");
}

#[test]
fn a_run_by_a_loss_of_ones_own_is_guarded_and_resumes() {
    let both = |(a, b): &Pair| [weights::all(a), weights::all(b)].concat();
    resumes("pair", pair, both, fit_pair);
}

#[test]
fn a_run_by_objectives_is_guarded_and_resumes() {
    resumes("objectives", exploding::<f32>, |flow| weights::all(flow), fit_objectives);
}
