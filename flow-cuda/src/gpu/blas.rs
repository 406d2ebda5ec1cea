//! cuBLAS, for products that are large enough.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublas::result::{create_handle, destroy_handle, set_stream, sgemm, CublasError};
use cudarc::cublas::sys;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::blas_lt::BlasLt;
use super::compiler::load_from;
use super::Gpu;
use crate::kernels::{Fused, Gemm};
use crate::{Device, DeviceError, Result};

/// What multiplies matrices on a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// cuBLAS where it is found, in full single precision, and the kernels here otherwise.
    #[default]
    Found,
    /// The kernels here.
    Own,
    /// cuBLAS in full single precision.
    Cublas,
    /// cuBLAS in TF32: factors are rounded to 11 bits, which is some seven times as fast on tensor
    /// cores and leaves three digits of a product.
    ///
    /// It applies to products with 2²⁴ multiplications or more and sides of 32: of linear layers and
    /// maps, and of convolutions of one pixel. Larger convolutions write their patches to memory for it,
    /// 64 MiB at a time: where they have 2²⁸ multiplications or more and write 128 channels (their
    /// gradient by the input: read 128), as for fewer the memory's time is longer than what is saved. These
    /// stay in full precision: smaller products, nets that run as one kernel, and gradients by weights that
    /// are summed in parts.
    CublasTf32,
}

/// How the names of its libraries begin; the second needs the first.
const LIBRARIES: [&str; 4] = ["libcublasLt.so", "libcublas.so", "cublasLt64_", "cublas64_"];

/// Bytes that cuBLAS may use beside its operands: what it takes itself on a large card. They are its
/// own, as what it would allocate during a capture would belong to the graph.
const WORKSPACE: usize = 32 << 20;

/// Patches of convolutions that lie in memory at once, in numbers: 14 thousand pixels of 3 × 3 patches
/// of 128 channels.
const PATCHES: usize = 16 << 20;

/// cuBLAS on a card.
#[derive(Debug)]
pub(super) struct Blas {
    handle: Mutex<Handle>,
    workspace: CudaSlice<u8>,
    /// For what stands beside a product, where it is found.
    pub(super) lt: Option<BlasLt>,
    /// Where patches are gathered for it: only in TF32 that pays.
    pub(super) patches: Option<CudaSlice<f32>>,
}

#[derive(Debug)]
struct Handle(sys::cublasHandle_t);

// SAFETY: a handle may be used by any thread, one at a time.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it was created and is destroyed once.
        let _ = unsafe { destroy_handle(self.0) };
    }
}

/// Whether the library can be loaded: from the folder of the environment's `FLOW_CUDA_PATH`, or from
/// where the system looks for libraries.
pub(super) fn find() -> Result<()> {
    let mut broken = None;
    if let Some(folder) = std::env::var_os("FLOW_CUDA_PATH") {
        broken = load_from(folder.as_ref(), &LIBRARIES);
    }
    // SAFETY: it loads the vendor's library, whose initialisers are the vendor's.
    if unsafe { sys::is_culib_present() } {
        return Ok(());
    }
    Err(broken.unwrap_or(DeviceError::Missing {
        library: "cuBLAS (libcublas.so)",
        help:
            "install a CUDA toolkit, or `pip install nvidia-cublas-cu12` and set FLOW_CUDA_PATH to \
               its folder nvidia/cublas/lib; `Products::Own` needs none",
    }))
}

impl Blas {
    /// A handle of the library that [`find`] found, on a card's stream.
    pub(super) fn new(gpu: &Gpu, tf32: bool) -> Result<Self> {
        let handle = create_handle().map(Handle).map_err(|error| failed(&error))?;
        let mode = match tf32 {
            true => sys::cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH,
            false => sys::cublasMath_t::CUBLAS_DEFAULT_MATH,
        };
        // SAFETY: the handle is alive.
        unsafe { sys::cublasSetMathMode(handle.0, mode) }.result().map_err(|e| failed(&e))?;
        let workspace = gpu.stream.alloc_zeros(WORKSPACE);
        let workspace =
            workspace.map_err(|error| gpu.short(WORKSPACE, "memory for cuBLAS", error))?;
        let lt = if BlasLt::is_there() { Some(BlasLt::new(tf32)?) } else { None };
        let patches = tf32.then(|| gpu.memory(PATCHES)).transpose()?;
        Ok(Self { handle: Mutex::new(handle), workspace, lt, patches })
    }

    /// Starts a product with what stands beside it as one kernel of cuBLASLt, whose bias is the last
    /// operand. False where the library is not there or has none for it: nothing was started then.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    pub(super) unsafe fn run_fused(
        &self,
        stream: &Arc<CudaStream>,
        product: (&Gemm, Fused),
        operands: [u64; 4],
    ) -> Result<bool> {
        let Some(lt) = &self.lt else { return Ok(false) };
        let workspace = self.workspace.device_ptr(self.workspace.stream()).0;
        // SAFETY: the operands are the caller's. Both libraries' kernels use the workspace on one stream,
        // in order.
        unsafe { lt.run(stream, product, operands, (workspace, WORKSPACE)) }
    }

    /// Starts a product on a stream, of operands at those addresses.
    ///
    /// # Safety
    /// The operands must be as long as the product says, and stay until it is done.
    pub(super) unsafe fn run(
        &self,
        stream: &Arc<CudaStream>,
        gemm: &Gemm,
        [a, b, c]: [u64; 3],
    ) -> Result<()> {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace = self.workspace.device_ptr(self.workspace.stream()).0;
        let [rows, columns, inner] = gemm.sides;
        let turn = |turned| match turned {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        };
        let [turn_a, turn_b] = gemm.turned.map(turn);
        let (one, kept) = (1.0, f32::from(u8::from(gemm.adds)));
        // SAFETY: handle, stream and workspace are alive; a stream takes its workspace anew each time
        // that it is set. The operands are the caller's.
        unsafe {
            set_stream(handle.0, stream.cu_stream().cast()).map_err(|error| failed(&error))?;
            sys::cublasSetWorkspace_v2(handle.0, workspace as *mut _, WORKSPACE)
                .result()
                .map_err(|error| failed(&error))?;
            sgemm(
                handle.0,
                turn_a,
                turn_b,
                rows,
                columns,
                inner,
                &one,
                a as *const f32,
                gemm.leading[0],
                b as *const f32,
                gemm.leading[1],
                &kept,
                c as *mut f32,
                rows,
            )
            .map_err(|error| failed(&error))
        }
    }
}

fn failed(error: &CublasError) -> DeviceError {
    DeviceError::Kernel { kernel: "cublasSgemm", reason: format!("cuBLAS says {error:?}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_machine_without_cublas_says_what_to_install() {
        if let Err(error) = find() {
            let message = error.to_string();
            assert!(message.contains("libcublas.so") && message.contains("help: "), "{message}");
        }
    }

    /// Those of PyPI have names with versions alone.
    #[test]
    fn a_folder_with_cublas_is_enough() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda-toolkit/lib");
        if !folder.exists() {
            eprintln!("NOT TESTED: no cuBLAS, run scripts/cuda-toolkit first");
            return;
        }
        assert_eq!(load_from(&folder, &LIBRARIES), None);
        find().unwrap();
        assert!(BlasLt::is_there());
    }
}
