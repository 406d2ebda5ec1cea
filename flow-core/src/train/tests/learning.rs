//! What runs learn.

use super::*;

#[test]
fn a_flow_learns_mean_and_spread() {
    let rows = data(1003, 4);
    let mut flow = plain();
    let trainer = Trainer::new(Adam::new(0.02)).batch_size(100).epochs(60).silent();
    let history = trainer.schedule(Schedule::Cosine).fit(&mut flow, &rows).unwrap();
    // The last batch of an epoch holds the three rows that are left.
    assert_eq!(history.records.len(), 60 * 11);
    assert_eq!(history.ending, Ending::Complete);
    let last = history.records.last().unwrap();
    assert_eq!((last.step, last.epoch), (660, 59));

    // The best density of this kind has the rows' own mean and variance.
    let entropy: f64 = (0..D)
        .map(|j| {
            let column: Vec<f64> = rows.values().chunks_exact(D).map(|row| row[j]).collect();
            let mean = column.iter().sum::<f64>() / 1003.0;
            let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1003.0;
            0.5 * (1.0 + (2.0 * std::f64::consts::PI * variance).ln())
        })
        .sum();
    let found = evaluate(&flow, &rows).unwrap();
    assert!((found.mean + entropy).abs() < 1e-3, "{} {entropy}", found.mean);
    let log_prob = View::new(&flow).log_prob_of_rows(rows.values()).unwrap();
    assert!((found.mean - log_prob.iter().sum::<f64>() / 1003.0).abs() < 1e-12);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut flow = plain();
            let batches = data(300, 1).validated_by(data(100, 2));
            let history =
                full(Adam::new(0.05).into()).batch_size(131).fit(&mut flow, batches).unwrap();
            (weights(&flow), timeless(history))
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn the_average_moves_by_its_share_in_each_step() {
    let rows = data(64, 1);
    let trainer = || Trainer::new(Adam::new(0.1)).batch_size(16).silent();
    let after = |steps: u64| {
        let mut flow = plain();
        trainer().steps(steps).fit(&mut flow, &rows).unwrap();
        weights(&flow)
    };
    let mut expected = after(1);
    for steps in 2..=6 {
        for (average, last) in expected.iter_mut().zip(after(steps)) {
            *average = 0.7 * *average + 0.3 * last;
        }
    }
    let mut flow = plain();
    trainer().steps(6).average(0.7).fit(&mut flow, &rows).unwrap();
    for (found, expected) in weights(&flow).iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-14);
    }
    let mut flow = plain();
    trainer().steps(6).average(0.7).use_average(false).fit(&mut flow, &rows).unwrap();
    assert_eq!(weights(&flow), after(6));
}

#[test]
fn a_run_without_progress_ends_early_with_its_best_weights() {
    // Held-out rows halfway: what is learned is wrong for them after a while.
    let held_out = Rows::from_rows((0..8).map(|i| [1.0 + 0.02 * f64::from(i), -0.5])).unwrap();
    let mut flow = plain();
    let history = Trainer::new(Adam::new(0.05))
        .batch_size(50)
        .validate_every(1)
        .patience(4)
        .silent()
        .fit(&mut flow, data(500, 1).validated_by(held_out.clone()))
        .unwrap();
    assert_eq!(history.ending, Ending::Patience);
    let (step, loss) = history.best.unwrap();
    assert!(step > 1, "the best should not be the first");
    assert_eq!(history.records.len() as u64, step + 4);
    let lowest = history.records.iter().filter_map(|r| r.validation_loss).fold(f64::MAX, f64::min);
    assert_eq!(loss, lowest);
    assert_eq!(-evaluate(&flow, &held_out).unwrap().mean, loss);
}

#[test]
fn frozen_parameters_and_buffers_stay() {
    for optimizer in optimizers() {
        let mut flow = plain();
        flow.set("1.mark", &[7.0]).unwrap();
        flow.set("0.shift", &[0.5, 0.25]).unwrap();
        flow.freeze("*.shift").unwrap();
        let before: Vec<f64> = flow.parameters().flat_map(|p| p.values.to_vec()).collect();
        full(optimizer).fit(&mut flow, data(90, 1).validated_by(data(9, 2))).unwrap();
        let parameters = flow.parameters().flat_map(|p| p.values.iter().map(move |v| (p, *v)));
        for ((parameter, after), before) in parameters.zip(before) {
            assert_eq!(after == before, parameter.frozen, "{}", parameter.name);
        }
        assert_eq!(flow.buffers().last().unwrap().values, [7.0]);
    }
}

#[test]
fn a_conditional_flow_learns_what_its_context_does() {
    let noise = Noise::seed(3);
    let context: Vec<f32> = (0..800).map(|i| noise.normal(i) as f32).collect();
    let row = |c: &[f32], i: u64| {
        let off = |j| 0.1 * noise.named("off").normal(2 * i + j) as f32;
        [2.0 * c[0] - c[1] + off(0), c[1] + off(1)]
    };
    let rows = Rows::from_rows(context.chunks_exact(2).zip(0..).map(|(c, i)| row(c, i)));
    let rows = rows.unwrap().given(context.clone(), 2).unwrap();
    let mut flow = Flow::<Tiny<2>, f32, Cpu>::build(&Cpu::default(), 0).unwrap();
    let trainer = Trainer::new(Adam::new(0.05)).batch_size(50).epochs(100).silent();
    trainer.schedule(Schedule::Cosine).fit(&mut flow, &rows).unwrap();
    // Two normals of standard deviation 0.1.
    let expected = -(1.0 + (2.0 * std::f64::consts::PI * 0.01).ln());
    let found = evaluate(&flow, &rows).unwrap();
    assert!((found.mean - expected).abs() < 4.0 * found.standard_error, "{found:?} {expected}");

    let error = trainer_error(&mut flow, &data32().unwrap());
    assert!(matches!(error, FlowError::MissingContext { expected: 2, .. }), "{error}");
    let error = trainer_error(&mut flow, &data32().unwrap().given(vec![0.0], 1).unwrap());
    assert!(error.to_string().starts_with("a row of the context has 1 numbers, expected 2"));
}
