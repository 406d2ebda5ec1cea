//! Kernels of a plan on a stream, compiled where they are first used.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

use super::{failed, text, Gpu};
use crate::bases::Bases;
use crate::kernels::{gathered, Arguments, Fused, Gemm, FAMILIES};
use crate::{Area, DeviceError, Kernel, Op, Result};

impl Gpu {
    /// The ops as this card does them: where it may multiply in TF32, convolutions of many channels as
    /// products of patches.
    pub(super) fn as_done<'o>(&self, ops: &'o [Op]) -> impl Iterator<Item = Cow<'o, [Op]>> {
        let room = self.patches().map(CudaSlice::len);
        let ops = ops.iter().filter(|op| !op.launch.grid.contains(&0));
        ops.map(move |op| match room.and_then(|room| gathered(op, room)) {
            Some(split) => Cow::Owned(split),
            None => Cow::Borrowed(std::slice::from_ref(op)),
        })
    }

    /// Where patches are gathered, if anywhere.
    fn patches(&self) -> Option<&CudaSlice<f32>> {
        self.blas.as_deref().and_then(|blas| blas.patches.as_ref())
    }

    /// Starts kernels on a stream, and notes where their operands lie.
    pub(super) fn queue<'m>(
        &self,
        stream: &Arc<CudaStream>,
        ops: &[Op],
        memory: &mut dyn FnMut(Area) -> Option<&'m CudaSlice<f32>>,
        tables: &CudaSlice<i32>,
        bases: &mut Option<&mut Bases>,
    ) -> Result<()> {
        if !self.owns(tables) {
            return Err(self.foreign("reaching for index lists"));
        }
        let lists = tables.device_ptr(&self.stream).0;
        let steps: Vec<_> = self.as_done(ops).collect();
        for op in steps.iter().flat_map(|step| step.iter()) {
            let what = op.kernel.name;
            let arguments = Arguments::of(
                op,
                |slot| {
                    let (end, mut len) = (slot.offset + slot.len, 0);
                    let own = slot.area == Area::Patches;
                    if let Some(memory) = if own { self.patches() } else { memory(slot.area) } {
                        if !self.owns(memory) {
                            return Err(self.foreign("reaching for numbers"));
                        }
                        len = memory.len();
                        if end <= len {
                            let address = memory.device_ptr(&self.stream).0;
                            if let Some(bases) = bases.as_mut().filter(|_| !own) {
                                bases.note(slot, address);
                            }
                            return Ok(address + 4 * slot.offset as u64);
                        }
                    }
                    Err(DeviceError::OutOfRange { what, end, len })
                },
                |table| {
                    let (end, len) = (table.offset + table.len, tables.len());
                    if end > len {
                        return Err(DeviceError::OutOfRange { what, end, len });
                    }
                    Ok(lists + 4 * table.offset as u64)
                },
            )?;
            // SAFETY: the addresses lie in memories that the caller holds, inside of their lengths as
            // found above; that a kernel stays inside of its operands was checked when the op was
            // recorded. All work on these memories, their being freed included, goes through the one
            // stream that owns them, in order: `stream` is that one, or one that captures what will
            // be launched there.
            unsafe { self.start(stream, op, &arguments)? };
            // What is captured does not run yet.
            if bases.is_none() {
                self.done(op.kernel)?;
            }
        }
        Ok(())
    }

    /// Starts an op on a stream.
    ///
    /// # Safety
    /// The operands must be as long as was checked when it was recorded, and stay until it is done.
    unsafe fn start(&self, stream: &Arc<CudaStream>, op: &Op, arguments: &Arguments) -> Result<()> {
        let gemm = self.blas.as_deref().and_then(|blas| Some((blas, Gemm::of(op)?)));
        let (mut kernel, mut launch) = (op.kernel, op.launch);
        if let Some((blas, (gemm, finish))) = gemm {
            let [a, b, c] = gemm.at.map(|operand| arguments.address(operand));
            if let Some(fused) = Fused::of(op) {
                let operands = [a, b, c, arguments.address(Fused::BIAS)];
                // SAFETY: it reads and writes what the product in rows does, and the bias.
                if unsafe { blas.run_fused(stream, (&gemm, fused), operands)? } {
                    return Ok(());
                }
            }
            // SAFETY: a product in columns reads and writes what that in rows does.
            unsafe { blas.run(stream, &gemm, [a, b, c])? };
            let Some(rest) = finish else { return Ok(()) };
            (kernel, launch) = rest;
        }
        let function = self.function(kernel)?;
        let [grid_dim, block_dim] = [launch.grid, launch.block].map(<(u32, u32, u32)>::from);
        let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 };
        let mut launch = stream.launch_builder(&function);
        launch.arg(arguments);
        // SAFETY: every kernel takes one `Arguments`; the operands are the caller's.
        let launched = unsafe { launch.launch(config) }.map(drop);
        launched.map_err(|error| self.recent.refused(kernel, text(error)))
    }

    /// Takes down that a kernel was started, and waits for it where each is checked.
    fn done(&self, kernel: Kernel) -> Result<()> {
        self.recent.started(kernel);
        match self.checked {
            true => self.waited("a kernel", self.stream.synchronize()),
            false => Ok(()),
        }
    }

    fn function(&self, kernel: Kernel) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(&kernel) {
            return Ok(function.clone());
        }
        let family = &FAMILIES[kernel.family];
        let ptx = self.cache.ptx(family, &self.architecture)?;
        let named = |error| failed(kernel, error);
        let module = self.context.load_module(Ptx::from_src(ptx)).map_err(named)?;
        for name in family.kernels() {
            let function = module.load_function(name).map_err(named)?;
            let cooperates = kernel.cooperates;
            for cooperates in [cooperates, !cooperates] {
                functions.insert(Kernel { name, cooperates, ..kernel }, function.clone());
            }
        }
        let function = functions.get(&kernel).cloned();
        function.ok_or_else(|| {
            let reason = format!("{}.cu has none of that name", family.name);
            DeviceError::Kernel { kernel: kernel.name, reason }
        })
    }
}
