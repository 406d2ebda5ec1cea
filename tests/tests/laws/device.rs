//! The rows of the table on a GPU, which is the emulated one unless the environment says otherwise: both directions and their products against the CPU.
//!
//! The kernels are those of a card, compiled as C++.

use flow_core::cuda::OnDevice;
use flow_core::prelude::*;
use flow_core::Architecture;
use flow_tests::device::{chosen, Chosen};
use flow_tests::{numeric, Conditioned, Direction, ForwardOnly, Free, Subject};

use crate::Inputs;

/// A flow that can be brought to the device.
pub(crate) trait OnGpu: Subject<f32> {
    type Architecture: Architecture<f32>;

    fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<Self::Architecture, Chosen>, FlowError>;
}

impl<A: Architecture<f32>> OnGpu for Free<A, f32>
where
    Self: Subject<f32>,
{
    type Architecture = A;

    fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<A, Chosen>, FlowError> {
        self.0.on(gpu)
    }
}

impl<A: Architecture<f32>> OnGpu for ForwardOnly<A, f32>
where
    Self: Subject<f32>,
{
    type Architecture = A;

    fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<A, Chosen>, FlowError> {
        self.0.on(gpu)
    }
}

impl<A: Architecture<f32>, const C: usize> OnGpu for Conditioned<A, f32, C>
where
    Self: Subject<f32>,
{
    type Architecture = A;

    fn on_gpu(&self, gpu: Chosen) -> Result<OnDevice<A, Chosen>, FlowError> {
        self.0.on(gpu)
    }
}

/// Runs a row on the emulated GPU with weights away from their start.
pub(crate) fn check<S: OnGpu>(module: &str, mut subject: S, inputs: &[Inputs]) {
    let Some(gpu) = chosen() else { return };
    let row = module.trim_start_matches("laws::");
    for rows in [1, 37] {
        let noise = Noise::seed(rows as u64);
        let normal = |name: &str, len: usize| {
            let mut numbers = vec![0.0; len];
            noise.named(name).fill_normal(0, &mut numbers);
            numbers
        };
        let (x, context) = (normal("x", rows * S::SIZE), normal("context", rows * S::CONTEXT));
        let bent = |bend: fn(f64) -> f64| -> Vec<f32> {
            x.iter().map(|&v: &f32| bend(f64::from(v)) as f32).collect()
        };
        subject.initialize(&bent(inputs[0].1), &context);
        for (name, mut values) in subject.flow().parameters() {
            let by: Vec<f32> = normal(&name, values.len());
            values.iter_mut().zip(by).for_each(|(v, by)| *v += 0.3 * by);
            subject.set(&name, &values);
        }
        let brought = subject.on_gpu(gpu.clone());
        let on_gpu = brought.unwrap_or_else(|error| panic!("{row}: {error}"));
        let (cotangent, by_log_det) = (normal("cotangent", x.len()), normal("log_det", rows));
        for &(direction, bend) in inputs {
            let x = bent(bend);
            let backwards = direction == Direction::Inverse;
            let passed = on_gpu.map_rows(backwards, &x, &context);
            let (found, log_det) = passed.unwrap_or_else(|error| panic!("{row}: {error}"));
            let want = subject.run(direction, &x, &context);
            let close = |what: &str, found: &[f32], want: &[f32]| {
                let what = format!("{row}, {direction:?}, {rows} rows, {what}");
                assert_eq!(found.len(), want.len(), "{what}");
                let off = numeric::distance(&wide(found), &wide(want));
                let size = numeric::norm(&wide(want)).max(1.0);
                assert!(off <= 1e-4 * size, "{what}: off by {off:e} of {size:e}");
            };
            close("rows", &found, &want.rows);
            close("log-determinants", &log_det, &want.log_det);
            let slopes = subject.slopes(direction, &x, &context, &cotangent, &by_log_det);
            let found = on_gpu
                .gradients(backwards, &x, &context, &cotangent, &by_log_det)
                .expect("gradients of a pass that runs");
            close("by the input", &found.input, &slopes.input);
            close("by the context", &found.context, &slopes.context);
            let mut rest = &found.parameters[..];
            for (name, values) in subject.flow().parameters() {
                let (gradient, others) = rest.split_at(values.len());
                close(&format!("by {name}"), gradient, &slopes.parameters[&name]);
                rest = others;
            }
        }
    }
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&v| f64::from(v)).collect()
}
