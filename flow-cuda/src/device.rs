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
}
