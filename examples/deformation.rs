//! How a flow deforms the plane, block by block, and what contractive blocks do to it: the flow of
//! "Jacobian determinant of normalizing flows" (Liao and He 2021), sections 4 and 6.2, figures 3, 4
//! and 7. Each block spreads the data by a linear map and a coupling whose scales lie in (0.64, e),
//! and contracts them by a learned activation; at the start the two cancel.
//!
//! ```sh
//! cargo run --release --example deformation
//! ```
//!
//! Beside that flow it trains the same with tanh or a normal CDF between coupling and activation,
//! with a cost of transport, and with neither scales nor slopes bounded.

use std::path::PathBuf;

use flow_core::objective::{Likelihood, Objectives, TransportCost};
use flow_core::plot::{curves, scatters, Curve, Scatter, Window};
use flow_core::prelude::*;
use flow_core::stability::{stages, Stage};
use flow_core::{Architecture, Cpu, Flow, Invertible, Unconditional};
use flow_examples::{checkerboard, output_folder, Options, Result};

/// Blocks of each flow.
const BLOCKS: usize = 6;

/// What an activation multiplies by at the start, and a coupling divides by: `beta` of the flows.
const BETA: f64 = 0.8;

/// Flows of blocks that differ in what stands between coupling and activation, and in their bounds.
macro_rules! flows {
    ($($(#[$docs:meta])* $name:ident { scale = $scale:ident $scaled:tt, between = [$($between:ident)?], activation $activation:tt })*) => {
        flow! {
            $(
                $(#[$docs])*
                struct $name: Vector<2> {
                    'blocks: repeat BLOCKS {
                        linear(dense);
                        dual_affine_coupling(scale = $scale $scaled, net = mlp([64, 64], swish));
                        $($between;)?
                        spline_activation $activation;
                    }
                    actnorm;
                }
            )*
        }
    };
}

flows! {
    /// The paper's flow.
    Bounded { scale = mexican_hat(4, beta = 0.8), between = [], activation (bins = 16, beta = 0.8) }
    WithTanh { scale = mexican_hat(4, beta = 0.8), between = [tanh], activation (bins = 16, beta = 0.8) }
    WithCdf { scale = mexican_hat(4, beta = 0.8), between = [normal_cdf], activation (bins = 16, beta = 0.8) }
    Unbounded { scale = tanh(20.0), between = [], activation (bins = 16, slopes = (0.0, 20.0)) }
}

/// What a training looked like at some of its steps.
#[derive(Default)]
struct History {
    name: &'static str,
    loss: Vec<(f64, f64)>,
    /// The mean over all blocks' outputs.
    variance: Vec<(f64, f64)>,
    /// For each block what its linear map and coupling add to the log-determinant, and the rest.
    log_dets: Vec<(f64, Vec<[f64; 2]>)>,
}

struct Study {
    train: Rows<f32>,
    held_out: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
}

fn main() -> Result {
    let options = Options::read(&["steps", "seed", "batch"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    let mut noise = Noise::seed(seed);
    let study = Study {
        train: checkerboard(50_000, &noise.split())?,
        held_out: checkerboard(2_000, &noise.split())?,
        folder: output_folder("deformation")?,
        seed,
        steps: options.get("steps")?.unwrap_or(1_500),
        batch: options.get("batch")?.unwrap_or(256),
    };
    println!("the checkerboard itself has {:.3} nats", -32f64.ln());
    println!("a block's log-determinants start at ±2 ln 1/β = ±{:.3} nats", -2.0 * BETA.ln());
    let cpu = Cpu::default();
    let mut bounded = Bounded::<f32>::build(&cpu, seed)?;
    let mut with_tanh = WithTanh::<f32>::build(&cpu, seed)?;
    let mut with_cdf = WithCdf::<f32>::build(&cpu, seed)?;
    let mut with_cost = Bounded::<f32>::build(&cpu, seed)?;
    let mut unbounded = Unbounded::<f32>::build(&cpu, seed)?;
    let found = [
        study.learn("bounded", &mut bounded, 0.0)?,
        study.learn("with tanh", &mut with_tanh, 0.0)?,
        study.learn("with normal CDF", &mut with_cdf, 0.0)?,
        study.learn("with transport cost", &mut with_cost, 0.05)?,
        study.learn("unbounded", &mut unbounded, 0.0)?,
    ];
    study.draw_histories(&found)?;
    study.draw_deformation("checkerboard.png", &bounded, &study.held_out)?;

    let study =
        Study { train: rings(50_000, &noise.split())?, held_out: rings(2_000, &noise)?, ..study };
    let mut flow = Bounded::<f32>::build(&cpu, seed)?;
    study.learn("bounded, on rings", &mut flow, 0.0)?;
    study.draw_deformation("rings.png", &flow, &study.held_out)?;
    println!("wrote pictures to {}", study.folder.display());
    Ok(())
}

/// Points near two circles.
fn rings(count: usize, noise: &Noise) -> Result<Rows<f32>> {
    let point = |i: u64| {
        let angle = std::f64::consts::TAU * noise.uniform(i);
        let radius = if i.is_multiple_of(2) { 1.5 } else { 3.0 };
        let radius = radius + 0.1 * noise.named("width").normal(i);
        [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
    };
    Ok(Rows::from_rows((0..count as u64).map(point))?)
}

impl Study {
    /// Trains a flow, and looks at the data after each of its blocks on the way.
    fn learn<A>(&self, name: &'static str, flow: &mut Flow<A, f32>, cost: f64) -> Result<History>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>, Latent = Vector<2>>
            + Invertible,
    {
        let first = Rows::new(self.train.values()[..2 * 1000].to_vec(), 2)?;
        flow.initialize(first.x::<Vector<2>>()?)?;
        let mut history = History { name, ..History::default() };
        let mut objectives = Objectives::new().plus(1.0, Likelihood);
        if cost > 0.0 {
            objectives = objectives.plus(cost, TransportCost);
        }
        let every = (self.steps / 30).max(1);
        // From 0.01 to 0.001, by 0.98 each time.
        let schedule = Schedule::Exponential { factor: 0.98, every: (self.steps / 114).max(1) };
        let trainer = Trainer::new(Adamax::new(0.01))
            .schedule(schedule)
            .batch_size(self.batch)
            .steps(self.steps)
            .seed(self.seed)
            .silent();
        let ended = trainer.fit_steps(flow, &self.train, |flow, batch, gradients, step| {
            if step.is_due(every) {
                history.look(step.index(), flow, &self.held_out)?;
            }
            objectives.loss(&*flow, batch.x::<Vector<2>>()?, step, gradients)
        });
        // A flow without bounds may lose its likelihood.
        match ended {
            Err(error @ FlowError::Diverged { .. }) => println!("{name}: {error}"),
            ended => {
                ended?;
                history.look(self.steps, flow, &self.held_out)?;
            }
        }
        history.report();
        Ok(history)
    }

    fn draw_histories(&self, found: &[History]) -> Result {
        let draw = |file: &str, title: &str, y: &str, of: fn(&History) -> &[(f64, f64)]| {
            let all: Vec<_> = found
                .iter()
                .map(|history| Curve::new(history.name, of(history).iter().copied()))
                .collect();
            curves(self.folder.join(file), title, ["step", y], &all)
        };
        draw("likelihood.png", "checkerboard, held out", "negative log-likelihood (nats)", |h| {
            &h.loss[1..]
        })?;
        let mean = "log10 of the mean variance";
        draw("variance.png", "what the blocks leave of the variance", mean, |h| &h.variance)?;
        let log_dets = &found[0].log_dets;
        let of = |block: usize, part: usize| {
            log_dets.iter().map(move |(step, blocks)| (*step, blocks[block][part]))
        };
        let all: Vec<_> = [0, BLOCKS / 2, BLOCKS - 1]
            .into_iter()
            .flat_map(|block| {
                let name = |what| format!("block {}, {what}", block + 1);
                [
                    Curve::new(name("linear and coupling"), of(block, 0)),
                    Curve::new(name("activation"), of(block, 1)),
                ]
            })
            .collect();
        let path = self.folder.join("log_determinants.png");
        let axes = ["step", "mean log-determinant (nats)"];
        curves(path, "the bounded flow spreads and contracts", axes, &all)?;
        Ok(())
    }

    /// The data, what is left of them after each block, and samples.
    fn draw_deformation(&self, file: &str, flow: &Bounded, data: &Rows<f32>) -> Result {
        let small = |title: String, rows: &Rows<f32>| Scatter {
            title,
            window: square_around(rows.values()),
            points: rows.values().to_vec(),
        };
        let found = stages(flow, data)?;
        let ends = (0..BLOCKS).filter_map(|block| of_block(&found, block).last());
        let mut all = vec![small("data".into(), data)];
        all.extend(
            (1..).zip(ends).map(|(i, stage)| small(format!("after block {i}"), &stage.rows)),
        );
        let samples = flow.sample(data.len(), &mut Noise::seed(self.seed).named("samples"))?;
        all.push(small("samples".into(), &Rows::from_tensor(samples)?));
        scatters(self.folder.join(file), 4, &all)?;
        Ok(())
    }
}

impl History {
    fn look<A>(&mut self, step: u64, flow: &Flow<A, f32>, data: &Rows<f32>) -> Result<(), FlowError>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>>,
    {
        let (step, found) = (step as f64, stages(flow, data)?);
        self.loss.push((step, -evaluate(flow, data)?.mean));
        let blocks: Vec<Vec<&Stage<f32>>> =
            (0..BLOCKS).map(|block| of_block(&found, block).collect()).collect();
        let variances = blocks.iter().flatten().map(|stage| stage.variance());
        let count = blocks.iter().flatten().count() as f64;
        self.variance.push((step, (variances.sum::<f64>() / count).log10()));
        let parts = |stages: &Vec<&Stage<f32>>| {
            let mut parts = [0.0; 2];
            for stage in stages {
                let spreads = ["linear", "dual_affine_coupling"];
                let spreads = spreads.into_iter().any(|name| stage.block.contains(name));
                parts[usize::from(!spreads)] += stage.mean_log_det();
            }
            parts
        };
        self.log_dets.push((step, blocks.iter().map(parts).collect()));
        Ok(())
    }

    fn report(&self) {
        let name = self.name;
        for (when, at) in [("start", 0), ("end", self.loss.len() - 1)] {
            let mean = |part: usize| {
                self.log_dets[at].1.iter().map(|parts| parts[part]).sum::<f64>() / BLOCKS as f64
            };
            println!(
                "{name:<20} {when:<6} {:>7.3} nats; mean variance {:>9.2e}; log-determinants of a block \
                 {:+.3} and {:+.3} nats",
                -self.loss[at].1,
                10f64.powf(self.variance[at].1),
                mean(0),
                mean(1),
            );
        }
    }
}

/// The stages of a block.
fn of_block(found: &[Stage<f32>], block: usize) -> impl Iterator<Item = &Stage<f32>> {
    let path = format!("blocks.{block}.");
    found.iter().filter(move |stage| stage.path.starts_with(&path))
}

/// A square around 0 with all but a few strays.
fn square_around(points: &[f32]) -> Window {
    let mut sizes: Vec<f32> = points.iter().map(|v| v.abs()).collect();
    sizes.sort_unstable_by(f32::total_cmp);
    let most = sizes[(sizes.len() - 1) * 995 / 1000];
    Window::square(1.15 * f64::from(most).max(1e-6))
}
