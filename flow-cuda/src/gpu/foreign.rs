//! Copies from and to memory of the card that somebody else has.

use cudarc::driver::result::memcpy_dtod_async;
use cudarc::driver::{CudaSlice, DevicePtr};

use super::Gpu;
use crate::{DeviceError, Result};

impl Gpu {
    /// The card's number.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Copies `len` numbers from an address of this card to `memory`, from `offset` on, and waits.
    ///
    /// # Errors
    /// Numbers that do not fit there, and what the driver reports.
    ///
    /// # Safety
    /// From the address on there must be as many numbers on this card, whose writing is done.
    pub unsafe fn copy_from(
        &self,
        memory: &mut CudaSlice<f32>,
        offset: usize,
        (address, len): (u64, usize),
    ) -> Result<()> {
        let place = self.place(memory, offset, len, "what is copied to")?;
        // SAFETY: both ends hold as many numbers; see `copy`.
        unsafe { self.copy(place, address, len) }
    }

    /// Copies `len` numbers of `memory`, from `offset` on, to an address of this card, and waits.
    ///
    /// # Errors
    /// As [`copy_from`](Self::copy_from).
    ///
    /// # Safety
    /// From the address on there must be room for as many numbers on this card, which nobody else uses
    /// meanwhile.
    pub unsafe fn copy_to(
        &self,
        memory: &CudaSlice<f32>,
        offset: usize,
        (address, len): (u64, usize),
    ) -> Result<()> {
        let place = self.place(memory, offset, len, "what is copied from")?;
        // SAFETY: both ends hold as many numbers; see `copy`.
        unsafe { self.copy(address, place, len) }
    }

    fn place(
        &self,
        memory: &CudaSlice<f32>,
        offset: usize,
        count: usize,
        what: &'static str,
    ) -> Result<u64> {
        let (end, len) = (offset + count, memory.len());
        if !self.owns(memory) {
            return Err(self.foreign(what));
        }
        if end > len {
            return Err(DeviceError::OutOfRange { what, end, len });
        }
        Ok(memory.device_ptr(&self.stream).0 + 4 * offset as u64)
    }

    /// # Safety
    /// Both addresses must have `len` numbers on this card, of which nobody else writes those at
    /// `from` or uses those at `to` meanwhile.
    unsafe fn copy(&self, to: u64, from: u64, len: usize) -> Result<()> {
        let copied = self.context.bind_to_thread().and_then(|()| {
            // SAFETY: as the caller says. It is done when this returns.
            unsafe { memcpy_dtod_async(to, from, 4 * len, self.stream.cu_stream()) }
                .and_then(|()| self.stream.synchronize())
        });
        self.waited("copying on the GPU, or work before it,", copied)
    }
}
