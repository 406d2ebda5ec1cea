//! Sums of objectives, and the simple ones.

use std::cell::Cell;
use std::ops::ControlFlow;

use dfdx::prelude::{
    AsArray, Backward, Const, Gradients, TensorFrom, TensorFromVec, Trace, ZeroGrads,
};

use super::testing::*;
use super::*;
use crate::prelude::*;
use crate::stability::decorrelate;

#[test]
fn the_likelihood_is_that_of_the_flow() {
    // The base has weights too.
    let (flow, rows) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(6, 2));
    let x = || rows.x::<Vector<2>>().unwrap();
    let (value, gradient) =
        loss(&Objectives::new().plus(1.0, Likelihood), &flow, &*flow, x(), &step(0));
    let nll = |flow: &crate::Flow<_, f64>| {
        -flow.log_prob(x()).unwrap().as_vec().iter().sum::<f64>() / 6.0
    };
    assert!((value - nll(&flow)).abs() < 1e-12);
    assert_close(&gradient, &numeric(&flow, nll), 1e-7);
}

#[test]
fn a_context_and_an_image_reach_the_likelihood() {
    let mut flow = Steered::<f64>::build(&cpu(), 1).unwrap();
    let context = || cpu().tensor([[0.3, -1.0]]);
    let rows = rows(4, 3);
    let x = || rows.x::<Vector<3>>().unwrap();
    flow.initialize_given(x(), context()).unwrap();
    let view = flow.given(context());
    let (value, _) = loss(&Objectives::new().plus(1.0, Likelihood), &flow, &view, x(), &step(0));
    let mean = flow.given(context()).log_prob(x()).unwrap().as_vec().iter().sum::<f64>() / 4.0;
    assert!((value + mean).abs() < 1e-12);
}

#[test]
fn a_context_gets_the_gradient_of_all_objectives() {
    let mut flow = Steered::<f64>::build(&cpu(), 1).unwrap();
    let data = rows(4, 3);
    let x = || data.x::<Vector<3>>().unwrap();
    flow.initialize_given(x(), cpu().tensor([[0.3, -1.0]])).unwrap();
    let objectives = Objectives::new()
        .plus(1.0, Likelihood)
        .plus(0.7, FiniteDifferences::default())
        .plus(0.3, TransportCost);
    // One row of context for all, and one for each.
    for count in [1, 4] {
        let numbers = rows(count, 2).values().to_vec();
        let context =
            |numbers: &[f64]| cpu().tensor_from_vec(numbers.to_vec(), (count, Const::<2>));
        let value = |numbers: &[f64]| {
            let view = flow.given(context(numbers) * 1.5);
            objectives.loss(&view, x(), &step(0), flow.alloc_grads()).unwrap().array()
        };
        let given = context(&numbers);
        // Made of numbers before it, which get the gradient through its own tape.
        let view = flow.given(given.leaky_trace() * 1.5);
        let loss = objectives.loss(&view, x(), &step(0), Gradients::leaky()).unwrap();
        assert!((loss.array() - value(&numbers)).abs() < 1e-12);
        let mut gradients = loss.backward();
        let by_weights = flow.gradients(&mut gradients).unwrap();
        assert!(by_weights.values().flatten().any(|v| v.abs() > 1e-3));
        let expected: Vec<f64> = (0..numbers.len())
            .map(|i| {
                let at = |by: f64| {
                    let mut numbers = numbers.clone();
                    numbers[i] += by;
                    value(&numbers)
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            })
            .collect();
        assert_close(&gradients.get(&given).as_vec(), &expected, 1e-7);
        // The tape of a context is there once.
        let again = objectives.loss(&view, x(), &step(0), flow.alloc_grads());
        assert!(matches!(again, Err(FlowError::TapeUsed)));
    }
}

#[test]
fn transport_is_the_squared_way() {
    let (flow, rows) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(6, 2));
    let x = || rows.x::<Vector<2>>().unwrap();
    let (value, gradient) =
        loss(&Objectives::new().plus(1.0, TransportCost), &flow, &*flow, x(), &step(0));
    let way = |flow: &crate::Flow<_, f64>| {
        let z = flow.forward(x()).unwrap().0.as_vec();
        z.iter().zip(rows.values()).map(|(z, x)| (z - x).powi(2)).sum::<f64>() / 6.0
    };
    assert!((value - way(&flow)).abs() < 1e-12);
    assert_close(&gradient, &numeric(&flow, way), 1e-7);
}

#[test]
fn objectives_add_up_with_a_loss_of_ones_own() {
    let (flow, rows, step) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(9, 2), step(0));
    let x = || rows.x::<Vector<2>>().unwrap();
    let one = |weight, objective: &dyn Objective<_, f64>| {
        let objectives =
            Objectives::new().plus(weight, |pass: &BatchPass<'_, _, _>| objective.loss(pass));
        loss(&objectives, &flow, &*flow, x(), &step)
    };
    let own = |pass: &BatchPass<'_, _, f64>| decorrelate(pass.forward()?.0);
    let parts = [
        one(0.5, &Likelihood),
        one(-2.0, &TransportCost),
        one(0.1, &FiniteDifferences::default()),
        one(1.0, &Decorrelation),
    ];
    let objectives = Objectives::new()
        .plus(0.5, Likelihood)
        .plus(-2.0, TransportCost)
        .plus(0.1, FiniteDifferences::default());
    let all = objectives.loss_beside(&*flow, x(), &step, flow.alloc_grads(), own).unwrap();
    let expected: f64 = parts.iter().map(|(value, _)| value).sum();
    assert!((all.array() - expected).abs() < 1e-12);
    let mut gradients = all.backward();
    let names = flow.gradients(&mut gradients).unwrap();
    let found: Vec<f64> = flow.parameters().flat_map(|p| names[p.name].clone()).collect();
    let sum = (0..found.len()).map(|i| parts.iter().map(|(_, by)| by[i]).sum::<f64>());
    assert_close(&found, &sum.collect::<Vec<_>>(), 1e-11);
}

#[test]
fn an_objective_that_is_not_due_is_not_computed() {
    let (flow, rows) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(9, 2));
    let calls = Cell::new(0);
    let objectives = Objectives::new().plus_every(3, 1.0, |pass: &BatchPass<'_, _, f64>| {
        calls.set(calls.get() + 1);
        Likelihood.loss(pass)
    });
    for (index, expected) in [(0, 1), (1, 1), (2, 1), (3, 2), (9, 3), (10, 3)] {
        let x = rows.x::<Vector<2>>().unwrap();
        let (value, gradient) = loss(&objectives, &flow, &*flow, x, &step(index));
        assert_eq!(calls.get(), expected, "step {index}");
        assert_eq!(value == 0.0, index % 3 != 0);
        assert_eq!(gradient.iter().all(|g| *g == 0.0), index % 3 != 0);
    }
}

#[test]
fn weights_and_periods_that_make_no_sense_are_named() {
    let (flow, rows) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(9, 2));
    let refuse = |objectives: Objectives<'_, _, f64>, expected: &str| {
        let x = rows.x::<Vector<2>>().unwrap();
        let error = objectives.loss(&*flow, x, &step(0), flow.alloc_grads()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    refuse(Objectives::new().plus(f64::NAN, Likelihood), "the weight of an objective is NaN");
    refuse(Objectives::new().plus_every(0, 1.0, Likelihood), "the steps from one use");
}

fn trainer() -> Trainer {
    Trainer::new(Adam::new(1e-2)).batch_size(8).steps(23).seed(5).silent()
}

#[test]
fn training_by_the_likelihood_alone_is_maximum_likelihood() {
    let data = rows(40, 2);
    let mut expected = Plane::<f64>::build(&cpu(), 3).unwrap();
    let mut flow = expected.clone();
    trainer().fit(&mut expected, &data).unwrap();
    let objectives = Objectives::new().plus(1.0, Likelihood);
    trainer().fit_objectives(&mut flow, &data, &objectives).unwrap();
    for (ours, theirs) in flow.parameters().zip(expected.parameters()) {
        let apart = ours.values.iter().zip(theirs.values).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-9, "{}", ours.name);
    }
}

#[test]
fn a_run_that_goes_on_ends_as_one_without_interruption() {
    let path = std::env::temp_dir().join(format!("objectives-{}", std::process::id()));
    let data = rows(40, 3).given(rows(40, 2).values().to_vec(), 2).unwrap();
    let (train, held_out) = data.split(0.2, &mut Noise::seed(1)).unwrap();
    let objectives = Objectives::new().plus(1.0, Likelihood).plus(0.01, TransportCost).plus_every(
        4,
        0.1,
        FiniteDifferences::default(),
    );
    let run = |trainer: Trainer| {
        let mut flow = Steered::<f64>::build(&cpu(), 1).unwrap();
        flow.initialize_given(train.x::<Vector<3>>().unwrap(), train.context::<2>().unwrap())
            .unwrap();
        let batches = train.clone().validated_by(held_out.clone());
        let history = trainer.fit_objectives(&mut flow, batches, &objectives).unwrap();
        let weights: Vec<f64> = flow.parameters().flat_map(|p| p.values.to_vec()).collect();
        let losses: Vec<_> =
            history.records.iter().map(|r| (r.step, r.loss, r.validation_loss)).collect();
        (weights, losses)
    };
    let whole = run(trainer().validate_every(5));
    let stopping =
        trainer().validate_every(5).checkpoint(&path).watch(|record| match record.step {
            10 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    assert_eq!(run(stopping).1.len(), 10);
    assert_eq!(run(trainer().validate_every(5).checkpoint(&path).resume()), whole);
    std::fs::remove_file(path).unwrap();
}
