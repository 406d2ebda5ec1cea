//! One flow with its inputs, and how its passes are timed.

use std::path::Path;
use std::time::{Duration, Instant};

use flow_core::io::read_table;
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Event, Invertible, Unconditional};
use serde::{Deserialize, Serialize};

use crate::flows::{Autoregressive, DeepAffine, Glow, SmallAffine, Splines};
use crate::inputs::{checkerboard, normal};
use crate::weights::{shrink_last_layers, trained_residual};

/// The workloads, in the order of tables.
pub const NAMES: [&str; 6] = ["W1", "W2", "W3", "W4", "W5", "W6"];

/// Small enough that the weights stay what they were, over thousands of timed steps.
const LEARNING_RATE: f64 = 1e-5;

/// Calls that one timing of [`Pass::OneRow`] is the mean of.
const CALLS: u32 = 200;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Log-probabilities of the batch.
    Density,
    /// As many samples.
    Sampling,
    /// The loss of the batch, its gradient and Adam's update.
    Training,
    /// The log-probability of one row, as a service would ask for it.
    OneRow,
}

/// How large a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Numbers in all parameters.
    pub parameters: usize,
    /// Those in the nets of couplings, autoregressive and residual blocks.
    pub nets: usize,
}

/// A flow of any kind with a batch of inputs.
pub trait Workload: Send + Sync {
    /// Rows a batch.
    fn batch(&self) -> usize;

    /// The flow's size.
    fn size(&self) -> Size;

    /// The batch's log-probabilities.
    ///
    /// # Errors
    /// The flow's own.
    fn density(&self) -> Result<Vec<f32>, FlowError>;

    /// A batch of new samples.
    ///
    /// # Errors
    /// The flow's own.
    fn sampling(&mut self) -> Result<(), FlowError>;

    /// Training steps, and when each ended, in seconds since the first began.
    ///
    /// # Errors
    /// The flow's own.
    fn training(&mut self, steps: u64) -> Result<Vec<f64>, FlowError>;

    /// The log-probability of the first row.
    ///
    /// # Errors
    /// The flow's own.
    fn one_row(&self) -> Result<f32, FlowError>;

    /// The same flow on a GPU.
    ///
    /// # Errors
    /// The flow's own, and a block without kernels.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, gpu: &crate::Target) -> Result<Box<dyn crate::OnCard>, FlowError>;

    /// How long each of `times` passes takes, after one that does not count.
    ///
    /// # Errors
    /// The flow's own.
    fn time(&mut self, pass: Pass, times: usize) -> Result<Vec<Duration>, FlowError> {
        if pass == Pass::Training {
            let ends = self.training(times as u64 + 1)?;
            let steps = ends.windows(2).map(|pair| Duration::from_secs_f64(pair[1] - pair[0]));
            return Ok(steps.collect());
        }
        let calls = if pass == Pass::OneRow { CALLS } else { 1 };
        let mut times = vec![Duration::ZERO; times + 1];
        for time in &mut times {
            let start = Instant::now();
            for _ in 0..calls {
                match pass {
                    Pass::Density => drop(std::hint::black_box(self.density()?)),
                    Pass::Sampling => self.sampling()?,
                    Pass::OneRow => drop(std::hint::black_box(self.one_row()?)),
                    Pass::Training => {}
                }
            }
            *time = start.elapsed() / calls;
        }
        Ok(times.split_off(1))
    }
}

/// A workload by its name. Its inputs are those of a table of numbers (`.npy` or `.csv`), or made
/// up; its weights those of a file, where there is one, or else they are written to it.
///
/// Weights have a usual size: no last layer is zero, and the residual flow has been trained for a
/// while, as its inverse takes one step at the start.
///
/// # Errors
/// An unknown name, inputs of another width, and the flow's own.
pub fn load(
    name: &str,
    inputs: Option<&Path>,
    weights: Option<&Path>,
) -> Result<Box<dyn Workload>, FlowError> {
    let rows = |made: Rows<f32>| match inputs {
        Some(path) => read_table(path)?.to_rows(),
        None => Ok(made),
    };
    let cpu = Cpu::default();
    // So that a hundred couplings with exponential scales end near where they began.
    const GENTLE: f32 = 0.01;
    Ok(match name {
        "W1" => {
            let mut flow = DeepAffine::<f32>::build(&cpu, 0)?;
            shrink_last_layers(&mut flow, GENTLE)?;
            Prepared::boxed(&flow, rows(checkerboard(500, 0))?)?
        }
        "W2" => {
            let mut flow = SmallAffine::<f32>::build(&cpu, 0)?;
            shrink_last_layers(&mut flow, GENTLE)?;
            Prepared::boxed(&flow, rows(checkerboard(256, 0))?)?
        }
        "W3" => Prepared::boxed(&*Splines::<f32>::build(&cpu, 0)?, rows(normal(512, 64, 0))?)?,
        "W4" => {
            Prepared::boxed(&*Autoregressive::<f32>::build(&cpu, 0)?, rows(normal(512, 64, 0))?)?
        }
        "W5" => Prepared::boxed(&*Glow::<f32>::build(&cpu, 0)?, rows(normal(32, 3072, 0))?)?,
        "W6" => Prepared::boxed(&*trained_residual(weights)?, rows(checkerboard(500, 0))?)?,
        _ => {
            let expected = format!("one of {}", NAMES.join(", "));
            return Err(FlowError::Option {
                option: "workload".into(),
                found: name.into(),
                expected,
            });
        }
    })
}

struct Prepared<A: Architecture<f32>> {
    flow: Flow<A, f32, Cpu>,
    rows: Rows<f32>,
    noise: Noise,
}

impl<A> Prepared<A>
where
    A: Architecture<f32, Context = Unconditional> + Invertible + 'static,
{
    fn boxed(flow: &Flow<A, f32, Cpu>, rows: Rows<f32>) -> Result<Box<dyn Workload>, FlowError> {
        let mut flow = flow.clone();
        flow.initialize(rows.x::<A::Event>()?)?;
        Ok(Box::new(Self { flow, rows, noise: Noise::seed(1) }))
    }
}

impl<A> Workload for Prepared<A>
where
    A: Architecture<f32, Context = Unconditional> + Invertible + 'static,
{
    fn batch(&self) -> usize {
        self.rows.len()
    }

    fn size(&self) -> Size {
        let nets = self.flow.parameters().filter(|p| p.name.contains(".net."));
        Size { parameters: self.flow.parameter_count(), nets: nets.map(|p| p.values.len()).sum() }
    }

    fn density(&self) -> Result<Vec<f32>, FlowError> {
        self.flow.view()?.log_prob_of_rows(self.rows.values())
    }

    fn sampling(&mut self) -> Result<(), FlowError> {
        self.flow.sample(self.rows.len(), &mut self.noise).map(drop)
    }

    fn training(&mut self, steps: u64) -> Result<Vec<f64>, FlowError> {
        let trainer = Trainer::new(Adam::new(LEARNING_RATE));
        let trainer = trainer.batch_size(self.rows.len()).steps(steps).silent();
        let history = trainer.fit(&mut self.flow, &self.rows)?;
        Ok(history.records.iter().map(|record| record.seconds).collect())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, gpu: &crate::Target) -> Result<Box<dyn crate::OnCard>, FlowError> {
        crate::device::put(&self.flow, &self.rows, gpu)
    }

    fn one_row(&self) -> Result<f32, FlowError> {
        self.flow.score(&self.rows.values()[..A::Event::SHAPE.size()], &[])
    }
}
