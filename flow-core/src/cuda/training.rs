//! Training on a device.

use flow_cuda::kernels::noise::stream;
use flow_cuda::kernels::optimizer::{adam, clip_factor, Adam as Rule, STEP};
use flow_cuda::kernels::rows::{add_column_products, fill, Rows as Numbers, Vectors};
use flow_cuda::kernels::weights::take_rows;
use flow_cuda::{Area, Device, Op, Recording, Slot};

use super::flow::{finished, OnDevice};
use super::lowered::Places;
use super::plans::{Recorded, LOAD, PASS, PRODUCT, UPDATE};
use crate::engine::Direction;
use crate::train::{Clip, Optimizer, Place, Rows, Step};
use crate::{Architecture, Context, Event, FlowError, Result};

/// A training of a flow by its likelihood, on the device: parameters, gradients, moments and data
/// stay there. A step sends the numbers of its rows and seven more, and brings nothing back but,
/// where a fixed point or a solver runs until every row has its answer, whether one is left.
///
/// Made by [`OnDevice::train`].
pub struct Training<'f, A: Architecture<f32>, D: Device> {
    flow: &'f mut OnDevice<A, D>,
    rule: Rule,
    /// What an update takes away of the weights beside the gradient, times the rate.
    decay: f64,
    rate: f64,
    place: Place,
    seed: u64,
    rows: usize,
    steps: u64,
}

/// What an update is made of.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) rule: Rule,
    pub(super) clip: Option<f64>,
    pub(super) trainable: Vec<std::ops::Range<usize>>,
    /// Numbers in all parameters, and rows of data.
    pub(super) parameters: usize,
    pub(super) data: usize,
}

impl Update {
    /// The optimiser's memory: both moments, the numbers of a step, the clip's factor and the loss.
    fn moments(&self) -> [Slot; 2] {
        let count = self.parameters;
        [0, count].map(|start| Slot::new(Area::Optimizer, start, count))
    }

    pub(super) fn numbers(&self) -> Slot {
        Slot::new(Area::Optimizer, 2 * self.parameters, STEP + 2)
    }

    pub(super) fn loss(&self) -> Slot {
        self.numbers().part(STEP + 1, 1)
    }

    /// Numbers of the optimiser's memory.
    pub(super) fn len(&self) -> usize {
        2 * self.parameters + STEP + 2
    }

    /// Brings the chosen rows of the data to their places.
    pub(super) fn load(&self, places: &Places, order: Slot) -> Vec<Op> {
        let rows = order.len;
        let Places { x, context, by_log_det, .. } = *places;
        let data = Slot::new(Area::Data, 0, self.data * x.width);
        let beside = Slot::new(Area::Data, data.len, self.data * context.width);
        let mut ops = vec![take_rows(x.slot, data, order), fill(by_log_det, -1.0 / rows as f64)];
        if context.width > 0 {
            ops.push(take_rows(context.slot, beside, order));
        }
        ops
    }

    /// The loss, and the parameters' step by their gradient.
    pub(super) fn step(&self, recording: &mut Recording, places: &Places) -> Vec<Op> {
        let (numbers, rows) = (self.numbers(), places.log_det.len);
        let all = Vectors { count: rows, features: 1, pixels: 1 };
        let (loss, factor) = (self.loss(), -1.0 / rows as f64);
        let log_prob = Numbers::new(places.log_det, 1);
        let mut ops = vec![fill(loss, 0.0)];
        ops.extend(add_column_products(recording, loss, all, log_prob, None, None, factor));
        let part = |area, range: &std::ops::Range<usize>| Slot::new(area, range.start, range.len());
        let clip = self.clip.map(|limit| {
            let factor = numbers.part(STEP, 1);
            let parts: Vec<Slot> =
                self.trainable.iter().map(|range| part(Area::Gradient, range)).collect();
            ops.extend(clip_factor(recording, factor, &parts, limit));
            factor
        });
        for range in &self.trainable {
            let [parameters, gradient] = [Area::Parameters, Area::Gradient].map(|a| part(a, range));
            let moments = self.moments().map(|m| m.part(range.start, range.len()));
            let step = numbers.part(0, STEP);
            ops.push(adam(self.rule, parameters, gradient, moments, step, clip));
        }
        ops
    }
}

impl<A: Architecture<f32>, D: Device> OnDevice<A, D> {
    /// Starts a training on `data`, whose rows go to the device once, in batches of `batch` rows:
    /// those that [`Trainer`](crate::Trainer) takes with the same `seed`.
    ///
    /// # Errors
    /// An optimiser other than `Adam` and `AdamW`, or with options out of range; data of another width or without rows; a flow that
    /// has no kernels yet, or too little memory on the device.
    pub fn train(
        &mut self,
        optimizer: impl Into<Optimizer>,
        clip: Option<Clip>,
        data: &Rows<f32>,
        batch: usize,
        seed: u64,
    ) -> Result<Training<'_, A, D>> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        let (rule, rate, decay) = match optimizer {
            Optimizer::Adam(a) => (
                Rule { betas: a.betas, epsilon: a.epsilon, weight_decay: a.weight_decay },
                a.learning_rate,
                0.0,
            ),
            Optimizer::AdamW(a) => (
                Rule { betas: a.betas, epsilon: a.epsilon, weight_decay: 0.0 },
                a.learning_rate,
                a.weight_decay,
            ),
            other => {
                let expected = "Adam or AdamW on a GPU";
                return Err(FlowError::option("the optimiser", other.name(), expected));
            }
        };
        let clip = match clip {
            None => None,
            Some(Clip::Norm(limit)) if limit > 0.0 => Some(limit),
            Some(other) => {
                let expected = "Clip::Norm above 0 on a GPU";
                return Err(FlowError::option("clip", format!("{other:?}"), expected));
            }
        };
        let widths = [A::Event::SHAPE.size(), A::Context::SIZE];
        let found = [data.width(), data.context_width()];
        for ((what, expected), found) in ["a row", "a row's context"].iter().zip(widths).zip(found)
        {
            if found != expected {
                return Err(FlowError::Length { what: (*what).into(), found, expected });
            }
        }
        if data.is_empty() || batch == 0 {
            return Err(FlowError::EmptyBatch { what: "training data or batch".into() });
        }
        let update = Update {
            rule,
            clip,
            trainable: self.trainable.clone(),
            parameters: self.machine.state().values.parameters.len(),
            data: data.len(),
        };
        self.begin(update, &[data.values(), data.context_values()].concat())?;
        Ok(Training {
            rule,
            decay,
            rate,
            place: Place::new(seed, batch.min(data.len())),
            seed,
            rows: data.len(),
            steps: 0,
            flow: self,
        })
    }

    /// Prepares for a training on `data`.
    fn begin(&mut self, update: Update, data: &[f32]) -> Result<()> {
        self.lock().begin(update.len(), data)?;
        self.update = Some(update);
        Ok(())
    }

    /// A step of a training on the rows of those numbers; blocks draw from the stream of `noise`.
    fn update(&mut self, order: &[usize], numbers: [f32; STEP], noise: u64) -> Result<()> {
        let Some(slot) = self.update.as_ref().map(Update::numbers) else { return Ok(()) };
        let bits: Vec<f32> = order.iter().map(|&row| f32::from_bits(row as u32)).collect();
        let changed = self.with(Direction::LogProb, order.len(), (true, false), |store, key| {
            let &Recorded { order, places, ref on_cpu, .. } = store.recorded(key)?;
            let on_device = on_cpu.is_empty();
            store.write(key, order, &bits)?;
            store.write(key, places.noise, &stream(noise, 0))?;
            store.write_optimizer(slot, &numbers)?;
            if on_device {
                store.run(key, &[LOAD, PASS, PRODUCT, UPDATE])?;
                return Ok(None);
            }
            store.run(key, &[LOAD, PASS, PRODUCT])?;
            let gradient = finished(&self.machine, store, key)?;
            store.set_gradient(&gradient)?;
            store.run(key, &[UPDATE])?;
            Ok(Some(store.weights()?.0))
        })?;
        if let Some(parameters) = changed {
            self.machine.step(|values| values.copy_from_slice(&parameters))?;
            let state = self.machine.shared_state();
            self.lock().set_weights(&state.values.parameters, &state.derived)?;
        }
        Ok(())
    }

    /// The loss of the last step.
    fn last_loss(&self) -> Result<f32> {
        let slot = self.update.as_ref().map(Update::loss);
        let Some(slot) = slot else { return Ok(f32::NAN) };
        Ok(self.lock().read_optimizer(slot)?[0])
    }
}

impl<A: Architecture<f32>, D: Device> Training<'_, A, D> {
    /// One step on the next batch. At the end of an epoch a batch may be smaller, and the rows are
    /// shuffled anew.
    ///
    /// # Errors
    /// What the device reports.
    pub fn step(&mut self) -> Result<()> {
        if self.place.choose(self.rows).is_empty() {
            (self.place.epoch, self.place.batch) = (self.place.epoch + 1, 0);
        }
        let order: Vec<usize> = self.place.choose(self.rows).to_vec();
        self.place.batch += 1;
        let noise = Step::of_training(self.seed, self.steps).of_blocks().key();
        self.steps += 1;
        let keep = 1.0 - self.rate * self.decay;
        let numbers = self.rule.step(self.rate, self.steps, keep);
        self.flow.update(&order, numbers, noise)
    }

    /// The mean negative log-likelihood of the last step's batch, before that step: waits for it.
    ///
    /// # Errors
    /// Before the first step, [`FlowError::Diverged`] where it is not finite, and what the device
    /// reports.
    pub fn loss(&self) -> Result<f64> {
        if self.steps == 0 {
            return Err(FlowError::option("the steps before a loss", 0, "at least 1"));
        }
        let loss = f64::from(self.flow.last_loss()?);
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(FlowError::Diverged {
            step: self.steps,
            loss,
            origin: "on a GPU it is not known in which block".into(),
            help: "lower the learning rate, or clip the gradients' norm".into(),
        })
    }

    /// The blocks that derive what they compute with from their weights on the CPU, by their places in
    /// the flow: for them each step brings gradients and weights there and back. Empty where all of a
    /// step runs on the device, as for all blocks and nets but those of one's own.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn derived_on_cpu(&self) -> Result<Vec<String>> {
        let rows = self.place.batch_size;
        self.flow.with(Direction::LogProb, rows, (true, false), |store, key| {
            Ok(store.recorded(key)?.on_cpu.clone())
        })
    }

    /// The step size from now on, for a schedule.
    ///
    /// # Errors
    /// One that is not a finite number of at least 0.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<()> {
        if !(rate >= 0.0 && rate.is_finite()) {
            let expected = "a finite number of at least 0";
            return Err(FlowError::option("the learning rate", rate, expected));
        }
        self.rate = rate;
        Ok(())
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
