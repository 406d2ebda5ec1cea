//! The loop of a run.

use std::time::Instant;

use super::clip::norm;
use super::learner::Learner;
use super::progress::Progress;
use super::update::Moments;
use super::{
    checkpoint, Batches, Ending, History, OnDivergence, Place, Record, RollBack, Step, Trainer,
};
use crate::engine::Watch;
use crate::{FlowError, Result, Rows, Scalar, Values};

/// Steps between two copies of weights that a run can go back to.
const GOOD_EVERY: u64 = 100;

/// All that changes in a run, but for the weights themselves.
pub(super) struct Run<E> {
    pub(super) place: Place,
    /// Updates done.
    pub(super) step: u64,
    pub(super) moments: Moments<E>,
    /// The moving average of the weights; empty before the first step, or where none is kept.
    pub(super) average: Vec<E>,
    /// What roll-backs have multiplied the learning rate by.
    pub(super) rate_scale: f64,
    /// The weights of the best validation.
    pub(super) best: Option<Values<E>>,
    /// Validations since the best one.
    pub(super) waited: u64,
    /// The step of the last validation.
    pub(super) validated: u64,
    pub(super) good: Option<Good<E>>,
    pub(super) history: History,
    /// How long earlier parts of the run took.
    pub(super) seconds: f64,
}

/// What a roll-back brings back: the state before a step whose loss and gradient were finite.
pub(super) struct Good<E> {
    pub(super) parameters: Vec<E>,
    pub(super) moments: Moments<E>,
    pub(super) average: Vec<E>,
}

impl<E: Scalar> Run<E> {
    pub(super) fn new(trainer: &Trainer, parameters: usize) -> Self {
        Self {
            place: Place::new(trainer.seed, trainer.batch_size),
            step: 0,
            moments: trainer.optimizer.start(parameters),
            average: Vec::new(),
            rate_scale: 1.0,
            best: None,
            waited: 0,
            validated: 0,
            good: None,
            history: History::new(),
            seconds: 0.0,
        }
    }
}

/// What became of a batch.
enum Outcome {
    Updated { loss: f64, learning_rate: f64, gradient_norm: f64 },
    Diverged { loss: f64, origin: String },
}

/// Trains from the beginning, or on from a checkpoint.
pub(super) fn train<E: Scalar>(
    trainer: &Trainer,
    learner: &mut impl Learner<E>,
    mut batches: impl Batches<E>,
) -> Result<History> {
    let per_epoch = batches.per_epoch(trainer.batch_size.max(1));
    let total = trainer.total(per_epoch);
    trainer.check(total, batches.held_out().is_some())?;
    batches.held_out().map_or(Ok(()), |rows| learner.takes(rows))?;
    let begun = Instant::now();
    let mut run = match trainer.interrupted() {
        Some(path) => {
            let run = checkpoint::load(path, trainer, learner)?;
            batches.catch_up(&run.place)?;
            run
        }
        None => {
            learner.watches().for_each(|watch| watch.distrust(false));
            Run::new(trainer, learner.parameters().len())
        }
    };
    let left = total.map_or(0, |total| total.saturating_sub(run.step));
    run.history.records.reserve(left.min(1 << 20) as usize);
    let mut progress = Progress::new(trainer.silent, run.step, total);
    let (mut batch, mut gradient) = (Rows::default(), Vec::new());

    run.history.ending = loop {
        if let Some(ending) = run.ended(trainer) {
            break ending;
        }
        if !batches.read(&mut run.place, &mut batch)? {
            if run.place.batch == 0 && run.step == 0 {
                return Err(FlowError::EmptyBatch { what: "stream of batches".into() });
            }
            break Ending::Complete;
        }
        if batch.is_empty() {
            return Err(FlowError::EmptyBatch { what: "batch".into() });
        }
        let epoch = run.place.epoch;
        run.place.batch += 1;
        let ends_epoch = per_epoch == Some(run.place.batch);
        if ends_epoch {
            (run.place.epoch, run.place.batch) = (epoch + 1, 0);
        }

        match run.advance(trainer, learner, &batch, &mut gradient, total)? {
            Outcome::Diverged { loss, origin } => {
                let note = run.recover(trainer, learner, loss, origin)?;
                progress.note(&note);
                continue;
            }
            Outcome::Updated { loss, learning_rate, gradient_norm } => {
                let news = learner.watches().filter_map(Watch::news).collect();
                if let Some(note) = run.history.exploded(run.step, news) {
                    progress.note(&note);
                }
                let due = match trainer.validate_every {
                    Some(steps) => run.step % steps == 0,
                    None => ends_epoch,
                };
                let validation_loss = match batches.held_out() {
                    Some(held_out) if due => Some(run.validate(trainer, learner, held_out)?),
                    _ => None,
                };
                let seconds = run.seconds + begun.elapsed().as_secs_f64();
                let record = Record {
                    step: run.step,
                    epoch,
                    loss,
                    validation_loss,
                    learning_rate,
                    gradient_norm,
                    seconds,
                };
                run.history.records.push(record);
                progress.step(run.step, loss, batch.len());
                if run.step % trainer.checkpoint_every == 0 {
                    run.save(trainer, learner)?;
                }
                if trainer.watch.as_ref().is_some_and(|watch| watch.stops(&record)) {
                    break Ending::Stopped;
                }
            }
        }
    };
    progress.finish(run.step);
    // Before the last validation, which a run that goes on from here would not have done.
    let saved = run.save(trainer, learner);
    // The learner has its best weights also where they could not be written.
    run.finish(trainer, learner, batches.held_out())?;
    saved.map(|()| run.history)
}

impl<E: Scalar> Run<E> {
    fn ended(&self, trainer: &Trainer) -> Option<Ending> {
        let done = trainer.steps.is_some_and(|steps| self.step >= steps)
            || trainer.passes().is_some_and(|epochs| self.place.epoch >= epochs);
        if done {
            return Some(Ending::Complete);
        }
        trainer.patience.is_some_and(|most| self.waited >= most).then_some(Ending::Patience)
    }

    /// One update, where loss and gradient are finite.
    fn advance(
        &mut self,
        trainer: &Trainer,
        learner: &mut impl Learner<E>,
        batch: &Rows<E>,
        gradient: &mut Vec<E>,
        total: Option<u64>,
    ) -> Result<Outcome> {
        let rolls_back = matches!(trainer.on_divergence, OnDivergence::RollBack { .. });
        let step = Step::of_training(trainer.seed, self.step);
        // What was seen before belongs to no step.
        learner.watches().for_each(|watch| drop(watch.news()));
        let loss = match learner.gradient(batch, &step, gradient) {
            Err(error @ FlowError::Block { .. }) if rolls_back => {
                return Ok(Outcome::Diverged { loss: f64::NAN, origin: error.to_string() });
            }
            loss => loss?,
        };
        let gradient_norm = norm(gradient, learner.trainable());
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Ok(Outcome::Diverged { loss, origin: learner.origin(batch, &step) });
        }
        if rolls_back && (self.good.is_none() || self.step.is_multiple_of(GOOD_EVERY)) {
            self.good = Some(Good {
                parameters: learner.parameters().to_vec(),
                moments: self.moments.clone(),
                average: self.average.clone(),
            });
        }
        if let Some(clip) = trainer.clip {
            clip.apply(gradient_norm, gradient, learner.trainable());
        }
        let multiplier = trainer.schedule.multiplier(self.step, trainer.warm_up, total);
        let rate = trainer.optimizer.learning_rate() * multiplier * self.rate_scale;
        let moments = &mut self.moments;
        let stepped = learner.step(|parameters, trainable| {
            trainer.optimizer.update(rate, moments, parameters, gradient, trainable);
        });
        match stepped {
            Err(error @ FlowError::Block { .. }) if rolls_back => {
                return Ok(Outcome::Diverged { loss, origin: error.to_string() });
            }
            stepped => stepped?,
        }
        if let Some(decay) = trainer.average {
            self.follow(decay, learner);
        }
        self.step += 1;
        Ok(Outcome::Updated { loss, learning_rate: rate, gradient_norm })
    }

    /// Moves the average of the weights; its first value is the weights after the first step.
    fn follow(&mut self, decay: f64, learner: &impl Learner<E>) {
        let parameters = learner.parameters();
        if self.average.is_empty() {
            self.average.extend_from_slice(parameters);
            return;
        }
        let toward = E::of(1.0 - decay);
        for range in learner.trainable() {
            let part = self.average[range.clone()].iter_mut().zip(&parameters[range.clone()]);
            part.for_each(|(average, &p)| *average += toward * (p - *average));
        }
    }

    /// Goes back to the last good weights, or gives up.
    fn recover(
        &mut self,
        trainer: &Trainer,
        learner: &mut impl Learner<E>,
        loss: f64,
        origin: String,
    ) -> Result<String> {
        let step = self.step + 1;
        let help = match (trainer.on_divergence, &self.good) {
            (OnDivergence::RollBack { factor, most }, Some(good)) => {
                if (self.history.roll_backs.len() as u64) < most {
                    self.moments.clone_from(&good.moments);
                    self.average.clone_from(&good.average);
                    self.rate_scale *= factor;
                    learner.set(&good.parameters, &[])?;
                    let note = format!(
                        "step {step}: the loss became {loss}; {origin}; back to earlier weights"
                    );
                    self.history.roll_backs.push(RollBack { step, origin });
                    return Ok(note);
                }
                format!("{most} returns to earlier weights did not help: lower the learning rate")
            }
            (OnDivergence::RollBack { .. }, None) => {
                "the first batch already fails: check the data and the starting weights".into()
            }
            (OnDivergence::Stop, _) => {
                "lower the learning rate, clip gradients, or choose OnDivergence::RollBack".into()
            }
        };
        Err(FlowError::Diverged { step, loss, origin, help })
    }

    /// The loss of held-out rows, under the average where that counts.
    fn validate(
        &mut self,
        trainer: &Trainer,
        learner: &mut impl Learner<E>,
        held_out: &Rows<E>,
    ) -> Result<f64> {
        self.validated = self.step;
        if !self.averages(trainer) {
            return self.judge(trainer, learner, held_out);
        }
        let last = learner.parameters().to_vec();
        learner.set(&self.average, &[])?;
        let loss = self.judge(trainer, learner, held_out);
        learner.set(&last, &[])?;
        loss
    }

    fn judge(
        &mut self,
        trainer: &Trainer,
        learner: &mut impl Learner<E>,
        held_out: &Rows<E>,
    ) -> Result<f64> {
        let loss = learner.loss(held_out)?;
        if self.history.best.is_none_or(|(_, best)| loss < best || best.is_nan()) {
            self.history.best = Some((self.step, loss));
            self.waited = 0;
            if trainer.patience.is_some() {
                self.best = Some(learner.values()?);
            }
        } else {
            self.waited += 1;
        }
        Ok(loss)
    }

    fn averages(&self, trainer: &Trainer) -> bool {
        trainer.use_average && !self.average.is_empty()
    }

    fn save(&self, trainer: &Trainer, learner: &mut impl Learner<E>) -> Result<()> {
        match &trainer.checkpoint {
            Some(path) => checkpoint::save(path, trainer, learner, self),
            None => Ok(()),
        }
    }

    /// Leaves the learner with the weights that the run was for.
    fn finish(
        &mut self,
        trainer: &Trainer,
        learner: &mut impl Learner<E>,
        held_out: Option<&Rows<E>>,
    ) -> Result<()> {
        if let Some(held_out) = held_out.filter(|_| self.step > 0 && self.validated != self.step) {
            let loss = self.validate(trainer, learner, held_out)?;
            if let Some(record) = self.history.records.last_mut() {
                record.validation_loss = Some(loss);
            }
        }
        if let Some(best) = &self.best {
            learner.set(&best.parameters, &best.buffers)
        } else if self.averages(trainer) {
            learner.set(&self.average, &[])
        } else {
            Ok(())
        }
    }
}
