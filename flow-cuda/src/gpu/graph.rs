//! Kernels of a plan as one CUDA graph, whose launch costs the processor as much as that of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use cudarc::driver::result::graph::launch;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaSlice, DevicePtr, DriverError};

use super::{text, transfer, Blas, Functions, Gpu};
use crate::bases::Bases;
use crate::{Area, DeviceError, Op, Result};

/// A CUDA graph of some kernels, with the addresses that they had when they were captured.
pub struct Graph {
    captured: CudaGraph,
    bases: Bases,
    tables: u64,
    /// Its kernels, each once.
    kernels: Vec<&'static str>,
    /// The kernels' modules must stay loaded.
    _functions: Functions,
    /// The memory that products took beside their operands must stay.
    _blas: Option<Arc<Blas>>,
}

// SAFETY: a graph may be used by any thread, one at a time. Nobody gets at it but through `replay`,
// which launches it, under the lock of the stream; the driver allows launches of one graph by several
// threads where the calls do not overlap.
unsafe impl Send for Graph {}

impl Gpu {
    /// See [`Device::capture`](crate::Device::capture).
    pub(super) fn record<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m CudaSlice<f32>>,
        tables: &CudaSlice<i32>,
    ) -> Result<Graph> {
        let failed = |error: DriverError| DeviceError::Capture { reason: text(error) };
        // On a stream of its own: on the common one other threads' work would be captured too.
        let stream = self.context.new_stream().map_err(failed)?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(failed)?;
        let mut bases = Bases::default();
        let queued = ops
            .iter()
            .try_for_each(|ops| self.queue(&stream, ops, memory, tables, &mut Some(&mut bases)));
        // The capture must end also where it failed.
        let ended = stream.end_capture(CUgraphInstantiate_flags(0)).map_err(failed);
        queued?;
        let empty = || DeviceError::Capture { reason: "the graph is empty".into() };
        let captured = ended?.ok_or_else(empty)?;
        let tables = tables.device_ptr(&self.stream).0;
        let mut kernels = BTreeSet::new();
        for step in ops.iter().flat_map(|ops| self.as_done(ops)) {
            kernels.extend(step.iter().map(|op| op.kernel.name));
        }
        let kernels = kernels.into_iter().collect();
        let (functions, blas) = (Arc::clone(&self.functions), self.blas.clone());
        Ok(Graph { captured, bases, tables, kernels, _functions: functions, _blas: blas })
    }

    /// See [`Device::replay`](crate::Device::replay).
    pub(super) fn launch_graph<'m>(
        &self,
        graph: &Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m CudaSlice<f32>>,
        tables: &CudaSlice<i32>,
    ) -> Result<bool> {
        let mut now = |area| {
            let memory = memory(area).filter(|memory| self.owns(memory))?;
            Some((memory.device_ptr(&self.stream).0, memory.len()))
        };
        if !graph.bases.are(&mut now) || tables.device_ptr(&self.stream).0 != graph.tables {
            return Ok(false);
        }
        self.context.bind_to_thread().map_err(|error| transfer("reaching the GPU", error))?;
        let _one = self.launching.lock();
        // SAFETY: both are alive. The kernels' operands lie in memories that the caller holds, at the
        // addresses and inside of the lengths that were found when they were captured; all work on
        // these memories, their being freed included, goes through this one stream, in order.
        unsafe { launch(graph.captured.cu_graph_exec(), self.stream.cu_stream()) }.map_err(
            |error| self.recent.failed("starting a graph, or work before it,", text(error)),
        )?;
        self.recent.add(&graph.kernels);
        Ok(true)
    }
}
