use std::path::Path;

use cudarc::nvrtc::{compile_ptx_with_opts, sys, CompileError, CompileOptions};

use crate::kernels::Family;
use crate::{DeviceError, Result};

/// NVRTC, which compiles kernels at run time.
///
/// It is looked for in the folder that the environment's `FLOW_CUDA_PATH` names, then where the
/// system looks for libraries. A toolkit has it, and so has the wheel `nvidia-cuda-nvrtc-cu12` of
/// PyPI, in `nvidia/cuda_nvrtc/lib`.
#[derive(Clone, Copy, Debug)]
pub struct Compiler(());

impl Compiler {
    /// The compiler of this machine.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] where there is none.
    pub fn new() -> Result<Self> {
        if let Some(folder) = std::env::var_os("FLOW_CUDA_PATH") {
            load_from(
                Path::new(&folder),
                &["libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so", "nvrtc64_120_0.dll"],
            );
        }
        // SAFETY: it loads the compiler's library, whose initialisers are the vendor's.
        if unsafe { sys::is_culib_present() } {
            return Ok(Self(()));
        }
        Err(DeviceError::Missing {
            library: "NVRTC, the run-time compiler of CUDA (libnvrtc.so)",
            help: "install a CUDA toolkit, or `pip install nvidia-cuda-nvrtc-cu12` and set \
                   FLOW_CUDA_PATH to its folder nvidia/cuda_nvrtc/lib",
        })
    }

    /// The kernels of a file for an architecture such as `compute_80`, as PTX.
    ///
    /// # Errors
    /// [`DeviceError::Compile`] with what the compiler says.
    pub fn compile(&self, family: &Family, architecture: &str) -> Result<String> {
        let options = CompileOptions {
            options: vec![format!("--gpu-architecture={architecture}")],
            name: Some(format!("{}.cu", family.name)),
            ..CompileOptions::default()
        };
        let compiled = compile_ptx_with_opts(family.source(), options);
        let ptx = compiled.map_err(|error| DeviceError::Compile {
            family: family.name,
            architecture: architecture.into(),
            log: match error {
                CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
                other => format!("{other:?}"),
            },
        })?;
        Ok(ptx.to_src())
    }
}

/// Loads libraries from a folder, so that they are there when they are looked for by name.
pub(super) fn load_from(folder: &Path, names: &[&str]) {
    names.iter().map(|name| folder.join(name)).filter(|file| file.exists()).for_each(|f| open(&f));
}

fn open(file: &Path) {
    // SAFETY: the file is the vendor's library that the user named; its initialisers are the vendor's.
    if let Ok(library) = unsafe { libloading::Library::new(file) } {
        // It must stay: functions of it are called for as long as the program runs.
        std::mem::forget(library);
    }
}
