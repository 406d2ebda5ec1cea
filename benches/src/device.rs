//! A workload on a GPU.

use std::time::{Duration, Instant};

use flow_core::cuda::{Either, Emulated, Gpu, OnDevice};
use flow_core::prelude::*;
use flow_core::{Architecture, Event, Flow, Invertible, Unconditional};

use crate::Pass;

/// A card, or the emulated one.
pub type Target = Either<Gpu, Emulated>;

/// Steps of a training that one reading is the mean of: the device is waited for after the last.
const BURST: u32 = 10;

/// How far a card is from the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Off {
    /// The largest difference of log-probabilities, relative to 1 and their size.
    pub density: f64,
    /// That of samples of the same noise, number by number.
    pub sampling: f64,
    /// The distance of the weights after a training step from those of the CPU, relative to how far
    /// that step moved them. The optimiser's epsilon is 1, so that it follows the gradient, and does
    /// not make as much of one that is but rounding.
    pub training: f64,
}

/// A flow on a card with a batch of inputs.
pub trait OnCard {
    /// How far its passes are from those of the CPU.
    ///
    /// # Errors
    /// The flow's own, and what the device reports.
    fn off(&mut self) -> Result<Off, FlowError>;

    /// How long each of `times` passes takes, after one that does not count. Densities and samples
    /// go from numbers of the CPU to numbers of the CPU; training steps bring nothing back, and are
    /// waited for in tens.
    ///
    /// # Errors
    /// As [`off`](Self::off), and a pass without kernels.
    fn time(&mut self, pass: Pass, times: usize) -> Result<Vec<Duration>, FlowError>;
}

struct Put<A: Architecture<f32>> {
    flow: OnDevice<A, Target>,
    on_cpu: Flow<A, f32>,
    gpu: Target,
    rows: Rows<f32>,
    noise: Noise,
}

/// Brings a flow and its inputs to a card.
pub(crate) fn put<A>(
    flow: &Flow<A, f32>,
    rows: &Rows<f32>,
    gpu: &Target,
) -> Result<Box<dyn OnCard>, FlowError>
where
    A: Architecture<f32, Context = Unconditional> + Invertible + 'static,
{
    let (on_cpu, gpu) = (flow.clone(), gpu.clone());
    let (flow, rows) = (flow.on(gpu.clone())?, rows.clone());
    Ok(Box::new(Put { flow, on_cpu, gpu, rows, noise: Noise::seed(1) }))
}

/// All weights of a flow.
fn weights<A: Architecture<f32>>(flow: &Flow<A, f32>) -> Vec<f32> {
    flow.parameters().flat_map(|parameter| parameter.values.to_vec()).collect()
}

/// The largest difference, relative to 1 and the size of what is wanted; infinite beside NaN.
fn largest(found: &[f32], want: &[f32]) -> f64 {
    let off = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / (1.0 + f64::from(b.abs()));
    let finite = |off: f64| if off.is_nan() { f64::INFINITY } else { off };
    found.iter().zip(want).map(off).map(finite).fold(0.0, f64::max)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

impl<A> OnCard for Put<A>
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    fn off(&mut self) -> Result<Off, FlowError> {
        let Self { flow, on_cpu, gpu, rows, .. } = self;
        let found = flow.log_prob(rows.x::<A::Event>()?)?.as_vec();
        let want = on_cpu.view()?.log_prob_of_rows(rows.values())?;
        let density = largest(&found, &want);

        let found = flow.sample(rows.len(), &mut Noise::seed(2))?.as_vec();
        let want = on_cpu.sample(rows.len(), &mut Noise::seed(2))?.as_vec();
        let sampling = largest(&found, &want);

        let rule = Adam { epsilon: 1.0, ..Adam::new(0.1) };
        let mut found = on_cpu.clone();
        let mut trained = on_cpu.on(gpu.clone())?;
        trained.train(rule, None, rows, rows.len(), 0)?.step()?;
        trained.to_cpu(&mut found)?;
        let mut want = on_cpu.clone();
        let trainer = Trainer::new(rule).batch_size(rows.len()).steps(1).silent();
        trainer.fit(&mut want, &*rows)?;
        let [start, found, want] = [&*on_cpu, &found, &want].map(weights);
        let training = distance(&found, &want) / distance(&start, &want);
        Ok(Off { density, sampling, training })
    }

    fn time(&mut self, pass: Pass, times: usize) -> Result<Vec<Duration>, FlowError> {
        let Self { flow, rows, noise, .. } = self;
        match pass {
            Pass::Density => {
                let x = rows.x::<A::Event>()?;
                readings(times, || flow.log_prob(x.clone()).map(drop))
            }
            Pass::Sampling => readings(times, || flow.sample(rows.len(), noise).map(drop)),
            Pass::Training => {
                // Small enough that the weights stay what they were.
                let mut training = flow.train(Adam::new(1e-5), None, rows, rows.len(), 0)?;
                let burst = readings(times, || {
                    (0..BURST).try_for_each(|_| training.step())?;
                    training.loss().map(drop)
                })?;
                Ok(burst.into_iter().map(|time| time / BURST).collect())
            }
            Pass::OneRow => {
                let size = A::Event::SHAPE.size();
                let row = Rows::new(rows.values()[..size].to_vec(), size)?.x::<A::Event>()?;
                readings(times, || flow.log_prob(row.clone()).map(drop))
            }
        }
    }
}

/// How long each of `times` calls takes, after one that does not count.
fn readings(
    times: usize,
    mut call: impl FnMut() -> Result<(), FlowError>,
) -> Result<Vec<Duration>, FlowError> {
    call()?;
    let reading = |_| {
        let start = Instant::now();
        call().map(|()| start.elapsed())
    };
    (0..times).map(reading).collect()
}
