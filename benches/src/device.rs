//! A workload on a GPU.

use std::fmt;
use std::time::{Duration, Instant};

use flow_core::cuda::{Either, Emulated, Gpu};
use flow_core::prelude::*;
use flow_core::{Architecture, Invertible, Unconditional};

/// A card, or the emulated one.
pub type Target = Either<Gpu, Emulated>;

/// What a workload shows on a GPU.
#[derive(Clone, Debug)]
pub struct Found {
    /// The largest difference from the CPU's log-probabilities, relative to 1 and their size.
    pub off: f64,
    /// Median times of a density, a training step and as many samples; those that cannot run say
    /// why.
    pub times: [Result<Duration, String>; 3],
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.off)?;
        for time in &self.times {
            match time {
                Ok(time) => write!(f, " | {:.3}", 1e3 * time.as_secs_f64())?,
                Err(why) => write!(f, " | {}", why.lines().next().unwrap_or_default())?,
            }
        }
        Ok(())
    }
}

/// Compares a flow's densities on a GPU with those of the CPU, and times its passes: each from
/// numbers of the CPU to numbers of the CPU, but for training steps, which bring nothing back; the
/// loss is read once after all of them.
pub(crate) fn measure<A>(
    flow: &Flow<A, f32>,
    rows: &Rows<f32>,
    gpu: &Target,
    times: usize,
) -> Result<Found, FlowError>
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    let mut on_gpu = flow.on(gpu.clone())?;
    let x = rows.x::<A::Event>()?;
    let want = flow.view()?.log_prob_of_rows(rows.values())?;
    let found = on_gpu.log_prob(x.clone())?.as_vec();
    let off = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / (1.0 + f64::from(b.abs()));
    let off = found.iter().zip(&want).map(off).fold(0.0, f64::max);

    let density = median(times, || on_gpu.log_prob(x.clone()).map(drop));
    let mut noise = Noise::seed(1);
    let sampling = median(times, || on_gpu.sample(rows.len(), &mut noise).map(drop));
    // Small enough that the weights stay what they were.
    let mut training = on_gpu.train(Adam::new(1e-5), None, rows, rows.len(), 0)?;
    let step = (|| -> Result<Duration, FlowError> {
        training.step()?;
        training.loss()?;
        let start = Instant::now();
        for _ in 0..times {
            training.step()?;
        }
        training.loss()?;
        Ok(start.elapsed() / times as u32)
    })();
    let said = |time: Result<Duration, FlowError>| time.map_err(|error| error.to_string());
    Ok(Found { off, times: [density, step, sampling].map(said) })
}

/// The median time of a pass, after one that does not count.
fn median(
    times: usize,
    mut pass: impl FnMut() -> Result<(), FlowError>,
) -> Result<Duration, FlowError> {
    pass()?;
    let mut all = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let start = Instant::now();
        pass()?;
        all.push(start.elapsed());
    }
    all.sort();
    Ok(all[all.len() / 2])
}
