//! Convolutions of many channels as products of patches that are gathered in a memory beside them, for
//! cards whose tensor cores multiply matrices and whose libraries take no images.

use super::convolution::Pass;
use super::product::{add_into, product, Epilogue, Matrix};
use super::{apart, op, GATHERED};
use crate::{Area, Kernel, Op, Slot};

const GATHER: Kernel = apart(GATHERED, "gather_patches");
const TURN: Kernel = apart(GATHERED, "turn_weight");

/// Channels written from which on gathering pays. For each entry of a patch it writes and reads 8 bytes,
/// 2.4 ps at 3.3 TB/s, and saves for each channel the difference of 2 operations at the 67 Tflop/s of full
/// precision and at the 495 of TF32, 0.026 ps: from 94 channels on, where products reach these rates.
const CHANNELS: usize = 128;

/// Multiplications from which on the kernels that gather are worth their launches.
const LEAST: usize = 1 << 28;

/// Pixels that should be gathered at once, so that their product fills a card.
const PIXELS: usize = 4096;

/// The ops that do the work of a convolution in [`Area::Patches`], where that has so much room: they
/// gather patches of some pixels and multiply these, in turns. None where the kernel that gathers
/// nothing is as fast, and for what is no convolution.
pub(crate) fn gathered(op: &Op, room: usize) -> Option<Vec<Op>> {
    let shape = Shape::of(op)?;
    let pays = shape.written >= CHANNELS && shape.pixels * shape.written * shape.entries >= LEAST;
    let fits = shape.turned() + shape.pixels.min(PIXELS) * shape.entries <= room;
    (pays && fits).then(|| shape.split(op, room))
}

/// What a recorded convolution, or one of its gradients, reads and writes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    pass: Pass,
    /// Pixels of all images.
    pixels: usize,
    /// Numbers of a patch.
    entries: usize,
    /// Channels that meet each number of a patch.
    written: usize,
    /// Channels, side of the square, height and width of what patches are gathered from.
    window: [usize; 4],
}

impl Shape {
    fn of(op: &Op) -> Option<Self> {
        let pass = Pass::of(op.kernel)?;
        // Sums in parts are small.
        if op.launch.grid[2] > 1 {
            return None;
        }
        let size = |at: usize| op.sizes[at] as usize;
        let [pixels, entries, written] = match pass {
            Pass::Forward | Pass::ByInput => [0, 2, 1].map(size),
            Pass::ByWeight => [2, 1, 0].map(size),
        };
        Some(Self { pass, pixels, entries, written, window: [3, 4, 5, 6].map(size) })
    }

    /// Numbers of a weight that is turned.
    fn turned(self) -> usize {
        match self.pass {
            Pass::ByInput => (self.entries * self.written).next_multiple_of(32),
            Pass::Forward | Pass::ByWeight => 0,
        }
    }

    /// The ops in so much room, which must hold the patch of one pixel.
    fn split(self, whole: &Op, room: usize) -> Vec<Op> {
        let Self { pass, pixels, entries, written, window: [channels, side, height, width] } = self;
        let images = whole.slots[if pass == Pass::ByWeight { 1 } else { 0 }];
        let turned = Slot::new(Area::Patches, 0, self.turned());
        let most = (room - turned.len) / entries;
        // As many pixels each time.
        let each = pixels.div_ceil(pixels.div_ceil(most).max(1)).max(1);
        let mut ops = Vec::new();
        if pass == Pass::ByInput {
            let sizes = [channels, side * side, written];
            ops.push(op(TURN, entries * written).slots([whole.slots[1], turned]).sizes(sizes));
        }
        for first in (0..pixels).step_by(each) {
            let count = each.min(pixels - first);
            let patches = Slot::new(Area::Patches, turned.len, count * entries);
            let sizes = [first, count, channels, side, height, width];
            let gather = op(GATHER, count * entries.div_ceil(4));
            ops.push(gather.slots([images, patches]).sizes(sizes));
            let patches = Matrix::new(patches, count, entries);
            // The rows of a matrix that belong to these pixels.
            let rows = |slot: Slot| match slot.len {
                0 => Slot::NONE,
                _ => slot.part(first * written, count * written),
            };
            let out = whole.slots[2];
            ops.push(match pass {
                Pass::Forward => {
                    let weight = Matrix::new(whole.slots[1], written, entries).t();
                    beside(product(rows(out), patches, weight, Epilogue::default()), whole, rows)
                }
                Pass::ByInput => {
                    let weight = Matrix::new(turned, entries, written);
                    beside(product(rows(out), patches, weight, Epilogue::default()), whole, rows)
                }
                Pass::ByWeight => {
                    let by_out = Matrix::new(rows(whole.slots[0]), count, written);
                    add_into(out, by_out.t(), patches)
                }
            });
        }
        ops
    }
}

/// A product of some rows with what stands beside the whole one: bias, slopes and factor, the function
/// and the flags.
fn beside(mut part: Op, whole: &Op, rows: impl Fn(Slot) -> Slot) -> Op {
    part.slots[3] = whole.slots[3];
    part.slots[4] = rows(whole.slots[4]);
    part.slots[5] = rows(whole.slots[5]);
    part.sizes[7..9].copy_from_slice(&whole.sizes[7..9]);
    part
}

#[cfg(all(test, feature = "emulation"))]
mod tests {
    use super::*;
    use crate::kernels::convolution::Convolution;
    use crate::kernels::product::Function;
    use crate::{Device, Emulated, Recording};

    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + 13 * seed) % 251) as f32 / 251.0 - 0.5).collect()
    }

    /// Both passes back and the pass itself, with operands `odd` numbers behind the start of a line, and
    /// the places that they write.
    fn recorded(
        c: Convolution,
        odd: usize,
        recording: &mut Recording,
    ) -> (Vec<Op>, Vec<Slot>, Vec<Slot>) {
        let pixels = c.images * c.height * c.width;
        let (reads, writes) = (pixels * c.inputs, pixels * c.outputs);
        let weights = c.outputs * c.side * c.side * c.inputs;
        let lens = [reads, weights, writes, c.outputs, writes, reads];
        let operands = lens.map(|len| recording.frame(len + odd).part(odd, len));
        let [images, weight, by_out, bias, factor, by_images_factor] = operands;
        let results = [writes, writes, reads, weights].map(|len| recording.frame(len));
        let [out, slopes, by_images, by_weight] = results;
        let beside = Epilogue {
            bias: Some(bias),
            function: Some(Function::Swish),
            slopes: Some(slopes),
            factor: Some(factor),
            ..Epilogue::default()
        };
        let mut ops = vec![
            c.forward(out, images, weight, beside),
            c.by_input(by_images, by_out, weight, Some(by_images_factor)),
        ];
        ops.extend(c.add_by_weight(recording, by_weight, by_out, images));
        (ops, operands.to_vec(), results.to_vec())
    }

    /// What the results hold after the ops, in `room` numbers of patches.
    fn run(ops: &[Op], operands: &[Slot], results: &[Slot], len: usize, room: usize) -> Vec<f32> {
        let device = Emulated::new().unwrap();
        let mut frame = device.memory(len).unwrap();
        let mut patches = device.memory(room).unwrap();
        device.write(&mut patches, 0, &vec![f32::NAN; room]).unwrap();
        for (seed, slot) in operands.iter().chain(results).enumerate() {
            device.write(&mut frame, slot.offset, &numbers(seed, slot.len)).unwrap();
        }
        let mut memory = |area| match area {
            Area::Frame => Some(&frame),
            Area::Patches => Some(&patches),
            _ => None,
        };
        device.run(ops, &mut memory, &Vec::new()).unwrap();
        let mut found = vec![0.0; len];
        device.read(&frame, 0, &mut found).unwrap();
        found
    }

    /// Images smaller than the square, channels that are read one by one, rooms for one pixel, for some
    /// and for all.
    #[test]
    fn gathered_convolutions_are_those_that_gather_nothing() {
        if Emulated::new().is_err() {
            return;
        }
        for [images, height, width, side, inputs, outputs] in [
            [2, 5, 3, 3, 4, 130],
            [1, 1, 1, 3, 3, 260],
            [3, 4, 7, 1, 12, 36],
            [1, 2, 2, 5, 5, 33],
            [3, 6, 5, 3, 36, 130],
        ] {
            let c = Convolution { images, height, width, side, inputs, outputs };
            let (pixels, squares) = (images * height * width, side * side);
            for (odd, turns) in [(0, 1), (1, 1), (0, 3), (1, pixels)] {
                let mut recording = Recording::new();
                let (ops, operands, results) = recorded(c, odd, &mut recording);
                let len = recording.finish(Vec::new()).frame_len();
                for op in &ops {
                    let Some(shape) = Shape::of(op) else { continue };
                    assert_eq!(shape.entries % squares, 0);
                    let room = shape.turned() + pixels.div_ceil(turns) * shape.entries;
                    let split = shape.split(op, room);
                    let gathers = split.iter().filter(|op| op.kernel == GATHER).count();
                    assert!((turns.min(2)..=turns).contains(&gathers) || pixels == 1, "{split:?}");
                    let ops = std::slice::from_ref(op);
                    let want = run(ops, &operands, &results, len, 0);
                    let found = run(&split, &operands, &results, len, room);
                    for (at, (found, want)) in found.iter().zip(&want).enumerate() {
                        let off = (found - want).abs();
                        assert!(off <= 1e-5 * (1.0 + want.abs()), "{c:?}, {:?} {at}", shape.pass);
                    }
                }
            }
        }
    }

    fn wide(inputs: usize, outputs: usize, images: usize) -> (Convolution, Vec<Op>) {
        let c = Convolution { images, height: 16, width: 16, side: 3, inputs, outputs };
        let ops = recorded(c, 0, &mut Recording::new()).0;
        (c, ops)
    }

    #[test]
    fn gathering_is_for_many_channels_and_much_work() {
        let room = 1 << 24;
        let of = |inputs, outputs, images| -> Vec<bool> {
            let ops = wide(inputs, outputs, images).1;
            ops.iter().map(|op| gathered(op, room).is_some()).collect()
        };
        assert_eq!(of(128, 128, 8), [true, true, true]);
        // What is written by the pass, by its gradient by images, by that by the weight.
        assert_eq!(of(36, 512, 16)[..2], [true, false]);
        assert_eq!(of(512, 36, 16)[..2], [false, true]);
        assert_eq!(of(128, 128, 2)[..2], [false, false]);
    }

    #[test]
    fn patches_stay_in_their_room() {
        let (c, ops) = wide(128, 128, 40);
        let entries = 9 * c.inputs;
        let room = entries * (c.outputs + PIXELS);
        for op in &ops {
            assert!(gathered(op, entries * PIXELS - 1).is_none());
            let turns = Shape::of(op).is_some_and(|shape| shape.pass == Pass::ByInput);
            assert_eq!(gathered(op, entries * PIXELS).is_none(), turns, "no room for the weight");
            let split = gathered(op, room).expect("room for a weight and some pixels");
            let gathers = split.iter().filter(|op| op.kernel == GATHER).count();
            assert_eq!(gathers, (c.images * 256usize).div_ceil(PIXELS));
            let slots = split.iter().flat_map(|op| &op.slots);
            let ends = slots.filter(|slot| slot.area == Area::Patches).map(|s| s.offset + s.len);
            assert!(ends.max().is_some_and(|end| end <= room));
        }
        let rows = crate::kernels::rows::fill(Slot::new(Area::Frame, 0, 1 << 20), 0.0);
        assert!(gathered(&rows, room).is_none());
    }
}
