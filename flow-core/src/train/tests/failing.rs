//! Runs that cannot be, or cannot go on.

use super::*;

fn with_a_bad_batch(at: u64, value: f64) -> impl Iterator<Item = Rows<f64>> {
    (0..12).map(move |i| match i == at {
        true => Rows::new(vec![0.0, 0.0, value, 0.0], 2).unwrap(),
        false => data(20, i),
    })
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_step_and_block() {
    let mut flow = plain();
    flow.set("0.log_scale", &[-1.0, 0.0]).unwrap();
    flow.set("1.log_scale", &[2.0, 0.0]).unwrap();
    flow.freeze("*").unwrap();
    let before = weights(&flow);
    let trainer = Trainer::default().silent();
    let error = trainer.fit(&mut flow, with_a_bad_batch(4, 1.7e308)).unwrap_err();
    let FlowError::Diverged { step: 5, loss, origin, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(loss, f64::INFINITY);
    assert!(origin.ends_with("the one at 1"), "{origin}");
    assert_eq!(weights(&flow), before);

    let error = trainer.fit(&mut plain(), with_a_bad_batch(0, 1e200)).unwrap_err().to_string();
    assert!(error.starts_with("the loss became inf at step 1; every block's output"), "{error}");
    assert!(error.contains("\nhelp: lower the learning rate"), "{error}");
}

#[test]
fn a_roll_back_goes_on_from_good_weights_with_a_lower_rate() {
    let policy = |most| OnDivergence::RollBack { factor: 0.25, most };
    let run = |policy, batches: Vec<Rows<f64>>| {
        let mut flow = plain();
        let trainer = Trainer::new(Adam::new(0.1)).on_divergence(policy).silent();
        trainer.fit(&mut flow, batches.into_iter()).map(|history| (weights(&flow), history))
    };
    let (last, history) = run(policy(1), with_a_bad_batch(3, 1e200).collect()).unwrap();
    assert_eq!(history.roll_backs.len(), 1);
    assert_eq!(history.roll_backs[0].step, 4);
    let rates: Vec<f64> = history.records.iter().map(|r| r.learning_rate).collect();
    assert_eq!(rates, [vec![0.1; 3], vec![0.025; 8]].concat());
    // The good weights are those before the first step, so the first three leave no trace.
    let mut flow = plain();
    let rest = with_a_bad_batch(3, 1e200).skip(4);
    Trainer::new(Adam::new(0.025)).silent().fit(&mut flow, rest).unwrap();
    assert_eq!(weights(&flow), last);

    let twice = || with_a_bad_batch(3, 1e200).chain(with_a_bad_batch(3, 1e200)).collect();
    assert!(run(policy(2), twice()).is_ok());
    let error = run(policy(1), twice()).unwrap_err().to_string();
    assert!(error.contains("help: 1 returns to earlier weights did not help"), "{error}");
    let error = run(policy(1), with_a_bad_batch(0, 1e200).collect()).unwrap_err().to_string();
    assert!(error.contains("help: the first batch already fails"), "{error}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut flow = plain();
    let wide = Rows::new(vec![1.0; 6], 3).unwrap();
    let error = trainer_error(&mut flow, &wide).to_string();
    assert!(error.starts_with("a row of the data has 3 numbers, expected 2"), "{error}");
    assert!(evaluate(&flow, &wide).is_err());
    let error = trainer_error(&mut flow, &data(4, 0).given(vec![1.0], 1).unwrap()).to_string();
    assert!(error.starts_with("a row of the context has 1 numbers, expected 0"), "{error}");
    let empty = std::iter::empty::<Rows<f64>>();
    let error = Trainer::default().silent().fit(&mut flow, empty).unwrap_err();
    assert_eq!(error, FlowError::EmptyBatch { what: "stream of batches".into() });

    let new = || Trainer::default().silent();
    let refused = [
        (new().batch_size(0), "the batch size is 0"),
        (new().checkpoint_every(0), "the steps between checkpoints is 0"),
        (new().validate_every(0), "the steps between validations is 0"),
        (new().patience(3), "the data that patience looks at is none"),
        (new().resume(), "the checkpoint to resume from is none"),
        (new().average(1.0), "the decay of the average is 1"),
        (new().clip(Clip::Value(0.0)), "the limit on gradients is 0"),
        (Trainer::new(Adam::new(-1.0)), "the learning rate is -1"),
        (
            new().on_divergence(OnDivergence::RollBack { factor: 2.0, most: 1 }),
            "the factor of a roll-back is 2",
        ),
    ];
    for (trainer, expected) in refused {
        let error = trainer.fit(&mut flow, &data(4, 0)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let cosine = new().schedule(Schedule::Cosine);
    let stream = || [data(4, 0)].into_iter();
    let error = cosine.fit(&mut flow, stream()).unwrap_err().to_string();
    assert!(error.contains("help: trainer.steps(n)"), "{error}");
    assert!(cosine.steps(3).fit(&mut flow, stream()).is_ok());
}

#[test]
fn what_cannot_work_is_told_before_the_first_step() {
    let before = weights(&plain());
    let mut flow = plain();
    let lost = std::env::temp_dir().join("flow-core-no-such-folder/run.safetensors");
    let trainer = Trainer::new(Adam::default()).silent().checkpoint(lost);
    let error = trainer.fit(&mut flow, &data(20, 1)).unwrap_err().to_string();
    assert!(error.contains("flow-core-no-such-folder: is no folder"), "{error}");
    assert_eq!(weights(&flow), before);
    let wide = Rows::new(vec![0.0; 9], 3).unwrap();
    let trainer = Trainer::new(Adam::default()).silent();
    let error = trainer.fit(&mut flow, data(20, 1).validated_by(wide)).unwrap_err();
    assert!(matches!(error, FlowError::Length { found: 3, expected: 2, .. }), "{error}");
    assert_eq!(weights(&flow), before);
}

#[test]
fn a_last_checkpoint_that_cannot_be_written_costs_no_weights() {
    let folder = std::env::temp_dir().join(format!("flow-core-gone-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let gone = folder.clone();
    let run = |trainer: Trainer, flow: &mut Flow<Tiny<0>, f64, Cpu>| {
        trainer.average(0.5).fit(flow, &data(20, 1))
    };
    let trainer = || Trainer::new(Adam::new(0.1)).silent().steps(6).batch_size(5);
    let (mut flow, mut want) = (plain(), plain());
    let trainer_of_file = trainer().checkpoint(folder.join("run.safetensors"));
    let error = run(
        trainer_of_file.watch(move |_| {
            let _ = std::fs::remove_dir_all(&gone);
            ControlFlow::Continue(())
        }),
        &mut flow,
    );
    assert!(error.unwrap_err().to_string().contains("cannot be written"));
    run(trainer(), &mut want).unwrap();
    assert_eq!(weights(&flow), weights(&want));
}
