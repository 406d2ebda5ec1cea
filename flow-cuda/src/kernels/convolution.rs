//! Convolutions with zero padding and stride 1 of images whose channels come last, as matrix products
//! whose patches stand nowhere (Chetlur et al. 2014, cuDNN, section 3): a block reads them from the
//! images while it fills its tile.
//!
//! With `P` pixels, `t` taps, `c` channels in and `o` out, a product of gathered patches writes
//! `4·P·t·c` bytes and reads them again for every 32 or 64 of the `o`; here it reads the images' `4·P·c`
//! bytes, up to `t` times, of which all but the first come from the cache. The gradient by the input
//! saves `4·P·t·c` bytes written and read as well, and that by the weight what the first saves. Where a
//! card may multiply in TF32, `gathered.rs` takes the convolutions of many channels.

use super::product::{add_in_parts, tiled, Epilogue};
use super::{holds, together, CONVOLUTION};
use crate::{Kernel, Op, Recording, Slot};

const FORWARD: [Kernel; 2] =
    [together(CONVOLUTION, "convolution"), together(CONVOLUTION, "large_convolution")];
const BY_INPUT: [Kernel; 2] = [
    together(CONVOLUTION, "convolution_by_input"),
    together(CONVOLUTION, "large_convolution_by_input"),
];
const BY_WEIGHT: [Kernel; 2] = [
    together(CONVOLUTION, "convolution_by_weight"),
    together(CONVOLUTION, "large_convolution_by_weight"),
];

/// What a kernel computes of a convolution.
#[cfg(any(feature = "gpu", test))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    ByInput,
    ByWeight,
}

#[cfg(any(feature = "gpu", test))]
impl Pass {
    /// None for kernels of something else.
    pub(super) fn of(kernel: Kernel) -> Option<Self> {
        let all =
            [(Self::Forward, FORWARD), (Self::ByInput, BY_INPUT), (Self::ByWeight, BY_WEIGHT)];
        all.into_iter().find_map(|(pass, kernels)| kernels.contains(&kernel).then_some(pass))
    }
}

/// What a convolution reads and writes. Images are `[images, height, width, channels]`, its weight is
/// `[outputs, side, side, inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// How many images.
    pub images: usize,
    /// Pixels of a column.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// The side of the square around each pixel, odd.
    pub side: usize,
    /// Channels that it reads.
    pub inputs: usize,
    /// Channels that it writes.
    pub outputs: usize,
}

impl Convolution {
    fn pixels(self) -> usize {
        self.images * self.height * self.width
    }

    fn entries(self) -> usize {
        self.side * self.side * self.inputs
    }

    /// What a kernel knows of the images that it reads patches from.
    fn window(self, channels: usize) -> [usize; 4] {
        assert!(self.side % 2 == 1, "a square of side {}, expected an odd one", self.side);
        [channels, self.side, self.height, self.width]
    }

    fn check(self, images: Slot, weight: Slot, outputs: Slot) {
        holds("the images", images, self.pixels() * self.inputs);
        holds("the weight of a convolution", weight, self.outputs * self.entries());
        holds("the images that it writes", outputs, self.pixels() * self.outputs);
    }

    /// `out = f(weight * images + bias) · factor`.
    pub fn forward(self, out: Slot, images: Slot, weight: Slot, epilogue: Epilogue) -> Op {
        self.check(images, weight, out);
        let sides = [self.pixels(), self.outputs, self.entries()];
        let whole = (1, sides[2]);
        let operands = [images, weight, out];
        tiled(FORWARD, operands, sides, self.window(self.inputs), epilogue, false, whole)
    }

    /// The gradient by the images, times `factor` number by number.
    pub fn by_input(self, by_images: Slot, by_out: Slot, weight: Slot, factor: Option<Slot>) -> Op {
        self.check(by_images, weight, by_out);
        let sides = [self.pixels(), self.inputs, self.side * self.side * self.outputs];
        let (whole, beside) = ((1, sides[2]), Epilogue { factor, ..Epilogue::default() });
        let operands = [by_out, weight, by_images];
        tiled(BY_INPUT, operands, sides, self.window(self.outputs), beside, false, whole)
    }

    /// Adds the gradient by the weight: parts of the pixels, then the parts in a fixed order.
    pub fn add_by_weight(
        self,
        recording: &mut Recording,
        by_weight: Slot,
        by_out: Slot,
        images: Slot,
    ) -> Vec<Op> {
        self.check(images, by_weight, by_out);
        let sides = [self.outputs, self.entries(), self.pixels()];
        add_in_parts(recording, by_weight, sides, |to, adds, parts| {
            let (operands, none) = ([by_out, images, to], Epilogue::default());
            tiled(BY_WEIGHT, operands, sides, self.window(self.inputs), none, adds, parts)
        })
    }
}
