//! Trains four flows to decorrelate small images, and watches them become unstable, or not: the
//! decorrelation task of "On the invertibility of invertible neural networks" (Behrmann et al.
//! 2019, section 4.4 and appendix H). Affine couplings with activation normalisation between them
//! lose their inverse, additive ones whose nets have a certified Lipschitz constant stay well
//! conditioned, and so do residual blocks.
//!
//! ```sh
//! cargo run --release --example decorrelation
//! ```
//!
//! `--only 0` to `3` is for one of the four flows.

use dfdx::prelude::*;
use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::stability::{decorrelate, Examination, Report};
use flow_core::{Architecture, Flow, Invertible, Unconditional};
use flow_examples::{grey_patches, output_folder, Options, Result};

flow! {
    /// Scales in (0, 1), as the paper's.
    struct Affine: Vector<64> {
        repeat 8 {
            permute(shuffle(seed = 1));
            actnorm;
            affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = mlp([128, 128], relu));
            affine_coupling(keep = second, scale = sigmoid(0.0, 1.0), net = mlp([128, 128], relu));
        }
    }

    struct Additive: Vector<64> {
        repeat 8 {
            permute(shuffle(seed = 1));
            actnorm;
            additive_coupling(keep = first, net = mlp([128, 128], relu));
            additive_coupling(keep = second, net = mlp([128, 128], relu));
        }
    }

    struct Lipschitz: Vector<64> {
        repeat 8 {
            permute(shuffle(seed = 1));
            additive_coupling(keep = first, net = mlp([128, 128], relu, lipschitz = 1.0));
            additive_coupling(keep = second, net = mlp([128, 128], relu, lipschitz = 1.0));
        }
    }

    /// The log-determinant, which this objective does not use, is cut short.
    struct Residual: Vector<64> {
        repeat 8 {
            residual(
                lipschitz = 0.8, net = mlp([128, 128], swish), log_det = series(1), tolerance = 1e-6
            );
        }
    }
}

/// A model's number over the steps.
type History = Vec<(f64, f64)>;

struct Run {
    data: Rows<f32>,
    seed: u64,
    steps: u64,
    rounds: u64,
    rate: f64,
    only: Option<usize>,
}

/// What is drawn of a model.
struct Found {
    name: &'static str,
    condition: History,
    error: History,
}

fn main() -> Result {
    let options = Options::read(&["steps", "seed", "rate", "only"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    let run = Run {
        data: grey_patches(seed)?,
        seed,
        steps: options.get("steps")?.unwrap_or(1500),
        rounds: 10,
        rate: options.get("rate")?.unwrap_or(2e-3),
        only: options.get("only")?,
    };
    let (cpu, mut found) = (Cpu::default(), Vec::new());
    if run.wants(0) {
        let mut flow = Affine::<f32>::build(&cpu, seed)?;
        found.push(run.train("affine", &mut flow)?);
    }
    if run.wants(1) {
        let mut flow = Additive::<f32>::build(&cpu, seed)?;
        found.push(run.train("additive", &mut flow)?);
    }
    if run.wants(2) {
        let mut flow = Lipschitz::<f32>::build(&cpu, seed)?;
        found.push(run.train("additive, lipschitz = 1", &mut flow)?);
    }
    if run.wants(3) {
        let mut flow = Residual::<f32>::build(&cpu, seed)?;
        found.push(run.train("residual, lipschitz = 0.8", &mut flow)?);
    }

    let folder = output_folder("decorrelation")?;
    let draw = |file: &str, what: &str, of: fn(&Found) -> &History| {
        let points = |found| of(found).iter().map(|&(x, y)| (x, y.log10()));
        let all: Vec<_> = found.iter().map(|found| Curve::new(found.name, points(found))).collect();
        curves(folder.join(file), "decorrelation", ["step", what], &all)
    };
    draw("condition.png", "log10 of the largest condition number", |found| &found.condition)?;
    draw("reconstruction.png", "log10 of the largest reconstruction error", |found| &found.error)?;
    println!("wrote condition.png and reconstruction.png to {}", folder.display());
    Ok(())
}

impl Run {
    fn wants(&self, model: usize) -> bool {
        self.only.is_none_or(|only| only == model)
    }

    fn train<A>(&self, name: &'static str, flow: &mut Flow<A, f32>) -> Result<Found>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<64>, Latent = Vector<64>>
            + Invertible,
    {
        println!("{name}");
        println!(
            "{:>6} {:>9} {:>9} {:>9} {:>11} {:>12} {:>10}",
            "step", "loss", "σ max", "σ min", "condition", "error", "not finite"
        );
        let held_out = Rows::new(self.data.values()[..100 * 64].to_vec(), 64)?;
        let mut found = Found { name, condition: Vec::new(), error: Vec::new() };
        let first = Rows::new(self.data.values()[..256 * 64].to_vec(), 64)?;
        flow.initialize(first.x::<Vector<64>>()?)?;
        let mut loss = f64::NAN;
        for round in 0..=self.rounds {
            if round > 0 {
                let trainer = Trainer::new(Adam::new(self.rate))
                    .batch_size(256)
                    .steps(self.steps / self.rounds)
                    .seed(self.seed + round)
                    .silent();
                let history = trainer.fit_with(flow, &self.data, |flow, batch, gradients| {
                    let (z, _) = flow.forward(batch.x::<Vector<64>>()?.trace(gradients))?;
                    decorrelate(z)
                });
                // A flow whose loss is no longer finite is where this was to lead.
                match history {
                    Ok(history) => loss = history.records.last().map_or(f64::NAN, |r| r.loss),
                    Err(error @ FlowError::Diverged { .. }) => {
                        println!("{error}");
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let step = round * (self.steps / self.rounds);
            let report = Examination::default().passes(1).run(flow, &held_out)?;
            line(step, loss, &report);
            found.condition.push((step as f64, report.jacobian.condition.worst()));
            found.error.push((step as f64, report.data.once().worst()));
        }
        println!();
        Ok(found)
    }
}

fn line(step: u64, loss: f64, report: &Report) {
    let jacobian = &report.jacobian;
    let smallest = jacobian.smallest.finite.as_ref().map_or(f64::NAN, |finite| finite.smallest());
    println!(
        "{step:>6} {loss:>9.3} {:>9.2e} {smallest:>9.2e} {:>11.2e} {:>12.2e} {:>10}",
        jacobian.largest.worst(),
        jacobian.condition.worst(),
        report.data.once().worst(),
        report.data.once().non_finite,
    );
}
