//! Everything that can go wrong on a device.

use std::path::PathBuf;

/// What went wrong, where, what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A library of CUDA that is not on this machine.
    #[error("{library} was not found\nhelp: {help}")]
    Missing {
        /// What was looked for.
        library: &'static str,
        /// Where it comes from.
        help: &'static str,
    },

    /// A library of CUDA that is there and cannot be loaded.
    #[error("{} cannot be loaded: {reason}\nhelp: the environment's FLOW_CUDA_PATH names its folder; it must hold libraries for this machine", path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },

    /// No emulated device, because there was no C++ compiler when this was built.
    #[error("the emulated GPU was built without a C++ compiler\nhelp: install one (g++ or clang++) and build again")]
    NotEmulated,

    /// A card that cannot be opened.
    #[error("GPU {ordinal} cannot be opened: {reason}\nhelp: `nvidia-smi` lists the cards, counted from 0")]
    Open {
        /// Its number.
        ordinal: usize,
        /// What the driver said.
        reason: String,
    },

    /// Too little memory on the card.
    #[error("out of memory on the GPU: asked for {asked} bytes, {free} of {total} are free\nhelp: take fewer rows at once, or free other programs' memory")]
    OutOfMemory {
        /// Bytes that were asked for.
        asked: usize,
        /// Bytes that are free.
        free: usize,
        /// Bytes that the card has.
        total: usize,
    },

    /// Kernels that do not compile.
    #[error("the kernels of {family} do not compile for {architecture}:\n{log}")]
    Compile {
        /// The file of kernels.
        family: &'static str,
        /// What they were compiled for.
        architecture: String,
        /// What the compiler said.
        log: String,
    },

    /// A kernel that cannot be launched, or failed.
    #[error("kernel {kernel} failed: {reason}")]
    Kernel {
        /// The kernel.
        kernel: &'static str,
        /// What the driver said.
        reason: String,
    },

    /// Kernels that failed after they were started, as something that waits for them found.
    #[error("{what} failed: {reason}\nit is one of the kernels {kernels}\nhelp: `Gpu::checked` waits for each kernel and names the one that failed")]
    Work {
        /// What waited.
        what: &'static str,
        /// The kernels that were under way.
        kernels: String,
        /// What the driver said.
        reason: String,
    },

    /// Kernels that cannot be captured as a graph; they can still be run one by one.
    #[error("the GPU's kernels cannot be captured as a graph: {reason}\nhelp: they run one by one instead; `Gpu::without_graphs` says so from the start")]
    Capture {
        /// What the driver said.
        reason: String,
    },

    /// Numbers that cannot be brought to the device or back.
    #[error("{what} failed: {reason}")]
    Transfer {
        /// What was done.
        what: &'static str,
        /// What the driver said.
        reason: String,
    },

    /// A place outside of memory.
    #[error("{what} reaches to number {end} of a memory of {len}")]
    OutOfRange {
        /// What reaches there.
        what: &'static str,
        /// The end of it.
        end: usize,
        /// The memory's length.
        len: usize,
    },

    /// A file of the cache that cannot be written.
    #[error("{}: {reason}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// A result whose error is a [`DeviceError`].
pub type Result<T, E = DeviceError> = std::result::Result<T, E>;
