//! The device that is none: kernels compiled as C++, on the CPU.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;

use crate::bases::Bases;
use crate::kernels::Arguments;
use crate::{Area, Device, DeviceError, Op, Result};

/// Runs plans on the CPU, for tests: the sources are those that a GPU runs.
#[derive(Clone, Copy, Debug)]
pub struct Emulated(());

impl Emulated {
    /// The emulated device.
    ///
    /// # Errors
    /// [`DeviceError::NotEmulated`] where no C++ compiler was found when this was built.
    pub fn new() -> Result<Self> {
        if cfg!(emulated) {
            Ok(Self(()))
        } else {
            Err(DeviceError::NotEmulated)
        }
    }
}

/// Numbers that kernels write through shared references, as those of a GPU do.
#[derive(Debug)]
pub struct Memory(Box<[UnsafeCell<f32>]>);

/// Kernels with the addresses of their operands, and where the memories lay.
#[derive(Debug)]
pub struct Graph {
    ops: Vec<(Op, Arguments)>,
    bases: Bases,
    tables: *const i32,
}

// SAFETY: the address is only compared.
unsafe impl Send for Graph {}

/// Finds an op's operands in memory, and notes where they lie.
fn arguments<'m>(
    op: &Op,
    memory: &mut dyn FnMut(Area) -> Option<&'m Memory>,
    tables: &[i32],
    bases: &mut Bases,
) -> Result<Arguments> {
    Arguments::of(
        op,
        |slot| {
            let cells = memory(slot.area).map_or(&[][..], |memory| &memory.0);
            let what = op.kernel.name;
            let (end, len) = (slot.offset + slot.len, cells.len());
            bases.note(slot, cells.as_ptr() as u64);
            let cells = cells.get(slot.offset..end);
            let cells = cells.ok_or(DeviceError::OutOfRange { what, end, len })?;
            Ok(cells.as_ptr() as u64)
        },
        |table| {
            let (what, end) = ("an index list", table.offset + table.len);
            let len = tables.len();
            let list = tables.get(table.offset..end);
            let list = list.ok_or(DeviceError::OutOfRange { what, end, len })?;
            Ok(list.as_ptr() as u64)
        },
    )
}

impl Device for Emulated {
    type Memory = Memory;
    type Tables = Vec<i32>;
    type Graph = Graph;

    fn name(&self) -> String {
        "emulated GPU".into()
    }

    fn memory(&self, len: usize) -> Result<Memory> {
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(len).map_err(|error| {
            let reason = format!("asked for {len} numbers: {error}");
            DeviceError::Transfer { what: "making room on the emulated GPU", reason }
        })?;
        numbers.resize_with(len, || UnsafeCell::new(0.0));
        Ok(Memory(numbers.into_boxed_slice()))
    }

    fn write(&self, memory: &mut Memory, offset: usize, numbers: &[f32]) -> Result<()> {
        let (len, end) = (memory.0.len(), offset + numbers.len());
        let Some(cells) = memory.0.get_mut(offset..end) else {
            return Err(DeviceError::OutOfRange { what: "what is written", end, len });
        };
        cells.iter_mut().zip(numbers).for_each(|(cell, &v)| *cell.get_mut() = v);
        Ok(())
    }

    fn read(&self, memory: &Memory, offset: usize, numbers: &mut [f32]) -> Result<()> {
        let (len, end) = (memory.0.len(), offset + numbers.len());
        let Some(cells) = memory.0.get(offset..end) else {
            return Err(DeviceError::OutOfRange { what: "what is read", end, len });
        };
        for (cell, v) in cells.iter().zip(numbers) {
            // SAFETY: `Memory` is not `Sync`, and kernels run to their end inside of `run`, so nobody
            // writes while this reads.
            *v = unsafe { *cell.get() };
        }
        Ok(())
    }

    fn tables(&self, indices: &[i32]) -> Result<Vec<i32>> {
        Ok(indices.to_vec())
    }

    fn run<'m>(
        &self,
        ops: &[Op],
        memory: &mut dyn FnMut(Area) -> Option<&'m Memory>,
        tables: &Vec<i32>,
    ) -> Result<()>
    where
        Memory: 'm,
    {
        for op in ops.iter().filter(|op| !op.launch.grid.contains(&0)) {
            launch(op, &arguments(op, memory, tables, &mut Bases::default())?)?;
        }
        Ok(())
    }

    fn capture<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m Memory>,
        tables: &Vec<i32>,
    ) -> Result<Option<Graph>>
    where
        Memory: 'm,
    {
        let mut graph = Graph { ops: Vec::new(), bases: Bases::default(), tables: tables.as_ptr() };
        for op in ops.iter().copied().flatten().filter(|op| !op.launch.grid.contains(&0)) {
            let arguments = arguments(op, memory, tables, &mut graph.bases)?;
            graph.ops.push((op.clone(), arguments));
        }
        Ok(Some(graph))
    }

    fn replay<'m>(
        &self,
        graph: &Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m Memory>,
        tables: &Vec<i32>,
    ) -> Result<bool>
    where
        Memory: 'm,
    {
        let now = |area| memory(area).map(|memory| (memory.0.as_ptr() as u64, memory.0.len()));
        if !graph.bases.are(now) || tables.as_ptr() != graph.tables {
            return Ok(false);
        }
        graph.ops.iter().try_for_each(|(op, arguments)| launch(op, arguments))?;
        Ok(true)
    }
}

#[cfg(emulated)]
fn launch(op: &Op, arguments: &Arguments) -> Result<()> {
    use std::ffi::{c_char, c_int, CString};

    extern "C" {
        fn flow_cuda_emulate(
            name: *const c_char,
            arguments: *const Arguments,
            grid: *const u32,
            block: *const u32,
            cooperates: c_int,
        ) -> c_int;
    }

    let kernel = op.kernel.name;
    let failed = |reason: &str| DeviceError::Kernel { kernel, reason: reason.into() };
    let name = CString::new(kernel).map_err(|_| failed("a name with a zero"))?;
    // SAFETY: the name ends in a zero; arguments, grid and block are what the function reads, in C's
    // layout. The places in the arguments lie in memories that the caller holds, inside of their
    // lengths as `Arguments::of` found; that a kernel stays inside of its operands was checked when
    // the op was recorded. Cells may be written through shared references, no other thread has them.
    let code = unsafe {
        flow_cuda_emulate(
            name.as_ptr(),
            arguments,
            op.launch.grid.as_ptr(),
            op.launch.block.as_ptr(),
            c_int::from(op.kernel.cooperates),
        )
    };
    match code {
        0 => Ok(()),
        1 => Err(failed("no kernel has that name")),
        _ => Err(failed("some threads of a block waited for others that had ended")),
    }
}

#[cfg(not(emulated))]
fn launch(_: &Op, _: &Arguments) -> Result<()> {
    Err(DeviceError::NotEmulated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_can_be_is_an_error() {
        let Ok(device) = Emulated::new() else { return };
        let error = device.memory(usize::MAX / 8).unwrap_err().to_string();
        let start =
            format!("making room on the emulated GPU failed: asked for {} ", usize::MAX / 8);
        assert!(error.starts_with(&start), "{error}");
    }
}
