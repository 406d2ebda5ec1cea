//! A card, through its driver.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DeviceRepr, DriverError};

use crate::kernels::Arguments;
use crate::{Area, Device, DeviceError, Kernel, Op, Result};

mod blas;
mod blas_lt;
mod cache;
mod compiler;
mod foreign;
mod graph;
mod launch;
mod recent;

use blas::Blas;
pub use blas::Products;
pub use cache::{Cache, ARCHITECTURES};
pub use compiler::Compiler;
use graph::Graph;
use recent::Recent;

// SAFETY: plain numbers in C's layout, the same as in `arguments.h`.
unsafe impl DeviceRepr for Arguments {}

/// Kernels that were loaded.
type Functions = Arc<Mutex<HashMap<Kernel, CudaFunction>>>;

/// An NVIDIA card. Cheap to clone: clones share its one stream of work.
///
/// Kernels can be captured as a CUDA graph, which the processor starts by one call. A graph belongs to
/// the memories that it was captured with and is of no use where one of them lies elsewhere;
/// [`without_graphs`](Self::without_graphs) turns that off.
///
/// Large matrix products are cuBLAS's where the library is found, in full single precision, and small
/// ones and all others those of the kernels here, with what follows them in the same kernel. cuBLASLt
/// does a bias, and a rectifier after it, in the product's own kernel; where it is not found or has none
/// for a product, and for other functions and their slopes, the kernel `finish_product` follows that of
/// cuBLAS. [`multiplying_by`](Self::multiplying_by) chooses, also TF32;
/// [`name`](Device::name) says what was found.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    functions: Functions,
    /// What may have failed unseen.
    recent: Arc<Recent>,
    /// Held while a graph is launched.
    launching: Arc<Mutex<()>>,
    blas: Option<Arc<Blas>>,
    architecture: String,
    cache: Cache,
    checked: bool,
    graphs: bool,
}

impl Gpu {
    /// The card of that number, counted from 0.
    ///
    /// Its kernels are compiled where they are first used; see [`Cache`] for where they are kept.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] where there is no driver, [`DeviceError::Open`] where there is no
    /// such card.
    pub fn new(ordinal: usize) -> Result<Self> {
        // SAFETY: it loads the driver's library, whose initialisers are the vendor's.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::Missing {
                library: "the driver of NVIDIA cards (libcuda.so, nvcuda.dll)",
                help: "it comes with the card's driver; without a card, run flows on the CPU",
            });
        }
        let open = |error: DriverError| DeviceError::Open { ordinal, reason: text(error) };
        let context = CudaContext::new(ordinal).map_err(open)?;
        let (major, minor) = context.compute_capability().map_err(open)?;
        // SAFETY: each memory is used and freed on one stream only, as `owns` finds before each use.
        // Events between streams would be waited for inside of a capture, which ends it.
        unsafe { context.disable_event_tracking() };
        // A stream of its own: the default one cannot be captured in a graph.
        let stream = context.new_stream().map_err(open)?;
        Self {
            context,
            stream,
            functions: Arc::default(),
            recent: Arc::default(),
            launching: Arc::default(),
            architecture: format!("compute_{major}{minor}"),
            blas: None,
            cache: Cache::default(),
            checked: false,
            graphs: true,
        }
        .multiplying_by(Products::Found)
    }

    /// Multiplies matrices by something else.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] where cuBLAS is asked for and not there, and what it reports.
    pub fn multiplying_by(mut self, products: Products) -> Result<Self> {
        let wanted = match products {
            Products::Own => false,
            Products::Found => blas::find().is_ok(),
            Products::Cublas | Products::CublasTf32 => blas::find().map(|()| true)?,
        };
        let new = || Blas::new(&self, products == Products::CublasTf32).map(Arc::new);
        self.blas = if wanted { Some(new()?) } else { None };
        Ok(self)
    }

    /// Starts each kernel by itself.
    pub fn without_graphs(mut self) -> Self {
        self.graphs = false;
        self
    }

    /// Waits for each kernel, so that one that fails is named. Slow, and without graphs; for finding
    /// a fault.
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// Keeps compiled kernels there instead.
    pub fn caching(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// What failed of it.
    pub fn wait(&self) -> Result<()> {
        self.waited("the work of the GPU", self.stream.synchronize())
    }

    /// What something found that waited for all work.
    fn waited(&self, what: &'static str, found: Result<(), DriverError>) -> Result<()> {
        match found {
            Ok(()) => {
                self.recent.done();
                Ok(())
            }
            Err(error) => Err(self.recent.failed(what, text(error))),
        }
    }

    /// Whether a memory is this card's and belongs to its stream of work.
    fn owns<T>(&self, memory: &CudaSlice<T>) -> bool {
        Arc::ptr_eq(memory.stream(), &self.stream)
    }

    fn foreign(&self, what: &'static str) -> DeviceError {
        DeviceError::Transfer { what, reason: "it is in the memory of another GPU".into() }
    }

    fn short(&self, asked: usize, what: &'static str, error: DriverError) -> DeviceError {
        if error.0 != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return self.recent.failed(what, text(error));
        }
        match self.context.mem_get_info() {
            Ok((free, total)) => DeviceError::OutOfMemory { asked, free, total },
            Err(unknown) => {
                let (error, unknown) = (text(error), text(unknown));
                let reason = format!("{error}, asked for {asked} bytes; what is free: {unknown}");
                DeviceError::Transfer { what, reason }
            }
        }
    }
}

impl Device for Gpu {
    type Memory = CudaSlice<f32>;
    type Tables = CudaSlice<i32>;
    type Graph = Graph;

    fn name(&self) -> String {
        let name = self.context.name().unwrap_or_else(|_| "a GPU".into());
        let Some(blas) = self.blas.as_deref() else { return format!("{name}, without cuBLAS") };
        let found = if blas.lt.is_some() { "cuBLAS and cuBLASLt" } else { "cuBLAS" };
        format!("{name}, with {found}{}", if blas.patches.is_some() { " in TF32" } else { "" })
    }

    fn memory(&self, len: usize) -> Result<Self::Memory> {
        // A card has no empty memory.
        let len = len.max(1);
        let made = self.stream.alloc_zeros(len);
        made.map_err(|error| self.short(4 * len, "memory of the GPU", error))
    }

    fn write(&self, memory: &mut Self::Memory, offset: usize, numbers: &[f32]) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let (what, end, len) = ("what is written", offset + numbers.len(), memory.len());
        let place = memory.try_slice_mut(offset..end);
        let mut place = place.ok_or(DeviceError::OutOfRange { what, end, len })?;
        let written = self.stream.memcpy_htod(numbers, &mut place);
        written.map_err(|error| {
            self.recent.failed("writing to the GPU, or work before it,", text(error))
        })
    }

    fn read(&self, memory: &Self::Memory, offset: usize, numbers: &mut [f32]) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let (what, end, len) = ("what is read", offset + numbers.len(), memory.len());
        let place = memory.try_slice(offset..end);
        let place = place.ok_or(DeviceError::OutOfRange { what, end, len })?;
        let read = self.stream.memcpy_dtoh(&place, numbers);
        let read = read.and_then(|()| self.stream.synchronize());
        self.waited("reading from the GPU, or work before it,", read)
    }

    fn tables(&self, indices: &[i32]) -> Result<Self::Tables> {
        let indices = if indices.is_empty() { &[0] } else { indices };
        let made = self.stream.clone_htod(indices);
        made.map_err(|error| self.short(4 * indices.len(), "index lists of the GPU", error))
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
        self.queue(&self.stream, ops, memory, tables, &mut None)
    }

    fn capture<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<Option<Graph>>
    where
        Self::Memory: 'm,
    {
        if !self.graphs || self.checked {
            return Ok(None);
        }
        self.record(ops, memory, tables).map(Some)
    }

    fn replay<'m>(
        &self,
        graph: &Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<bool>
    where
        Self::Memory: 'm,
    {
        self.launch_graph(graph, memory, tables)
    }
}

fn text(error: DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{error:?}"), |text| text.to_string_lossy().into())
}

fn failed(kernel: Kernel, error: DriverError) -> DeviceError {
    DeviceError::Kernel { kernel: kernel.name, reason: text(error) }
}

fn transfer(what: &'static str, error: DriverError) -> DeviceError {
    DeviceError::Transfer { what, reason: text(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_card_says_what_is_missing() {
        // SAFETY: as in `Gpu::new`.
        if unsafe { sys::is_culib_present() } {
            return;
        }
        let message = Gpu::new(0).unwrap_err().to_string();
        assert!(message.contains("libcuda.so") && message.contains("help: "), "{message}");
    }
}
