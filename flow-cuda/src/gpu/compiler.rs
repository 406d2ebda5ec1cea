use std::ffi::OsStr;
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
        let mut broken = None;
        if let Some(folder) = std::env::var_os("FLOW_CUDA_PATH") {
            // The builtins are looked for by name when a kernel needs them, in some versions only where
            // the system looks.
            broken = load_from(
                Path::new(&folder),
                &["libnvrtc-builtins.so", "libnvrtc.so", "nvrtc-builtins64_", "nvrtc64_"],
            );
        }
        // SAFETY: it loads the compiler's library, whose initialisers are the vendor's.
        if unsafe { sys::is_culib_present() } {
            return Ok(Self(()));
        }
        Err(broken.unwrap_or(DeviceError::Missing {
            library: "NVRTC, the run-time compiler of CUDA (libnvrtc.so)",
            help: "install a CUDA toolkit, or `pip install nvidia-cuda-nvrtc-cu12` and set \
                   FLOW_CUDA_PATH to its folder nvidia/cuda_nvrtc/lib",
        }))
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

/// Loads the libraries of a folder whose names begin so, of whatever version, so that they are there when
/// they are looked for by name: what is wrong with the first that is there and cannot be loaded.
pub(super) fn load_from(folder: &Path, names: &[&str]) -> Option<DeviceError> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let named = |file: &Path, name| file.file_name().is_some_and(|f| starts_with(f, name));
    let files = names.iter().flat_map(|name| files.iter().filter(move |file| named(file, name)));
    // Each is tried, whatever became of those before.
    let broken: Vec<_> = files.filter_map(|file| open(file).err()).collect();
    broken.into_iter().next()
}

fn starts_with(file: &OsStr, name: &str) -> bool {
    file.as_encoded_bytes().starts_with(name.as_bytes())
}

fn open(file: &Path) -> Result<()> {
    // SAFETY: the file is the vendor's library that the user named; its initialisers are the vendor's.
    let library = unsafe { libloading::Library::new(file) }
        .map_err(|error| DeviceError::Library { path: file.into(), reason: error.to_string() })?;
    // It must stay: functions of it are called for as long as the program runs.
    std::mem::forget(library);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_cannot_be_loaded_says_why() {
        let folder = std::env::temp_dir().join(format!("flow-cuda-broken-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(load_from(&folder, &["libbroken.so"]), None);
        std::fs::write(folder.join("libbroken.so.13"), "not a library").unwrap();
        let error = load_from(&folder, &["libother.so", "libbroken.so"]).expect("it is broken");
        let message = error.to_string();
        assert!(message.contains("libbroken.so.13 cannot be loaded: "), "{message}");
        assert!(message.contains("FLOW_CUDA_PATH"), "{message}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
