//! Runs of a small flow.

use std::ops::ControlFlow;
use std::path::PathBuf;

use dfdx::prelude::{Cpu, MeanTo, Trace};

use super::*;
use crate::testing::Given;
use crate::{
    Architecture, Block, BufferKind, Buffers, Builder, Flow, FlowError, Item, Noise, Parameter,
    Pass, Result, Scalar, Start, Values, Vector, View,
};

/// `y = x·exp(log_scale) + shift + weight·context`, with `log_scale` at most 2.
struct Affine {
    log_scale: Parameter,
    shift: Parameter,
    weight: Parameter,
    mark: Buffers,
}

const D: usize = 2;

impl Affine {
    fn new<E: Scalar>(b: &mut Builder<E>, context: usize) -> Self {
        Self {
            log_scale: b.parameter("log_scale", &[D], Start::Constant(0.0)),
            shift: b.parameter("shift", &[D], Start::Uniform(0.1)),
            weight: b.parameter("weight", &[D, context], Start::Constant(0.0)),
            mark: b.buffer("mark", &[1], BufferKind::Float, [E::zero()]),
        }
    }
}

impl<E: Scalar> Block<E> for Affine {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (scale, shift) = (pass.parameter(&self.log_scale), pass.parameter(&self.shift));
        let (weight, context) = (pass.parameter(&self.weight), pass.context());
        let input = pass.take_copy(x);
        pass.save_or_give(input);
        let c = weight.len() / D;
        for (row, (x, log_det)) in x.chunks_exact_mut(D).zip(log_det).enumerate() {
            for j in 0..D {
                x[j] = x[j] * scale[j].exp() + shift[j];
                for k in 0..c {
                    x[j] = x[j] + weight[j * c + k] * context[row * c + k];
                }
                *log_det = *log_det + scale[j];
            }
        }
        Ok(())
    }

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        let x = pass.restore();
        let (scale, context) = (pass.parameter(&self.log_scale), pass.context());
        let c = self.weight.len() / D;
        for (row, g) in g.chunks_exact_mut(D).enumerate() {
            for j in 0..D {
                let by_scale = g[j] * x[row * D + j] * scale[j].exp() + by_log_det[row];
                let by = pass.gradient(&self.log_scale);
                by[j] = by[j] + by_scale;
                let by = pass.gradient(&self.shift);
                by[j] = by[j] + g[j];
                for k in 0..c {
                    let by = pass.gradient(&self.weight);
                    by[j * c + k] = by[j * c + k] + g[j] * context[row * c + k];
                }
                g[j] = g[j] * scale[j].exp();
            }
        }
        pass.give(x);
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        Ok(())
    }

    fn project(&self, values: &mut Values<E>) {
        for value in values.parameter_mut(&self.log_scale) {
            *value = value.min(E::of(2.0));
        }
        let _ = values.buffer(&self.mark);
    }
}

struct Tiny<const C: usize>(Affine, Affine);

impl<E: Scalar, const C: usize> Block<E> for Tiny<C> {
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.forward(&self.0, x, log_det)?;
        pass.forward(&self.1, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.inverse(&self.1, z, log_det)?;
        pass.inverse(&self.0, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        pass.forward_vjp(&self.1, g, by_log_det)?;
        pass.forward_vjp(&self.0, g, by_log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        pass.inverse_vjp(&self.0, g, by_log_det)?;
        pass.inverse_vjp(&self.1, g, by_log_det)
    }

    fn project(&self, values: &mut Values<E>) {
        Block::<E>::project(&self.0, values);
        Block::<E>::project(&self.1, values);
    }
}

impl<E: Scalar, const C: usize> Architecture<E> for Tiny<C>
where
    (): Given<C>,
{
    type Event = Vector<D>;
    type Latent = Vector<D>;
    type Context = <() as Given<C>>::Context;
    type Base = crate::base::Normal;
    const NAME: &'static str = "Tiny";
    const ITEMS: &'static [Item] = &[];

    fn new(b: &mut Builder<E>) -> Result<Self> {
        let first = b.block("0", |b| Ok(Affine::new(b, C)))?;
        Ok(Self(first, b.block("1", |b| Ok(Affine::new(b, C)))?))
    }
}

type Plain = Flow<Tiny<0>, f64, Cpu>;

fn plain() -> Plain {
    Flow::build(&Cpu::default(), 1).unwrap()
}

/// Rows around (3, −1) with standard deviations 2 and 0.5.
fn data(rows: u64, seed: u64) -> Rows<f64> {
    let noise = Noise::seed(seed);
    let row = |i| [3.0 + 2.0 * noise.normal(2 * i), -1.0 + 0.5 * noise.normal(2 * i + 1)];
    Rows::from_rows((0..rows).map(row)).unwrap()
}

fn weights<A: Architecture<E>, E: Scalar>(flow: &Flow<A, E, Cpu>) -> Vec<E> {
    flow.machine().state().values.parameters.clone()
}

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("flow-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn timeless(mut history: History) -> History {
    history.records.iter_mut().for_each(|record| record.seconds = 0.0);
    history
}

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

fn optimizers() -> Vec<Optimizer> {
    vec![
        Adam { weight_decay: 0.01, ..Adam::new(0.05) }.into(),
        AdamW::new(0.05).into(),
        Adamax::new(0.05).into(),
        Sgd::new(0.01).into(),
        Sgd { momentum: 0.9, nesterov: true, ..Sgd::new(0.005) }.into(),
    ]
}

/// A trainer in which everything that has a state takes part.
fn full(optimizer: Optimizer) -> Trainer {
    Trainer::new(optimizer)
        .schedule(Schedule::Exponential { factor: 0.7, every: 5 })
        .warm_up(3)
        .clip(Clip::Norm(0.9))
        .average(0.8)
        .patience(50)
        .validate_every(4)
        .on_divergence(OnDivergence::RollBack { factor: 0.5, most: 3 })
        .batch_size(16)
        .epochs(3)
        .seed(5)
        .silent()
}

#[test]
fn a_resumed_run_ends_as_one_without_interruption() {
    for (i, optimizer) in optimizers().into_iter().enumerate() {
        let (train, held_out) = (data(90, 1), data(20, 2));
        let run = |trainer: Trainer| {
            let mut flow = plain();
            let history = trainer.fit(&mut flow, train.clone().validated_by(held_out.clone()));
            (weights(&flow), timeless(history.unwrap()))
        };
        let whole = run(full(optimizer));
        assert_eq!(whole.1.records.len(), 18);

        // Ended in good order after ten steps; killed then, with what was written after seven.
        let (path, killed) = (file(&format!("resume-{i}")), file(&format!("killed-{i}")));
        let (from, to) = (path.clone(), killed.clone());
        let (_, history) =
            run(full(optimizer).checkpoint(&path).checkpoint_every(7).watch(move |record| {
                if record.step < 10 {
                    return ControlFlow::Continue(());
                }
                std::fs::copy(&from, &to).unwrap();
                ControlFlow::Break(())
            }));
        assert_eq!((history.records.len(), history.ending), (10, Ending::Stopped));
        for path in [path, killed] {
            let resumed = run(full(optimizer).checkpoint(&path).resume());
            assert_eq!(resumed, whole, "{}", optimizer.name());
            let again = run(full(optimizer).checkpoint(&path).resume());
            assert_eq!(again, whole, "{}, when it was complete", optimizer.name());
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_resumed_stream_passes_over_what_was_used() {
    let batches = || (0..9).map(|i| data(5 + i % 3, i));
    let path = file("stream");
    let mut whole = plain();
    let trainer = || Trainer::new(Adam::new(0.1)).silent().checkpoint(&path).checkpoint_every(4);
    let history = trainer().fit(&mut whole, batches()).unwrap();
    assert_eq!(history.records.len(), 9);

    // The stream fails in its seventh batch; what was written after four goes on.
    let broken = batches().map(Ok).take(6).chain([Rows::new(vec![0.0, f64::NAN], 2)]);
    let error = trainer().fit(&mut plain(), broken).unwrap_err();
    assert!(matches!(error, FlowError::NonFinite { row: 0, entry: 1, .. }), "{error}");
    let mut resumed = plain();
    let again = trainer().resume().fit(&mut resumed, batches()).unwrap();
    assert_eq!(weights(&resumed), weights(&whole));
    assert_eq!(timeless(again), timeless(history));
    let short = trainer().resume().fit(&mut plain(), batches().take(3)).unwrap_err().to_string();
    assert!(short.contains("number of batches in the stream is 3"), "{short}");
    std::fs::remove_file(path).unwrap();
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

fn data32() -> Result<Rows<f32>> {
    Rows::new(vec![1.0; 6], 2)
}

fn trainer_error<A: Architecture<E>, E: Scalar>(
    flow: &mut Flow<A, E, Cpu>,
    rows: &Rows<E>,
) -> FlowError {
    Trainer::default().silent().fit(flow, rows).unwrap_err()
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
fn a_checkpoint_of_another_run_is_refused_and_changes_nothing() {
    let path = file("other");
    let rows = data(20, 1);
    let new = |optimizer: Optimizer| Trainer::new(optimizer).silent().checkpoint(&path).steps(3);
    new(Adam::default().into()).fit(&mut plain(), &rows).unwrap();
    let mut flow = plain();
    let before = weights(&flow);
    let mut refuse = |trainer: Trainer, expected: &str| {
        let error = trainer.resume().fit(&mut flow, &rows).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(weights(&flow), before);
    };
    refuse(new(Sgd::default().into()), "the optimizer of the checkpoint is Adam, that of");
    refuse(new(Adam::default().into()).seed(8), "the seed of the checkpoint is 0");
    refuse(new(Adam::default().into()).batch_size(8), "the batch size of the checkpoint is 256");

    let mut other = Flow::<Tiny<2>, f64, Cpu>::build(&Cpu::default(), 0).unwrap();
    let given = rows.clone().given(vec![0.0, 0.0], 2).unwrap();
    let error = new(Adam::default().into()).resume().fit(&mut other, &given).unwrap_err();
    let FlowError::WeightsDiffer { differences, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(differences[0], "0.weight has shape [2, 0], expected [2, 2]");
    let mut single = Flow::<Tiny<0>, f32, Cpu>::build(&Cpu::default(), 0).unwrap();
    let error = new(Adam::default().into()).resume().fit(&mut single, &data32().unwrap());
    assert!(error.unwrap_err().to_string().contains("holds F64, expected f32"));

    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() - 9], &whole[..5], b"not a checkpoint"] {
        std::fs::write(&path, bytes).unwrap();
        refuse(new(Adam::default().into()), "not a checkpoint");
    }
    std::fs::remove_file(&path).unwrap();
    let nowhere = Trainer::default().silent().steps(1).checkpoint("/nowhere/at/all");
    assert!(matches!(nowhere.fit(&mut flow, &rows), Err(FlowError::File { .. })));
}

#[test]
fn a_loss_of_ones_own_trains_as_the_likelihood_does() {
    use crate::NormalizingFlow;
    let batches = || data(90, 1).validated_by(data(20, 2));
    for optimizer in optimizers() {
        let trainer = full(optimizer);
        let mut expected = plain();
        let history = trainer.fit(&mut expected, batches()).unwrap();
        let nll = |flow: &mut Plain, batch: &Rows<f64>, gradients| {
            let x = batch.x::<Vector<2>>()?.trace(gradients);
            Ok(flow.log_prob(x)?.mean().negate())
        };
        let mut flow = plain();
        let found = trainer.fit_with(&mut flow, batches(), nll).unwrap();
        assert_eq!(found.records.len(), history.records.len());
        for (found, expected) in weights(&flow).iter().zip(weights(&expected)) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        let ((_, found), (_, expected)) = (found.best.unwrap(), history.best.unwrap());
        assert!((found - expected).abs() < 1e-9);

        // And it resumes.
        let path = file("joint");
        let stop = |record: &Record| match record.step {
            10 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let interrupted = trainer.clone().checkpoint(&path);
        interrupted.clone().watch(stop).fit_with(&mut plain(), batches(), nll).unwrap();
        let mut resumed = plain();
        resumed.set("0.mark", &[7.0]).unwrap();
        interrupted.resume().fit_with(&mut resumed, batches(), nll).unwrap();
        assert_eq!(weights(&resumed), weights(&flow));
        // Buffers come back too.
        assert_eq!(resumed.buffers().next().unwrap().values, [0.0]);
        std::fs::remove_file(path).unwrap();
    }
}
