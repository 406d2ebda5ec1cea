use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{DeviceError, Kernel};

/// The kernels that were started since the card was last waited for: a failure of one of them is told
/// where something waits for all.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Vec<&'static str>>);

impl Recent {
    /// A kernel was started.
    pub(super) fn started(&self, kernel: Kernel) {
        self.add(&[kernel.name]);
    }

    /// Kernels were started, each named once.
    pub(super) fn add(&self, kernels: &[&'static str]) {
        let mut names = self.lock();
        for &name in kernels {
            // Names are those of the kernels' constants: mostly the same address.
            if !names.iter().rev().any(|known| std::ptr::eq(*known, name) || *known == name) {
                names.push(name);
            }
        }
    }

    /// All of them are done.
    pub(super) fn done(&self) {
        self.lock().clear();
    }

    /// The error of what waited for them.
    pub(super) fn failed(&self, what: &'static str, reason: String) -> DeviceError {
        match self.lock()[..] {
            [] => DeviceError::Transfer { what, reason },
            [kernel] => DeviceError::Kernel { kernel, reason },
            ref kernels => DeviceError::Work { what, kernels: kernels.join(", "), reason },
        }
    }

    /// The error of a kernel that could not be started: where others are under way, theirs may be told
    /// here.
    pub(super) fn refused(&self, kernel: Kernel, reason: String) -> DeviceError {
        if self.lock().is_empty() {
            return DeviceError::Kernel { kernel: kernel.name, reason };
        }
        self.started(kernel);
        self.failed("starting a kernel, or work before it,", reason)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::apart;

    #[test]
    fn failures_name_the_kernels_that_were_under_way() {
        let recent = Recent::default();
        let read = || recent.failed("reading", "gone".into()).to_string();
        assert_eq!(read(), "reading failed: gone");
        let refused = |name| recent.refused(apart(0, name), "no".into()).to_string();
        assert_eq!(refused("fill"), "kernel fill failed: no");

        recent.started(apart(0, "gather"));
        recent.started(apart(0, "gather"));
        assert_eq!(read(), "kernel gather failed: gone");
        recent.add(&["gather", "scatter"]);
        let message = read();
        assert!(message.starts_with("reading failed: gone\n"), "{message}");
        assert!(message.contains("one of the kernels gather, scatter\n"), "{message}");
        assert!(message.contains("help: `Gpu::checked`"), "{message}");
        let message = refused("fill");
        assert!(message.contains("one of the kernels gather, scatter, fill\n"), "{message}");
        recent.done();
        assert_eq!(read(), "reading failed: gone");
    }
}
