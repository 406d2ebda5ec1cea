//! A workload on a GPU.

use std::time::{Duration, Instant};

use flow_core::cuda::{Either, Emulated, Gpu, OnDevice};
use flow_core::prelude::*;
use flow_core::{Architecture, Event, Invertible, Unconditional};

use crate::Pass;

/// A card, or the emulated one.
pub type Target = Either<Gpu, Emulated>;

/// Steps of a training that one reading is the mean of: the device is waited for after the last.
const BURST: u32 = 10;

/// A flow on a card with a batch of inputs.
pub trait OnCard {
    /// The largest difference of its log-probabilities from those of the CPU, relative to 1 and
    /// their size.
    ///
    /// # Errors
    /// The flow's own, and what the device reports.
    fn off(&self) -> Result<f64, FlowError>;

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
    rows: Rows<f32>,
    /// Log-probabilities of the CPU.
    want: Vec<f32>,
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
    let want = flow.view()?.log_prob_of_rows(rows.values())?;
    let (flow, rows) = (flow.on(gpu.clone())?, rows.clone());
    Ok(Box::new(Put { flow, rows, want, noise: Noise::seed(1) }))
}

impl<A> OnCard for Put<A>
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    fn off(&self) -> Result<f64, FlowError> {
        let found = self.flow.log_prob(self.rows.x::<A::Event>()?)?.as_vec();
        let off = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / (1.0 + f64::from(b.abs()));
        Ok(found.iter().zip(&self.want).map(off).fold(0.0, f64::max))
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
