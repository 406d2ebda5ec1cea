//! A flow on a device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfdx::prelude::Cpu;
use flow_cuda::{Device, Slot};

use super::counts;
use super::graphs::Graphs;
use super::lowering::FEWEST_STEPS;
use super::plans::{record, Recorded, PASS, PRODUCT};
use super::store::{Key, Store};
use super::training::Update;
use crate::engine::{check, AddGradient, Direction, Machine};
use crate::memory::GuardReport;
use crate::{Architecture, Context, Event, Flow, FlowError, Memory, Result, State, Values};

/// A flow whose numbers are on a device, with the weights that it had when it was brought there.
pub struct OnDevice<A: Architecture<f32>, D: Device> {
    pub(super) machine: Machine<A, f32>,
    pub(super) store: Arc<Mutex<Store<D>>>,
    pub(super) trainable: Vec<std::ops::Range<usize>>,
    pub(super) update: Option<Update>,
    pub(super) memory: Memory,
    /// Adds a gradient by all parameters to that by the weights of the flow on the CPU.
    pub(super) by_weights: AddGradient<f32>,
    pub(super) last_error: Arc<Mutex<Option<FlowError>>>,
    /// What gradients by the weights on a card's tape are by.
    #[cfg(feature = "dfdx-cuda")]
    pub(super) leaf: super::tensors::Leaf,
}

/// The gradients of a pass on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceGradients {
    /// By the pass's input, row after row.
    pub input: Vec<f32>,
    /// By the context, row after row.
    pub context: Vec<f32>,
    /// By the parameters, in the order of [`Flow::parameters`].
    pub parameters: Vec<f32>,
}

impl<A: Architecture<f32>> Flow<A, f32, Cpu> {
    /// The flow on a device, with its weights of now.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`] for a block or net of one's own, which has no kernels, and what the
    /// device reports, such as too little memory. A block that is not initialised.
    pub fn on<D: Device>(&self, device: D) -> Result<OnDevice<A, D>> {
        let machine = self.machine().apart();
        let (forward, none) = (Direction::Forward, (false, false));
        record(&machine, forward, 1, none, Memory::Stored, FEWEST_STEPS, None)?;
        let store = Arc::new(Mutex::new(Store::new(device, machine.state())?));
        let trainable = self.trainable().to_vec();
        Ok(OnDevice {
            machine,
            store,
            trainable,
            update: None,
            memory: Memory::Stored,
            by_weights: self.adds_to_weights(),
            last_error: Arc::default(),
            #[cfg(feature = "dfdx-cuda")]
            leaf: Arc::default(),
        })
    }
}

impl<A: Architecture<f32>, D: Device> OnDevice<A, D> {
    /// What passes keep for their gradients: with [`Memory::Recomputed`] each block's input alone, and
    /// the block runs again before its product; with [`Memory::Inverted`] a fingerprint of it, under the
    /// same guard as on the CPU.
    ///
    /// A guard looks once after all products, so that nothing waits for the processor in between. Where
    /// an inverse has exploded the products are done once more, block by block. Errors are relative to
    /// the median norm of the whole batch, and projections are others than on the CPU. What is computed
    /// again has its place from the start: with rows of more than eight numbers, √n batches for n blocks,
    /// beside as many copies.
    ///
    /// # Errors
    /// [`FlowError::Option`] for a guard whose threshold is not above 0. Blocks that cannot be inverted
    /// to save memory are an error of the passes that keep something.
    pub fn memory(mut self, memory: Memory) -> Result<Self> {
        if let Some(guard) = memory.guard() {
            guard.check()?;
        }
        self.memory = memory;
        Ok(self)
    }

    /// What the guard of the last product under [`Memory::Inverted`] saw, if there was one.
    pub fn guard_report(&self) -> Option<GuardReport> {
        self.machine.watch().report()
    }

    /// Inverts again, where a guard had switched to recomputing for good
    /// ([`Policy::SwitchToRecomputing`](crate::memory::Policy::SwitchToRecomputing)).
    pub fn trust_inverse(&self) {
        self.machine.watch().distrust(false);
    }

    /// A pass on plain rows, data to latent or, `backwards`, latent to data: the rows' images and
    /// their log-determinants. `context` is empty where the flow has none.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn map_rows(
        &self,
        backwards: bool,
        x: &[f32],
        context: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        check(x, "batch", A::Event::SHAPE.size())?;
        check_context::<A>(context)?;
        let direction = if backwards { Direction::Inverse } else { Direction::Forward };
        self.run(direction, x, context)
    }

    /// The gradients of `Σ cotangent · output + Σ by_log_det · log_det` of a pass on plain rows, data
    /// to latent or, `backwards`, latent to data. `context` is empty where the flow has none.
    ///
    /// # Errors
    /// Wrong lengths, and as the pass.
    pub fn gradients(
        &self,
        backwards: bool,
        x: &[f32],
        context: &[f32],
        cotangent: &[f32],
        by_log_det: &[f32],
    ) -> Result<DeviceGradients> {
        let direction = if backwards { Direction::Inverse } else { Direction::Forward };
        check(x, "batch", A::Event::SHAPE.size())?;
        check_context::<A>(context)?;
        let rows = self.rows(x, context)?;
        for (what, numbers, expected) in [
            ("the cotangent", cotangent, x.len()),
            ("the gradient by log-determinants", by_log_det, rows),
        ] {
            if numbers.len() != expected {
                let found = numbers.len();
                return Err(FlowError::Length { what: what.into(), found, expected });
            }
        }
        self.with(direction, rows, (true, false), |store, key| {
            store.start(key, x, context)?;
            store.run(key, &[PASS])?;
            product(&self.machine, store, key, cotangent, by_log_det)
        })
    }

    /// Brings the weights back to the flow that was brought to the device.
    ///
    /// # Errors
    /// Where `flow` has other parameters, weights that its blocks cannot take, and what the device
    /// reports.
    pub fn to_cpu(&self, flow: &mut Flow<A, f32, Cpu>) -> Result<()> {
        let (parameters, _) = self.lock().weights()?;
        flow.change(|values| {
            let expected = values.parameters.len();
            if parameters.len() != expected {
                let found = parameters.len();
                return Err(FlowError::Length { what: "the parameters".into(), found, expected });
            }
            values.parameters.copy_from_slice(&parameters);
            Ok(())
        })
    }

    /// Takes the weights and buffers of a flow: of the one that was brought to the device after an
    /// optimiser of dfdx's changed it, or of another of the same kind. Gradients on dfdx's tape are by
    /// that flow's weights from now on; those of passes before can no longer be had.
    ///
    /// # Errors
    /// Weights of another number, and what the device reports.
    pub fn set_weights(&mut self, flow: &Flow<A, f32, Cpu>) -> Result<()> {
        let machine = flow.machine().apart();
        let lens = |machine: &Machine<A, f32>| {
            let State { values, derived, .. } = machine.state();
            [values.parameters.len(), values.buffers.len(), derived.len()]
        };
        for (what, (found, expected)) in ["parameters", "buffers", "derived values"]
            .into_iter()
            .zip(lens(&machine).into_iter().zip(lens(&self.machine)))
        {
            if found != expected {
                let what = format!("the {what}");
                return Err(FlowError::Length { what, found, expected });
            }
        }
        let (new, old) = (machine.state(), self.machine.state());
        let mut store = self.lock();
        if new.values.buffers != old.values.buffers {
            // Plans may know them.
            store.forget();
            store.set_buffers(&new.values.buffers)?;
        }
        store.set_weights(&new.values.parameters, &new.derived)?;
        drop(store);
        machine.watch().distrust(self.machine.watch().distrusts());
        self.machine = machine;
        self.trainable = flow.trainable().to_vec();
        self.by_weights = flow.adds_to_weights();
        #[cfg(feature = "dfdx-cuda")]
        {
            // Others may be frozen now.
            self.leaf = Arc::default();
        }
        Ok(())
    }

    /// Which of its passes and training steps run as graphs: those that ran twice, where the device
    /// makes graphs; and why others could not be captured, which run kernel by kernel.
    pub fn graphs(&self) -> Graphs {
        self.lock().graphs()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Store<D>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass on plain rows: its output, and each row's number.
    fn run(
        &self,
        direction: Direction,
        x: &[f32],
        context: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let rows = self.rows(x, context)?;
        self.with(direction, rows, (false, false), |store, key| {
            store.start(key, x, context)?;
            store.run(key, &[PASS])?;
            let Recorded { output, places, .. } = *store.recorded(key)?;
            Ok((store.read(key, output)?, store.read(key, places.log_det)?))
        })
    }

    /// How many rows there are, where the context has as many.
    fn rows(&self, x: &[f32], context: &[f32]) -> Result<usize> {
        let (size, expected) = (A::Event::SHAPE.size(), A::Context::SIZE);
        let rows = x.len() / size;
        if !x.len().is_multiple_of(size) {
            let (found, expected) = (x.len(), x.len().next_multiple_of(size));
            return Err(FlowError::Length { what: "the batch".into(), found, expected });
        }
        if expected > 0 && context.is_empty() {
            return Err(FlowError::MissingContext { flow: A::NAME.into(), expected });
        }
        if context.len() != rows * expected {
            let context_rows = context.len() / expected.max(1);
            return Err(FlowError::ContextRows { rows, context_rows });
        }
        Ok(rows)
    }

    pub(super) fn with<R>(
        &self,
        direction: Direction,
        rows: usize,
        (keeping, drawing): (bool, bool),
        job: impl FnMut(&mut Store<D>, Key) -> Result<R>,
    ) -> Result<R> {
        let key = Key { direction, rows, keeping, drawing };
        let (memory, update) = (self.memory, self.update.as_ref());
        with_plan(&self.machine, &mut self.lock(), (memory, update), key, job)
    }
}

/// Runs a job on a plan, which is recorded where it is not there yet.
pub(super) fn with_plan<A: Architecture<f32>, D: Device, R>(
    machine: &Machine<A, f32>,
    store: &mut Store<D>,
    (memory, update): (Memory, Option<&Update>),
    key: Key,
    mut job: impl FnMut(&mut Store<D>, Key) -> Result<R>,
) -> Result<R> {
    let Key { direction, rows, keeping, drawing } = key;
    let memory = machine.watch().memory(memory)?;
    store.settle(memory);
    let update = update.filter(|_| keeping && direction == Direction::LogProb);
    loop {
        let room = store.room();
        let plan =
            |rows| record(machine, direction, rows, (keeping, drawing), memory, room, update);
        store.prepare(key, machine.noise().key(), || {
            counts::check(rows, |rows| Ok(counts::most(&plan(rows)?.0)))?;
            plan(rows)
        })?;
        match job(store, key) {
            // A solver took more steps than there was room for. Now there is.
            Err(_) if store.room() > room => {}
            done => return done,
        }
    }
}

/// The gradients of a pass that the plan's memory holds.
pub(super) fn product<A: Architecture<f32>, D: Device>(
    machine: &Machine<A, f32>,
    store: &mut Store<D>,
    key: Key,
    cotangent: &[f32],
    by_number: &[f32],
) -> Result<DeviceGradients> {
    let &Recorded { places, by_output, .. } = store.recorded(key)?;
    // The base's product needs none.
    if by_output != Slot::NONE {
        store.write(key, by_output, cotangent)?;
    }
    store.write(key, places.by_log_det, by_number)?;
    store.run(key, &[PRODUCT])?;
    let input = store.read(key, places.gradient.slot)?;
    let context = store.read(key, places.context_gradient.slot)?;
    let parameters = finished(machine, store, key)?;
    Ok(DeviceGradients { input, context, parameters })
}

/// The gradient by the parameters, that by derived values carried on to them on the CPU where the product
/// has not done so.
pub(super) fn finished<A: Architecture<f32>, D: Device>(
    machine: &Machine<A, f32>,
    store: &Store<D>,
    key: Key,
) -> Result<Vec<f32>> {
    let (mut gradient, by_derived) = store.gradients()?;
    if store.recorded(key)?.on_cpu.is_empty() {
        return Ok(gradient);
    }
    let (parameters, derived) = store.weights()?;
    let values = Values { parameters, buffers: machine.state().values.buffers.clone() };
    let state = State { values, derived, turned: Vec::new(), version: 0 };
    machine.blocks().finish(&state, &by_derived, &mut gradient)?;
    Ok(gradient)
}

/// An error for the first number of a context that is not finite.
fn check_context<A: Architecture<f32>>(context: &[f32]) -> Result<()> {
    match context.is_empty() {
        true => Ok(()),
        false => check(context, "context", A::Context::SIZE.max(1)),
    }
}
