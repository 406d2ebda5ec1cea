//! A device that fails where a test plants a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flow_core::cuda::{Area, Device, DeviceError, Op};

type Result<T> = std::result::Result<T, DeviceError>;

/// What goes wrong from now on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// There are so many bytes of memory left.
    Memory(usize),
    /// That kernel fails.
    Kernel(&'static str),
    /// The call of that number, counted from 0, and no other.
    Call(usize),
    /// Every call from that one on: the device is gone.
    LostAt(usize),
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    calls: usize,
    kernels: Vec<&'static str>,
}

/// A device that does what another one does, until it fails. Clones fail together.
#[derive(Clone, Debug)]
pub struct Faulty<D> {
    device: D,
    state: Arc<Mutex<State>>,
}

impl<D: Device> Faulty<D> {
    /// A device that does not fail yet.
    pub fn new(device: D) -> Self {
        Self { device, state: Arc::default() }
    }

    /// Plants a failure. Calls are counted from here on.
    pub fn plant(&self, fault: Fault) {
        *self.lock() = State { fault, ..State::default() };
    }

    /// Calls since the last failure was planted.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// The kernels that were asked for since then, each once.
    pub fn kernels(&self) -> Vec<&'static str> {
        self.lock().kernels.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, what: &'static str) -> Result<()> {
        let mut state = self.lock();
        let number = state.calls;
        state.calls += 1;
        let reason = match state.fault {
            Fault::Call(at) if at == number => format!("planted at call {number}"),
            Fault::LostAt(at) if at <= number => "the device is lost".into(),
            _ => return Ok(()),
        };
        Err(DeviceError::Transfer { what, reason })
    }

    fn memory_of(&self, numbers: usize) -> Result<()> {
        let mut state = self.lock();
        let Fault::Memory(free) = &mut state.fault else { return Ok(()) };
        let (asked, total) = (4 * numbers, 1 << 20);
        if asked > *free {
            return Err(DeviceError::OutOfMemory { asked, free: *free, total });
        }
        *free -= asked;
        Ok(())
    }

    fn kernels_of(&self, ops: &[Op]) -> Result<()> {
        let mut state = self.lock();
        for op in ops {
            let kernel = op.kernel.name;
            if state.fault == Fault::Kernel(kernel) {
                return Err(DeviceError::Kernel { kernel, reason: "planted".into() });
            }
            if !state.kernels.contains(&kernel) {
                state.kernels.push(kernel);
            }
        }
        Ok(())
    }
}

impl<D: Device> Device for Faulty<D> {
    type Memory = D::Memory;
    type Tables = D::Tables;
    type Graph = D::Graph;

    fn name(&self) -> String {
        format!("{}, with failures", self.device.name())
    }

    fn memory(&self, len: usize) -> Result<Self::Memory> {
        self.call("memory")?;
        self.memory_of(len)?;
        self.device.memory(len)
    }

    fn write(&self, memory: &mut Self::Memory, offset: usize, numbers: &[f32]) -> Result<()> {
        self.call("writing")?;
        self.device.write(memory, offset, numbers)
    }

    fn read(&self, memory: &Self::Memory, offset: usize, numbers: &mut [f32]) -> Result<()> {
        self.call("reading")?;
        self.device.read(memory, offset, numbers)
    }

    fn tables(&self, indices: &[i32]) -> Result<Self::Tables> {
        self.call("index lists")?;
        self.memory_of(indices.len())?;
        self.device.tables(indices)
    }

    fn run<'m>(
        &self,
        ops: &[Op],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<()>
    where
        Self::Memory: 'm,
    {
        self.call("kernels")?;
        self.kernels_of(ops)?;
        self.device.run(ops, memory, tables)
    }

    fn capture<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<Option<Self::Graph>>
    where
        Self::Memory: 'm,
    {
        self.call("a graph's capture")?;
        self.device.capture(ops, memory, tables)
    }

    fn replay<'m>(
        &self,
        graph: &Self::Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<bool>
    where
        Self::Memory: 'm,
    {
        self.call("a graph's launch")?;
        self.device.replay(graph, memory, tables)
    }
}
