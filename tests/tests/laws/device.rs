//! The rows of the table on a GPU, which is the emulated one unless the environment says otherwise: both
//! directions and their products against the CPU.
//!
//! The kernels are those of a card, compiled as C++.

use flow_core::cuda::OnDevice;
use flow_core::prelude::*;
use flow_core::Architecture;
use flow_tests::device::{chosen, Chosen};
use flow_tests::weights::drawn;
use flow_tests::{numeric, Conditioned, Direction, ForwardOnly, Free, Subject};

use crate::Inputs;

/// A flow that can be brought to the device.
pub(crate) trait OnGpu: Subject<f32> {
    type Architecture: Architecture<f32>;

    fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<Self::Architecture, Chosen>, FlowError>;

    /// Takes the weights that are on the device.
    fn take(&mut self, from: &OnDevice<Self::Architecture, Chosen>) -> Result<(), FlowError>;
}

macro_rules! on_gpu {
    ($Subject:ident $(, $C:ident)?) => {
        impl<A: Architecture<f32> $(, const $C: usize)?> OnGpu for $Subject<A, f32 $(, $C)?>
        where
            Self: Subject<f32>,
        {
            type Architecture = A;

            fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<A, Chosen>, FlowError> {
                self.0.on(gpu)
            }

            fn take(&mut self, from: &OnDevice<A, Chosen>) -> Result<(), FlowError> {
                from.to_cpu(&mut self.0)
            }
        }
    };
}

on_gpu!(Free);
on_gpu!(ForwardOnly);
on_gpu!(Conditioned, C);

/// Runs a row on the emulated GPU with weights away from their start, and once more with those that a
/// training there leaves.
pub(crate) fn check<S: OnGpu>(module: &str, mut subject: S, inputs: &[Inputs]) {
    let Some(gpu) = chosen() else { return };
    let row = module.trim_start_matches("laws::");
    for rows in [1, 37] {
        let noise = Noise::seed(rows as u64);
        let normal = |name: &str, len: usize| drawn(&noise.named(name), len);
        let (x, context) = (normal("x", rows * S::SIZE), normal("context", rows * S::CONTEXT));
        let bent = |bend: fn(f64) -> f64| -> Vec<f32> {
            x.iter().map(|&v: &f32| bend(f64::from(v)) as f32).collect()
        };
        let data = bent(inputs[0].1);
        subject.initialize(&data, &context);
        for (name, mut values) in subject.flow().parameters() {
            let by: Vec<f32> = normal(&name, values.len());
            values.iter_mut().zip(by).for_each(|(v, by)| *v += 0.3 * by);
            subject.set(&name, &values);
        }
        let brought = subject.on_gpu(gpu.clone());
        let mut on_gpu = brought.unwrap_or_else(|error| panic!("{row}: {error}"));
        let (cotangent, by_log_det) = (normal("cotangent", x.len()), normal("log_det", rows));
        for &(direction, bend) in inputs {
            let case = Case { row, direction, rows, x: &bent(bend), context: &context };
            case.passes(&subject, &on_gpu);
            case.gradients(&subject, &on_gpu, &cotangent, &by_log_det);
        }
        let batch = Rows::new(data, S::SIZE).expect("rows");
        let batch = match S::CONTEXT {
            0 => batch,
            width => batch.given(context.clone(), width).expect("a context for each"),
        };
        // So that weights move by what their gradients are, and none by rounding alone.
        let rule = Adam { epsilon: 1.0, ..Adam::new(0.1) };
        let mut training = on_gpu.train(rule, None, &batch, rows, 0).expect("a training");
        let on_cpu = training.derived_on_cpu().expect("a plan of a step");
        assert_eq!(on_cpu, [""; 0], "{row}: derived on the CPU");
        training.step().expect("a step");
        training.step().expect("another step");
        subject.take(&on_gpu).unwrap_or_else(|error| panic!("{row}: {error}"));
        for &(direction, bend) in inputs {
            let case = Case { row, direction, rows, x: &bent(bend), context: &context };
            case.passes(&subject, &on_gpu);
        }
    }
}

/// A batch in one direction.
struct Case<'a> {
    row: &'a str,
    direction: Direction,
    rows: usize,
    x: &'a [f32],
    context: &'a [f32],
}

impl Case<'_> {
    fn backwards(&self) -> bool {
        self.direction == Direction::Inverse
    }

    fn passes<S: OnGpu>(&self, subject: &S, on_gpu: &OnDevice<S::Architecture, Chosen>) {
        let passed = on_gpu.map_rows(self.backwards(), self.x, self.context);
        let (found, log_det) = passed.unwrap_or_else(|error| panic!("{}: {error}", self.row));
        let run = |x| subject.run(self.direction, x, self.context);
        let (want, near) = (run(self.x), run(&rounded(self.x)));
        self.close("rows", &found, [&want.rows, &near.rows]);
        self.close("log-determinants", &log_det, [&want.log_det, &near.log_det]);
    }

    fn gradients<S: OnGpu>(
        &self,
        subject: &S,
        on_gpu: &OnDevice<S::Architecture, Chosen>,
        cotangent: &[f32],
        by_log_det: &[f32],
    ) {
        let (x, context) = (self.x, self.context);
        let slopes_at = |x| subject.slopes(self.direction, x, context, cotangent, by_log_det);
        let (slopes, near) = (slopes_at(x), slopes_at(&rounded(x)));
        let found = on_gpu
            .gradients(self.backwards(), x, context, cotangent, by_log_det)
            .expect("gradients of a pass that runs");
        self.close("by the input", &found.input, [&slopes.input, &near.input]);
        self.close("by the context", &found.context, [&slopes.context, &near.context]);
        let mut rest = &found.parameters[..];
        for (name, values) in subject.flow().parameters() {
            let (gradient, others) = rest.split_at(values.len());
            let want = [&slopes, &near].map(|slopes| &slopes.parameters[&name][..]);
            self.close(&format!("by {name}"), gradient, want);
            rest = others;
        }
    }

    /// Within 1e-4 of what the CPU finds, and what a rounding of the input makes of it: where that is
    /// more, both have lost as many digits.
    fn close(&self, what: &str, found: &[f32], [want, near]: [&[f32]; 2]) {
        let what = format!("{}, {:?}, {} rows, {what}", self.row, self.direction, self.rows);
        assert_eq!(found.len(), want.len(), "{what}");
        let off = numeric::distance(&wide(found), &wide(want));
        let size = numeric::norm(&wide(want)).max(1.0);
        let rounding = numeric::distance(&wide(near), &wide(want));
        assert!(
            off <= 1e-4 * size + rounding,
            "{what}: off by {off:e} of {size:e}, a rounding of the input by {rounding:e}"
        );
    }
}

/// The same numbers after a rounding.
fn rounded(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|v| v * (1.0 + f32::EPSILON)).collect()
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&v| f64::from(v)).collect()
}
