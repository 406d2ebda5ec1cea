use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use super::Compiler;
use crate::kernels::{Family, FAMILIES};
use crate::{DeviceError, Result};

/// The architectures of cards that NVRTC 12.8 compiles for, from Turing on.
pub const ARCHITECTURES: [&str; 7] = [
    "compute_75",
    "compute_80",
    "compute_86",
    "compute_89",
    "compute_90",
    "compute_100",
    "compute_120",
];

/// Compiled kernels on disk, by what they were compiled from and for.
///
/// They lie in the folder that the environment's `FLOW_CUDA_CACHE` names, otherwise in `flow-cuda`
/// of the user's folder for caches. A file that is there needs no compiler: [`fill`](Self::fill) one
/// and take it to a machine that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Default for Cache {
    fn default() -> Self {
        let set =
            |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("FLOW_CUDA_CACHE").unwrap_or_else(|| {
            let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
            caches.or_else(|| set("LOCALAPPDATA")).unwrap_or_else(env::temp_dir).join("flow-cuda")
        });
        Self { folder }
    }
}

impl Cache {
    /// The cache in a folder, which is made when something is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The kernels of a file for an architecture such as `compute_80`: kept ones, or compiled now and
    /// kept.
    ///
    /// Without a compiler, those of an older architecture do.
    ///
    /// # Errors
    /// Where they are not kept and cannot be compiled. A folder that cannot be written to is no error:
    /// they are compiled again the next time.
    pub fn ptx(&self, family: &Family, architecture: &str) -> Result<String> {
        let path = self.path(family, architecture);
        if let Ok(ptx) = fs::read_to_string(&path) {
            return Ok(ptx);
        }
        let compiler = match Compiler::new() {
            Ok(compiler) => compiler,
            Err(missing) => return self.older(family, architecture).ok_or(missing),
        };
        let ptx = compiler.compile(family, architecture)?;
        let _ = self.keep(&path, &ptx);
        Ok(ptx)
    }

    /// Compiles all kernels for each architecture, on all processors, and keeps them.
    ///
    /// # Errors
    /// Without a compiler, or where the folder cannot be written to.
    pub fn fill(&self, architectures: &[&str]) -> Result<()> {
        let compiler = Compiler::new()?;
        let jobs: Vec<_> = architectures
            .iter()
            .flat_map(|architecture| FAMILIES.iter().map(move |family| (family, architecture)))
            .collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some((family, architecture)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let ptx = compiler.compile(family, architecture)?;
                let path = self.path(family, architecture);
                self.keep(&path, &ptx)
                    .map_err(|error| DeviceError::Cache { path, reason: error.to_string() })?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads = thread::available_parallelism().map_or(1, |count| count.get());
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().try_for_each(join)
        })
    }

    /// What was kept for an older architecture: a card runs that too.
    fn older(&self, family: &Family, architecture: &str) -> Option<String> {
        let number = |name: &str| name.strip_prefix("compute_")?.parse::<u32>().ok();
        let card = number(architecture)?;
        let older = ARCHITECTURES.iter().rev().filter(|name| number(name) < Some(card));
        older.filter_map(|name| fs::read_to_string(self.path(family, name)).ok()).next()
    }

    fn path(&self, family: &Family, architecture: &str) -> PathBuf {
        let version = env!("CARGO_PKG_VERSION");
        let key = fnv([&family.source(), architecture, version]);
        self.folder.join(format!("{}-{architecture}-{key:016x}.ptx", family.name))
    }

    /// Writes a file as a whole: nobody reads half of it.
    fn keep(&self, path: &Path, ptx: &str) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let half = path.with_extension(format!("{}.half", std::process::id()));
        fs::write(&half, ptx)?;
        fs::rename(&half, path)
    }
}

/// Fowler, Noll and Vo's hash, 1a: the same in every version of Rust.
fn fnv(texts: [&str; 3]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_needs_no_compiler() {
        let folder = env::temp_dir().join(format!("flow-cuda-cache-{}", std::process::id()));
        let cache = Cache::new(&folder);
        let path = cache.path(&FAMILIES[0], "compute_80");
        cache.keep(&path, "kept").unwrap();
        assert_eq!(cache.ptx(&FAMILIES[0], "compute_80").unwrap(), "kept");
        assert_eq!(cache.older(&FAMILIES[0], "compute_90").as_deref(), Some("kept"));
        assert_eq!(cache.older(&FAMILIES[0], "compute_75"), None);
        assert_ne!(path, cache.path(&FAMILIES[0], "compute_90"));
        assert_ne!(path, cache.path(&FAMILIES[1], "compute_80"));
        fs::remove_dir_all(folder).unwrap();
    }
}
