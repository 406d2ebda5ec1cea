//! The memories of a flow on a device, and the plans that run there.

use std::collections::HashMap;

use flow_cuda::kernels::contraction::{OUTGROWN, STATUS};
use flow_cuda::kernels::noise::stream;
use flow_cuda::{Area, Device, Loop, Op, Plan, Slot};

use super::graphs::{Graphs, Replays};
use super::lowering::FEWEST_STEPS;
use super::plans::{Recorded, PASS, PRODUCT, UPDATE};
use crate::engine::{Direction, State};
use crate::{FlowError, Memory, Result};

/// Which plan: its direction and its rows, and whether its product is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) direction: Direction,
    pub(super) rows: usize,
    pub(super) keeping: bool,
    /// Its input is drawn on the device.
    pub(super) drawing: bool,
}

/// A device with the weights of a flow, and its plans so far.
pub(super) struct Store<D: Device> {
    device: D,
    parameters: D::Memory,
    buffers: D::Memory,
    derived: D::Memory,
    gradient: D::Memory,
    derived_gradient: D::Memory,
    /// An optimiser's memory and its data, while there is a training.
    optimizer: D::Memory,
    data: D::Memory,
    lens: [usize; 2],
    plans: HashMap<Key, Ready<D>>,
    /// How often the weights have changed.
    changes: u64,
    /// Passes so far.
    passes: u64,
    /// Steps that solvers have room for in the plans to come.
    room: usize,
    /// What they keep for their products.
    memory: Memory,
}

/// A plan with memories of its own.
struct Ready<D: Device> {
    plan: Plan,
    recorded: Recorded,
    frame: D::Memory,
    scratch: D::Memory,
    tables: D::Tables,
    replays: Replays<D>,
    /// The number of the last pass, which the frame keeps.
    pass: u64,
    /// The changes of the weights at which its demands on them were last met.
    met: Option<u64>,
}

/// Which pass left what a plan keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    changes: u64,
    pass: u64,
}

impl<D: Device> Store<D> {
    pub(super) fn new(device: D, state: &State<f32>) -> Result<Self> {
        let put = |numbers: &[f32]| -> Result<D::Memory> {
            let mut memory = device.memory(numbers.len())?;
            device.write(&mut memory, 0, numbers)?;
            Ok(memory)
        };
        let lens = [state.values.parameters.len(), state.derived.len()];
        Ok(Self {
            parameters: put(&state.values.parameters)?,
            buffers: put(&state.values.buffers)?,
            derived: put(&state.derived)?,
            gradient: device.memory(lens[0])?,
            derived_gradient: device.memory(lens[1])?,
            optimizer: device.memory(0)?,
            data: device.memory(0)?,
            lens,
            device,
            plans: HashMap::new(),
            changes: 0,
            passes: 0,
            room: FEWEST_STEPS,
            memory: Memory::Stored,
        })
    }

    /// Makes room for a plan where it is not there yet; its blocks draw from the stream of `noise`.
    pub(super) fn prepare(
        &mut self,
        key: Key,
        noise: u64,
        record: impl FnOnce() -> Result<(Plan, Recorded)>,
    ) -> Result<()> {
        if self.plans.contains_key(&key) {
            return Ok(());
        }
        let (plan, recorded) = record()?;
        let mut frame = self.device.memory(plan.frame_len())?;
        self.device.write(&mut frame, recorded.places.noise.offset, &stream(noise, 0))?;
        let scratch = self.device.memory(plan.scratch_len())?;
        let tables = self.device.tables(plan.tables())?;
        let (replays, pass, met) = (Replays::default(), 0, None);
        let ready = Ready { plan, recorded, frame, scratch, tables, replays, pass, met };
        self.plans.insert(key, ready);
        Ok(())
    }

    /// Steps that solvers have room for in the plans to come.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Forgets a plan in which a solver took `steps` steps, more than there was room for. Whoever
    /// records plans makes another and runs it: nobody else sees the error.
    fn outgrown(&mut self, key: Key, steps: usize) -> FlowError {
        self.plans.remove(&key);
        self.room = self.room.max(steps.next_power_of_two());
        FlowError::Device(format!(
            "a row took {steps} steps of a solver, more than there was room for"
        ))
    }

    /// Forgets all plans.
    pub(super) fn forget(&mut self) {
        self.plans.clear();
    }

    /// Forgets all plans that keep something else for their products.
    pub(super) fn settle(&mut self, memory: Memory) {
        if self.memory != memory {
            self.memory = memory;
            self.plans.clear();
        }
    }

    /// Where the rows of a plan lie.
    ///
    /// # Errors
    /// A plan that was dropped since it was prepared.
    pub(super) fn recorded(&self, key: Key) -> Result<&Recorded> {
        Ok(&self.plans.get(&key).ok_or_else(gone)?.recorded)
    }

    /// Which pass a plan's memory is of.
    pub(super) fn stamp(&self, key: Key) -> Result<Stamp> {
        let pass = self.plans.get(&key).ok_or_else(gone)?.pass;
        Ok(Stamp { changes: self.changes, pass })
    }

    /// Fails where the weights are no longer those of a pass.
    pub(super) fn unchanged(&self, stamp: Stamp) -> Result<()> {
        if self.changes == stamp.changes {
            return Ok(());
        }
        let reason = "weights on the device changed, or a training began, between a pass and its \
                      backward pass";
        Err(FlowError::Gradient(reason.into()))
    }

    /// Brings a batch to the device.
    pub(super) fn start(&mut self, key: Key, x: &[f32], context: &[f32]) -> Result<()> {
        let places = self.recorded(key)?.places;
        self.write(key, places.x.slot, x)?;
        self.write(key, places.context.slot, context)
    }

    /// Writes to a plan's frame.
    pub(super) fn write(&mut self, key: Key, slot: Slot, numbers: &[f32]) -> Result<()> {
        let Self { device, plans, .. } = self;
        let ready = plans.get_mut(&key).ok_or_else(gone)?;
        Ok(device.write(&mut ready.frame, slot.offset, numbers)?)
    }

    /// Reads from a plan's frame.
    pub(super) fn read(&self, key: Key, slot: Slot) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; slot.len];
        let ready = self.plans.get(&key).ok_or_else(gone)?;
        self.device.read(&ready.frame, slot.offset, &mut numbers)?;
        Ok(numbers)
    }

    /// The gradients by parameters and by derived values.
    pub(super) fn gradients(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let [mut parameters, mut derived] = self.lens.map(|len| vec![0.0; len]);
        self.device.read(&self.gradient, 0, &mut parameters)?;
        self.device.read(&self.derived_gradient, 0, &mut derived)?;
        Ok((parameters, derived))
    }

    /// Brings data to the device, makes room for an optimiser, and forgets plans that know of neither.
    pub(super) fn begin(&mut self, optimizer: usize, data: &[f32]) -> Result<()> {
        self.changes += 1;
        self.plans.retain(|key, _| key.direction != Direction::LogProb || !key.keeping);
        self.optimizer = self.device.memory(optimizer)?;
        self.data = self.device.memory(data.len())?;
        self.device.write(&mut self.data, 0, data)?;
        Ok(())
    }

    /// Writes to the optimiser's memory.
    pub(super) fn write_optimizer(&mut self, slot: Slot, numbers: &[f32]) -> Result<()> {
        Ok(self.device.write(&mut self.optimizer, slot.offset, numbers)?)
    }

    /// Reads from the optimiser's memory.
    pub(super) fn read_optimizer(&self, slot: Slot) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; slot.len];
        self.device.read(&self.optimizer, slot.offset, &mut numbers)?;
        Ok(numbers)
    }

    /// Parameters and derived values as they are on the device.
    pub(super) fn weights(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let [mut parameters, mut derived] = self.lens.map(|len| vec![0.0; len]);
        self.device.read(&self.parameters, 0, &mut parameters)?;
        self.device.read(&self.derived, 0, &mut derived)?;
        Ok((parameters, derived))
    }

    /// Replaces both.
    pub(super) fn set_weights(&mut self, parameters: &[f32], derived: &[f32]) -> Result<()> {
        self.changes += 1;
        self.device.write(&mut self.parameters, 0, parameters)?;
        Ok(self.device.write(&mut self.derived, 0, derived)?)
    }

    /// Replaces what is saved but not trained.
    pub(super) fn set_buffers(&mut self, buffers: &[f32]) -> Result<()> {
        Ok(self.device.write(&mut self.buffers, 0, buffers)?)
    }

    /// Replaces the gradient by the parameters.
    pub(super) fn set_gradient(&mut self, gradient: &[f32]) -> Result<()> {
        Ok(self.device.write(&mut self.gradient, 0, gradient)?)
    }

    /// Fails where the weights are not what a plan's pass needs. They are looked at once for each change.
    fn meet_demands(&mut self, key: Key) -> Result<()> {
        let Self { device, plans, derived, changes, .. } = self;
        let Ready { recorded, met, .. } = plans.get_mut(&key).ok_or_else(gone)?;
        if *met == Some(*changes) {
            return Ok(());
        }
        for demand in &recorded.demands {
            let mut value = [0.0];
            device.read(derived, demand.value.offset, &mut value)?;
            demand.check(value[0])?;
        }
        *met = Some(*changes);
        Ok(())
    }

    /// Runs parts of a plan, one after the other: all kernels between two loops together.
    pub(super) fn run(&mut self, key: Key, parts: &[usize]) -> Result<()> {
        if parts.contains(&PASS) {
            self.meet_demands(key)?;
        }
        let guarded = self.plans.get(&key).and_then(|ready| ready.recorded.guarded.clone());
        let product = parts.iter().position(|&part| part == PRODUCT);
        if let (Some(guarded), Some(product)) = (guarded, product) {
            self.run_all(key, &parts[..product])?;
            self.run_guarded(key, &guarded)?;
            return self.run_all(key, &parts[product + 1..]);
        }
        self.run_all(key, parts)
    }

    /// Runs parts of a plan that nobody guards.
    pub(super) fn run_all(&mut self, key: Key, parts: &[usize]) -> Result<()> {
        self.stopped(key, parts)?.map_or(Ok(()), Err)
    }

    /// As [`run_all`](Self::run_all), where a row that stops them is no failure of the device.
    pub(super) fn stopped(&mut self, key: Key, parts: &[usize]) -> Result<Option<FlowError>> {
        let Self { device, plans, .. } = self;
        let ready = plans.get_mut(&key).ok_or_else(gone)?;
        let Ready { plan, recorded, frame, scratch, tables, replays, pass, .. } = ready;
        if parts.contains(&PASS) {
            self.passes += 1;
            *pass = self.passes;
        }
        self.changes += u64::from(parts.contains(&UPDATE));
        let mut memory = |area| match area {
            Area::Parameters => Some(&self.parameters),
            Area::Buffers => Some(&self.buffers),
            Area::Derived => Some(&self.derived),
            Area::Gradient => Some(&self.gradient),
            Area::DerivedGradient => Some(&self.derived_gradient),
            Area::Frame => Some(&*frame),
            Area::Scratch => Some(&*scratch),
            Area::Optimizer => Some(&self.optimizer),
            Area::Data => Some(&self.data),
            Area::Patches => None,
        };
        let mut steps: Vec<(Option<usize>, Vec<&[Op]>)> = Vec::new();
        for (ops, in_loop) in parts.iter().flat_map(|&part| plan.pieces(part)) {
            match steps.last_mut() {
                Some((None, before)) if in_loop.is_none() => before.push(ops),
                _ => steps.push((in_loop, vec![ops])),
            }
        }
        // Steps of the way back run alone.
        let each = |part: usize| if part > UPDATE { part << (UPDATE + 1) } else { 1 << part };
        let set = parts.iter().fold(0, |set, &part| set | each(part));
        for (number, (in_loop, ops)) in steps.into_iter().enumerate() {
            let number = (set, number);
            let Some(i) = in_loop else {
                replays.run(device, number, &ops, &mut memory, tables)?;
                continue;
            };
            let Loop { status, turns } = plan.loops()[i];
            let ops = ops.repeat(turns);
            let mut found = [f32::NAN; STATUS];
            while found[0] != 0.0 {
                replays.run(device, number, &ops, &mut memory, tables)?;
                device.read(frame, status.offset, &mut found)?;
            }
            if found[1] == OUTGROWN {
                return Err(self.outgrown(key, found[2] as usize));
            }
            if let Some(error) = recorded.stuck[i].error(&found) {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    /// The device, and where the gradient by the parameters or a plan's frame lies there.
    #[cfg(feature = "dfdx-cuda")]
    pub(super) fn place(&mut self, key: Key, area: Area) -> Result<(&D, &mut D::Memory)> {
        let Self { device, plans, gradient, .. } = self;
        if area == Area::Gradient {
            return Ok((device, gradient));
        }
        Ok((device, &mut plans.get_mut(&key).ok_or_else(gone)?.frame))
    }

    #[cfg(feature = "dfdx-cuda")]
    pub(super) fn device(&self) -> &D {
        &self.device
    }

    /// What runs as graphs.
    pub(super) fn graphs(&self) -> Graphs {
        let mut found = Graphs::default();
        self.plans.values().for_each(|ready| ready.replays.count(&mut found));
        found
    }
}

/// The error of a plan that was dropped.
fn gone() -> FlowError {
    let reason = "what a pass kept on the device was dropped before it was asked for";
    FlowError::Gradient(reason.into())
}
