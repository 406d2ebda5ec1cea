//! cuBLASLt, for large products with a bias, and a rectifier, in the same kernel.

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::size_of_val;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::CudaStream;

use crate::kernels::{Fused, Gemm};
use crate::{DeviceError, Result};

/// A product as far as a choice of algorithm depends on it: with the alignments of its operands.
type Key = (Gemm, Fused, [u32; 4]);

/// cuBLASLt on a card.
#[derive(Debug)]
pub(super) struct BlasLt {
    handle: Handle,
    /// What the library chose; none where it has nothing for a product.
    chosen: Mutex<HashMap<Key, Option<sys::cublasLtMatmulAlgo_t>>>,
    tf32: bool,
}

#[derive(Debug)]
struct Handle(sys::cublasLtHandle_t);

// SAFETY: the library's functions may be called with one handle by several threads.
unsafe impl Send for Handle {}
// SAFETY: the same holds of calls at the same time; the handle itself never changes.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it was created and is destroyed once.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// A description that the library allocated, with what frees it.
struct Owned<T: Copy>(T, unsafe fn(T) -> Result<(), CublasError>);

impl<T: Copy> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it was created and is destroyed once.
        let _ = unsafe { (self.1)(self.0) };
    }
}

/// Memory that the library may use beside its operands.
pub(super) type Workspace = (u64, usize);

impl BlasLt {
    /// Whether the library can be loaded, where that of cuBLAS was found.
    pub(super) fn is_there() -> bool {
        // SAFETY: it loads the vendor's library, whose initialisers are the vendor's.
        unsafe { sys::is_culib_present() }
    }

    /// A handle of the library that is there.
    pub(super) fn new(tf32: bool) -> Result<Self> {
        let handle = Handle(result::create_handle().map_err(|error| failed(&error))?);
        Ok(Self { handle, chosen: Mutex::default(), tf32 })
    }

    /// Starts a product with what stands beside it, of operands and a bias at those addresses. False
    /// where the library has no kernel for it: nothing was started then.
    ///
    /// # Safety
    /// The operands must be as long as the product says, and stay until it is done; so must the
    /// workspace, which nobody else uses meanwhile.
    pub(super) unsafe fn run(
        &self,
        stream: &Arc<CudaStream>,
        (gemm, fused): (&Gemm, Fused),
        operands: [u64; 4],
        workspace: Workspace,
    ) -> Result<bool> {
        // SAFETY: as the caller says.
        unsafe { self.start(stream, (gemm, fused), operands, workspace) }
            .map_err(|error| failed(&error))
    }

    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn start(
        &self,
        stream: &Arc<CudaStream>,
        (gemm, fused): (&Gemm, Fused),
        [a, b, c, bias]: [u64; 4],
        (workspace, room): Workspace,
    ) -> Result<bool, CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let [rows, columns, inner] = gemm.sides.map(i64::from);
        let compute = match self.tf32 {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let single = sys::cudaDataType_t::CUDA_R_32F;
        let product = result::create_matmul_desc(compute, single)?;
        let product = Owned(product, result::destroy_matmul_desc);
        let epilogue = match fused {
            Fused::Bias => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
            Fused::BiasRelu => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_RELU_BIAS,
        };
        let turned = gemm.turned.map(i32::from);
        // SAFETY: the description is alive, and each attribute of the type that it is set to.
        unsafe {
            set(&product, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &turned[0])?;
            set(&product, Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &turned[1])?;
            set(&product, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &(epilogue as u32))?;
            set(&product, Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        let layout = |sides: [i64; 2], turned: bool, leading: i64| {
            let [rows, columns] = if turned { [sides[1], sides[0]] } else { sides };
            let made = result::create_matrix_layout(single, rows as u64, columns as u64, leading);
            made.map(|layout| Owned(layout, result::destroy_matrix_layout))
        };
        let leading = gemm.leading.map(i64::from);
        let left = layout([rows, inner], gemm.turned[0], leading[0])?;
        let right = layout([inner, columns], gemm.turned[1], leading[1])?;
        let out = layout([rows, columns], false, rows)?;

        let aligned = [a, b, c, bias].map(|address| 1 << address.trailing_zeros().min(8));
        let key = (*gemm, fused, aligned);
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let algorithm = match chosen.get(&key) {
            Some(known) => *known,
            None => {
                let layouts = [left.0, right.0, out.0];
                // SAFETY: the descriptions are alive.
                let found = unsafe { self.choose(product.0, layouts, aligned, room)? };
                chosen.insert(key, found);
                found
            }
        };
        drop(chosen);
        let Some(algorithm) = algorithm else { return Ok(false) };
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: the descriptions are alive; operands and workspace are the caller's.
        unsafe {
            result::matmul(
                self.handle.0,
                product.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                a as *const c_void,
                left.0,
                b as *const c_void,
                right.0,
                c as *const c_void,
                out.0,
                c as *mut c_void,
                out.0,
                &raw const algorithm,
                workspace as *mut c_void,
                room,
                stream.cu_stream().cast(),
            )?;
        }
        Ok(true)
    }

    /// What the library would take for a product, if anything.
    ///
    /// # Safety
    /// The descriptions must be alive.
    unsafe fn choose(
        &self,
        product: sys::cublasLtMatmulDesc_t,
        [left, right, out]: [sys::cublasLtMatrixLayout_t; 3],
        [a, b, c, _]: [u32; 4],
        room: usize,
    ) -> Result<Option<sys::cublasLtMatmulAlgo_t>, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let wishes = Owned(result::create_matmul_pref()?, result::destroy_matmul_pref);
        let wish = |attribute, value: &u32| {
            let at = std::ptr::from_ref(value).cast();
            // SAFETY: the wishes are alive, and the attribute is of that type.
            unsafe { result::set_matmul_pref_attribute(wishes.0, attribute, at, 4) }
        };
        // SAFETY: the wishes are alive, and this attribute is a `size_t`, as `room` is.
        unsafe {
            let attribute = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let at = (&raw const room).cast();
            result::set_matmul_pref_attribute(wishes.0, attribute, at, size_of_val(&room))?;
        }
        wish(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a)?;
        wish(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b)?;
        wish(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c)?;
        wish(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c)?;
        // SAFETY: the descriptions are alive.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                self.handle.0,
                product,
                left,
                right,
                out,
                out,
                wishes.0,
            )
        };
        match found {
            Ok(found) => Ok(Some(found.algo)),
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Sets an attribute of a product.
///
/// # Safety
/// The attribute must be of that type.
unsafe fn set<T>(
    product: &Owned<sys::cublasLtMatmulDesc_t>,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> Result<(), CublasError> {
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: the description is alive; the rest is the caller's.
    unsafe { result::set_matmul_desc_attribute(product.0, attribute, at, size_of_val(value)) }
}

fn failed(error: &CublasError) -> DeviceError {
    DeviceError::Kernel { kernel: "cublasLtMatmul", reason: format!("cuBLASLt says {error:?}") }
}
