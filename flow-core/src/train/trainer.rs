//! The options of a run.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use dfdx::nn::tensor_collection::TensorCollection;
use dfdx::prelude::{Cpu, Device, Gradients, OwnedTape, Rank0, Tensor};

use super::joint::Joint;
use super::learner::Likelihood;
use super::run::train;
use super::watch::Watch;
use super::{Adam, Batches, Clip, History, OnDivergence, Optimizer, Record, Schedule, Step};
use crate::objective::Objectives;
#[cfg(doc)]
use crate::FlowError;
use crate::{Architecture, Flow, Memory, Result, Rows, Scalar, View};

/// Trains flows by maximum likelihood, and models with flows in them by any loss.
///
/// Every option has a default, which its method states. A trainer can be used for any number of
/// runs.
///
/// ```
/// use dfdx::prelude::Cpu;
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Line: Vector<2> {
///         linear(diagonal);
///         linear(lu);
///     }
/// }
///
/// let noise = Noise::seed(1);
/// let rows = (0..500).map(|i| [3.0 * noise.normal(2 * i), noise.normal(2 * i + 1)]);
/// let (train, held_out) = Rows::from_rows(rows)?.split(0.1, &mut Noise::seed(2))?;
///
/// let mut flow = Line::<f64>::build(&Cpu::default(), 0)?;
/// let before = evaluate(&flow, &held_out)?.mean;
/// let history = Trainer::new(Adam::new(1e-2))
///     .batch_size(50)
///     .epochs(20)
///     .clip(Clip::Norm(5.0))
///     .patience(3)
///     .silent()
///     .fit(&mut flow, train.validated_by(held_out.clone()))?;
/// assert!(evaluate(&flow, &held_out)?.mean > before + 0.5);
/// assert!(history.best.is_some());
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing before `fit`"]
pub struct Trainer {
    pub(super) optimizer: Optimizer,
    pub(super) schedule: Schedule,
    pub(super) warm_up: u64,
    pub(super) batch_size: usize,
    pub(super) steps: Option<u64>,
    pub(super) epochs: Option<u64>,
    pub(super) clip: Option<Clip>,
    pub(super) average: Option<f64>,
    pub(super) use_average: bool,
    pub(super) validate_every: Option<u64>,
    pub(super) patience: Option<u64>,
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) checkpoint_every: u64,
    pub(super) resume: bool,
    pub(super) seed: u64,
    pub(super) on_divergence: OnDivergence,
    pub(super) memory: Memory,
    pub(super) silent: bool,
    pub(super) watch: Option<Watch>,
}

impl Default for Trainer {
    fn default() -> Self {
        Self::new(Adam::default())
    }
}

impl Trainer {
    /// A trainer with an optimiser: [`Adam`], [`AdamW`](super::AdamW), [`Adamax`](super::Adamax)
    /// or [`Sgd`](super::Sgd).
    pub fn new(optimizer: impl Into<Optimizer>) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: Schedule::Constant,
            warm_up: 0,
            batch_size: 256,
            steps: None,
            epochs: None,
            clip: None,
            average: None,
            use_average: true,
            validate_every: None,
            patience: None,
            checkpoint: None,
            checkpoint_every: 1000,
            resume: false,
            seed: 0,
            on_divergence: OnDivergence::Stop,
            memory: Memory::Stored,
            silent: false,
            watch: None,
        }
    }

    /// How the learning rate changes. Default: not at all.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Steps in which the learning rate rises linearly to its full size, before the schedule
    /// begins. Default: 0.
    pub fn warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self
    }

    /// Rows a batch; the last batch of an epoch holds what is left. A stream decides for itself.
    /// Default: 256.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// Ends after this many steps, or before it with [`epochs`](Self::epochs). Default: no limit.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Ends after this many passes over rows in memory. A stream is one pass. Default: 10, or no
    /// limit where there are [`steps`](Self::steps).
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// Limits gradients. Default: no limit.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// Keeps an exponential moving average of the weights, which moves by `1 − decay` of the way in
    /// each step; its first value is the weights after the first step, as in PyTorch. Default: none.
    ///
    /// Validation, and the weights in the end, are then those of the average.
    pub fn average(mut self, decay: f64) -> Self {
        self.average = Some(decay);
        self
    }

    /// Whether the moving average is what is validated and what the flow has in the end, rather
    /// than the last step's weights. Default: yes, where there is one. Either way a checkpoint
    /// holds both.
    pub fn use_average(mut self, yes: bool) -> Self {
        self.use_average = yes;
        self
    }

    /// Steps between validations, where there are held-out rows
    /// ([`Batches::validated_by`]). Default: an epoch. The end of a run is always validated.
    pub fn validate_every(mut self, steps: u64) -> Self {
        self.validate_every = Some(steps);
        self
    }

    /// Ends after this many validations in a row that were not better than the best, and leaves
    /// the flow with the weights of the best. Default: no early end, and the last weights.
    pub fn patience(mut self, validations: u64) -> Self {
        self.patience = Some(validations);
        self
    }

    /// Writes the whole run to this file now and then, and in the end. Default: never.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Steps between checkpoints. Default: 1000.
    pub fn checkpoint_every(mut self, steps: u64) -> Self {
        self.checkpoint_every = steps;
        self
    }

    /// Goes on from the checkpoint, where there is one. Default: begins anew, and writes over it.
    ///
    /// With the same options, data and models the result is that of a run without interruption, to
    /// the last bit. A stream must give the same batches again; those already used are passed over.
    pub fn resume(mut self) -> Self {
        self.resume = true;
        self
    }

    /// The seed of the order of rows. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What to do where a loss is not finite. Default: [`OnDivergence::Stop`].
    pub fn on_divergence(mut self, policy: OnDivergence) -> Self {
        self.on_divergence = policy;
        self
    }

    /// What a step of [`fit`](Self::fit) and [`fit_objectives`](Self::fit_objectives) keeps for its
    /// gradient. Default: [`Memory::Stored`]. A loss of one's own chooses for itself, by
    /// [`Flow::memory`].
    ///
    /// What the guard of a mode that inverts saw is in [`Flow::guard_report`], of the last backward
    /// pass, and in [`History::guard`], of all steps and all flows among the models. A run begins by
    /// trusting the inverse of each again, and one that resumes knows whether the interrupted one
    /// still did.
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Shows no progress bar. Default: one on a terminal's standard error.
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Calls `watch` after each step. Where it breaks, the run ends as if it were interrupted: a
    /// checkpoint is written, from which [`resume`](Self::resume) goes on. Default: nothing.
    pub fn watch(
        mut self,
        watch: impl Fn(&Record) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Watch(Arc::new(watch)));
        self
    }

    /// Trains a flow to make the data likely: the loss is the mean negative log-likelihood of a
    /// batch in nats.
    ///
    /// Data-dependent blocks must be initialised before ([`Flow::initialize`]). Frozen parameters
    /// and buffers are left alone.
    ///
    /// # Errors
    /// Options out of range, rows or contexts of another width than the flow's, no data, a loss
    /// that is not finite, a checkpoint that cannot be written or that belongs to another run.
    pub fn fit<A: Architecture<E>, E: Scalar>(
        &self,
        flow: &mut Flow<A, E, Cpu>,
        batches: impl Batches<E>,
    ) -> Result<History> {
        let history = train(self, &mut Likelihood::new(flow, self.memory), batches);
        flow.show();
        history
    }

    /// Trains any dfdx models, such as an embedding net with a flow, by a loss of one's own.
    ///
    /// `loss` gets the models, a batch, and gradients to trace with; every tensor that dfdx's own
    /// optimisers would update is updated by the rule of this trainer. Models are validated by the
    /// same loss.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Posterior: Vector<2> given Vector<3> {
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// let cpu = Cpu::default();
    /// type Embedding = (Linear<5, 3>, Tanh);
    /// let flow = Posterior::<f64>::build(&cpu, 0)?;
    /// let mut models = (cpu.build_module::<Embedding, f64>(), flow);
    /// let data = Rows::new(vec![0.5; 2 * 20], 2)?.given(vec![1.0; 5 * 20], 5)?;
    /// Trainer::default().steps(3).silent().fit_with(&mut models, &data, |models, batch, grads| {
    ///     let context = models.0.forward(batch.context::<5>()?.trace(grads));
    ///     let log_prob = models.1.given(context).log_prob(batch.x::<Vector<2>>()?)?;
    ///     Ok(log_prob.mean().negate())
    /// })?;
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit), those of `loss`, and what a flow among the models runs into on the way
    /// back, such as [`FlowError::InverseExploded`].
    pub fn fit_with<M, E, F>(
        &self,
        models: &mut M,
        batches: impl Batches<E>,
        loss: F,
    ) -> Result<History>
    where
        E: Scalar,
        Cpu: Device<E>,
        M: TensorCollection<E, Cpu>,
        F: FnMut(
            &mut M,
            &Rows<E>,
            Gradients<E, Cpu>,
        ) -> Result<Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>>,
    {
        let mut loss = loss;
        self.fit_steps(models, batches, |models, batch, gradients, _| {
            loss(models, batch, gradients)
        })
    }

    /// As [`fit_with`](Self::fit_with), with a loss that also depends on the [`Step`]: on its
    /// number, or on random numbers, such as those of
    /// [`Objectives`](crate::objective::Objectives). Held-out rows are all judged as if they came
    /// in the first step, always with the same random numbers.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::prelude::*;
    ///
    /// flow! { struct Line: Vector<2> { linear(lu); } }
    ///
    /// let mut flow = Line::<f64>::build(&Cpu::default(), 0)?;
    /// let data = Rows::new(vec![0.5; 2 * 20], 2)?;
    /// let trainer = Trainer::default().steps(3).silent();
    /// trainer.fit_steps(&mut flow, &data, |flow, batch, gradients, step| {
    ///     let mut x = batch.x::<Vector<2>>()?.as_vec();
    ///     let noise = step.noise("jitter");
    ///     x.iter_mut().zip(0..).for_each(|(x, i)| *x += 0.1 * noise.normal(i));
    ///     let x = Cpu::default().tensor_from_vec(x, (batch.len(), Const::<2>));
    ///     Ok(flow.log_prob(x.trace(gradients))?.mean().negate())
    /// })?;
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`fit_with`](Self::fit_with).
    pub fn fit_steps<M, E, F>(
        &self,
        models: &mut M,
        batches: impl Batches<E>,
        loss: F,
    ) -> Result<History>
    where
        E: Scalar,
        Cpu: Device<E>,
        M: TensorCollection<E, Cpu>,
        F: FnMut(
            &mut M,
            &Rows<E>,
            Gradients<E, Cpu>,
            &Step,
        ) -> Result<Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>>,
    {
        train(self, &mut Joint::new(models, self.seed, loss)?, batches)
    }

    /// Trains a flow by [`Objectives`](crate::objective::Objectives), conditioned on the context of
    /// the rows where it is given one.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and those of the objectives.
    pub fn fit_objectives<A, E>(
        &self,
        flow: &mut Flow<A, E, Cpu>,
        batches: impl Batches<E>,
        objectives: &Objectives<'_, A, E>,
    ) -> Result<History>
    where
        A: Architecture<E>,
        E: Scalar,
        Cpu: Device<E>,
        Flow<A, E, Cpu>: TensorCollection<E, Cpu>,
    {
        self.fit_steps(flow, batches, |flow, batch, gradients, step| {
            let view = View::of_rows(flow, batch, step.of_blocks()).memory(self.memory);
            objectives.loss(&view, batch.x::<A::Event>()?, step, gradients)
        })
    }
}
