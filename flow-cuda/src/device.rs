//! What runs plans.

use crate::{Area, Op, Result};

/// Memory and kernels: a GPU, or its emulation.
///
/// Work is done in the order in which it is asked for; [`read`](Self::read) waits for what came
/// before it.
pub trait Device: Send + Sync {
    /// A flat memory of `f32`.
    type Memory: Send;
    /// Index lists.
    type Tables: Send;
    /// Kernels that can be run again at little cost.
    type Graph: Send;

    /// Its name, for people.
    fn name(&self) -> String;

    /// A memory of `len` zeros.
    ///
    /// # Errors
    /// Where there is not as much: what was asked for and what is free.
    fn memory(&self, len: usize) -> Result<Self::Memory>;

    /// Copies numbers to `memory`, from `offset` on.
    ///
    /// # Errors
    /// Numbers that do not fit there.
    fn write(&self, memory: &mut Self::Memory, offset: usize, numbers: &[f32]) -> Result<()>;

    /// Copies numbers from `memory`, from `offset` on.
    ///
    /// # Errors
    /// Numbers that are not there, and every failure of work asked for before.
    fn read(&self, memory: &Self::Memory, offset: usize, numbers: &mut [f32]) -> Result<()>;

    /// Copies index lists to the device.
    ///
    /// # Errors
    /// As [`memory`](Self::memory).
    fn tables(&self, indices: &[i32]) -> Result<Self::Tables>;

    /// Runs kernels one after the other. `memory` gives the memory of each area that they name.
    ///
    /// # Errors
    /// The first kernel that cannot be launched, by name; an operand outside of its memory.
    fn run<'m>(
        &self,
        ops: &[Op],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<()>
    where
        Self::Memory: 'm;

    /// Keeps the kernels of some lists, in order, to be run together by [`replay`](Self::replay); runs
    /// none of them. Each must have run before. `None` where the device makes no graphs.
    ///
    /// # Errors
    /// [`DeviceError::Capture`](crate::DeviceError::Capture), and as [`run`](Self::run). The kernels
    /// can still be run.
    fn capture<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<Option<Self::Graph>>
    where
        Self::Memory: 'm;

    /// Runs what was captured, with the memories and index lists that it was captured with. Where
    /// these are others now it runs nothing, and is false: then the graph is of no use any more.
    ///
    /// # Errors
    /// What the device reports.
    fn replay<'m>(
        &self,
        graph: &Self::Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<bool>
    where
        Self::Memory: 'm;
}
