//! The kernels against plain Rust: emulated, or on the card whose number the environment's `FLOW_GPU` is.

use flow_cuda::{Area, Device, DeviceError, Either, Emulated, Gpu, Op, Recording, Slot};

mod bases;
mod contraction;
mod convolutions;
mod curves;
mod derived;
mod determinants;
mod folds;
mod fused;
mod gates;
mod graphs;
mod guard;
mod inverses;
mod nets;
mod norms;
mod rows;
mod square;
mod steps;
mod tangents;
mod torus;
mod training;
mod transforms;

/// Numbers on a device while a plan is recorded.
struct Trial {
    device: Either<Gpu, Emulated>,
    recording: Recording,
    written: Vec<(Slot, Vec<f32>)>,
}

impl Trial {
    /// None where the emulation was not built, after saying so.
    fn new() -> Option<Self> {
        let device = match std::env::var("FLOW_GPU") {
            Ok(number) => Gpu::new(number.parse().unwrap()).map(|gpu| Either::First(gpu.checked())),
            Err(_) => Emulated::new().map(Either::Second),
        };
        match device {
            Ok(device) => Some(Self { device, recording: Recording::new(), written: Vec::new() }),
            Err(error @ DeviceError::Missing { .. }) => panic!("{error}"),
            Err(error) => {
                eprintln!("NOT TESTED: {error}");
                None
            }
        }
    }

    fn put(&mut self, numbers: &[f32]) -> Slot {
        let slot = self.recording.frame(numbers.len());
        self.written.push((slot, numbers.to_vec()));
        slot
    }

    /// Anything but zeros.
    fn room(&mut self, len: usize) -> Slot {
        self.put(&vec![1e30; len])
    }

    /// What the slots hold after the kernels ran, and that nothing else was touched.
    fn run(self, ops: Vec<Op>, read: &[Slot]) -> Vec<Vec<f32>> {
        let Self { device, recording, written } = self;
        let plan = recording.finish(vec![ops]);
        let mut frame = device.memory(plan.frame_len()).unwrap();
        let scratch = device.memory(plan.scratch_len()).unwrap();
        for (slot, numbers) in &written {
            device.write(&mut frame, slot.offset, numbers).unwrap();
        }
        let tables = device.tables(plan.tables()).unwrap();
        let mut memory = |area| match area {
            Area::Frame => Some(&frame),
            Area::Scratch => Some(&scratch),
            _ => None,
        };
        device.run(&plan.parts()[0], &mut memory, &tables).unwrap();
        let get = |slot: Slot| {
            let mut numbers = vec![0.0; slot.len];
            device.read(&frame, slot.offset, &mut numbers).unwrap();
            numbers
        };
        for (slot, numbers) in &written {
            if !read.contains(slot) {
                // Bits: a stream of random numbers may look like NaN.
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&get(*slot)), bits(numbers), "an operand that is only read");
            }
        }
        read.iter().map(|&slot| get(slot)).collect()
    }
}

/// Numbers that look like any others, the same in every run.
fn numbers(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let each = (0..count).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    each.collect()
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&v| f64::from(v)).collect()
}

/// The gradient of a function by differences, to about 1e-8 of its size.
fn slopes(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let slope = |i: usize| {
        let at = |step: f64| {
            let mut x = x.to_vec();
            x[i] += step;
            f(&x)
        };
        let step = 1e-5 * x[i].abs().max(1.0);
        // Of fourth order.
        (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step)
    };
    (0..x.len()).map(slope).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The product of row-major matrices of which the first has rows of `inner` numbers.
fn times(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let entry =
        |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum();
    (0..a.len() / inner * columns).map(|at| entry(at / columns, at % columns)).collect()
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f64]) {
    close_sums(what, found, expected, 1);
}

/// As [`close`] for sums of so many terms of size 1 at most, each of which may be rounded.
#[track_caller]
fn close_sums(what: &str, found: &[f32], expected: &[f64], terms: usize) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let rounding = terms as f64 * f64::from(f32::EPSILON) / 2.0;
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found) - expected).abs();
        let allowed = 2e-6 * (1.0 + expected.abs()) + rounding;
        assert!(off <= allowed, "{what}[{i}] is {found}, not {expected}");
    }
}

#[test]
fn operands_outside_of_memory_are_errors() {
    let Some(mut trial) = Trial::new() else { return };
    let slot = Slot::new(Area::Frame, 1000, 5);
    let plan = std::mem::take(&mut trial.recording).finish(vec![]);
    let frame = trial.device.memory(10).unwrap();
    let tables = trial.device.tables(plan.tables()).unwrap();
    let ops = [flow_cuda::kernels::rows::fill(slot, 1.0)];
    let error = trial.device.run(&ops, &mut |_| Some(&frame), &tables).unwrap_err();
    assert_eq!(error, DeviceError::OutOfRange { what: "fill", end: 1005, len: 10 });
}
