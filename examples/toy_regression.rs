//! A regression that makes an inverse explode, and the tiny weight of a likelihood that keeps it:
//! the toy problem of "Understanding and mitigating exploding inverses in invertible neural
//! networks" (Behrmann et al. 2021, section 4.2 and appendix F).
//!
//! A flow of the plane learns to map points (a, b) to (a, a). The loss does not ask for b, so the flow
//! may squeeze it until the inverse cannot bring it back; the likelihood asks for both. Printed, and
//! drawn over the steps, are the loss, how far the inverse misses the points, and the condition number
//! of the Jacobian, each at its largest over a hundred points.
//!
//! ```sh
//! cargo run --release --example toy_regression                 # small nets, few steps
//! cargo run --release --example toy_regression -- --published  # the paper's: an hour
//! ```
//!
//! `--weight 1e-6` chooses another weight of the likelihood. `--width 1e-12` brings the points as near
//! to a line as the paper's; then ActNorm, which starts from data, first stretches them to unit
//! variance, and the condition numbers tell of that alone.

use std::time::Instant;

use dfdx::prelude::{mse_loss, AsArray, Cpu};
use flow_core::objective::{BatchPass, Likelihood, Objectives};
use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::stability::Examination;
use flow_core::{Architecture, Flow, Invertible, Unconditional};
use flow_examples::{output_folder, Options, Result};

/// Both models' blocks, with one net in all of them.
macro_rules! glow {
    ($name:ident: $($net:tt)*) => {
        flow! {
            struct $name: Vector<2> {
                repeat 8 {
                    actnorm;
                    permute(reverse);
                    affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = $($net)*);
                }
            }
        }
    };
}

glow!(Small: mlp([32, 32], relu));
glow!(Published: mlp([128, 128], relu));

/// Measurements in a run.
const MEASUREMENTS: u64 = 50;

struct Study {
    data: Rows<f32>,
    seed: u64,
    steps: u64,
    rate: f64,
}

/// A model's numbers over the steps.
#[derive(Default)]
struct Found {
    loss: Vec<(f64, f64)>,
    error: Vec<(f64, f64)>,
    condition: Vec<(f64, f64)>,
}

fn main() -> Result {
    let options = Options::read_with_switches(
        &["steps", "rows", "seed", "rate", "width", "weight"],
        &["published"],
    )?;
    let published = options.switched("published");
    let (steps, rows, rate) = if published { (40_000, 10_000, 1e-4) } else { (20_000, 500, 1e-3) };
    let seed = options.get("seed")?.unwrap_or(0);
    let rows = options.get("rows")?.unwrap_or(rows);
    let study = Study {
        data: lines(rows, options.get("width")?.unwrap_or(1.0), &Noise::seed(seed))?,
        seed,
        steps: options.get("steps")?.unwrap_or(steps),
        rate: options.get("rate")?.unwrap_or(rate),
    };
    println!(
        "eight affine couplings learn to map {rows} points (a, b) to (a, a) in {} steps",
        study.steps
    );
    println!(
        "{:<22} {:>9} {:>20} {:>11} {:>8}",
        "likelihood's weight", "MSE", "reconstruction error", "condition", "seconds"
    );
    let mut found = Vec::new();
    let weight: f64 = options.get("weight")?.unwrap_or(if published { 1e-8 } else { 1e-4 });
    for weight in [0.0, weight] {
        let name: &String = &if weight == 0.0 { "0".into() } else { format!("{weight:e}") };
        let label = match weight {
            0.0 => "regression alone".into(),
            weight => format!("with the likelihood at {weight:e}"),
        };
        found.push((
            label,
            if published {
                study.train(name, weight, &mut *Published::<f32>::build(&Cpu::default(), seed)?)?
            } else {
                study.train(name, weight, &mut *Small::<f32>::build(&Cpu::default(), seed)?)?
            },
        ));
    }
    let last = |found: &Found| found.condition.last().map_or(f64::NAN, |at| at.1);
    println!(
        "the condition number is {:.1e} times smaller with the likelihood",
        last(&found[0].1) / last(&found[1].1)
    );

    let folder = output_folder("toy_regression")?;
    let draw = |file: &str, what: &str, of: fn(&Found) -> &Vec<(f64, f64)>| {
        let all: Vec<_> = found
            .iter()
            .map(|(name, found)| Curve::new(name, of(found).iter().map(|&(x, y)| (x, y.log10()))))
            .collect();
        curves(folder.join(file), what, ["step", &format!("log10 of the {what}")], &all)
    };
    draw("loss.png", "mean squared error of the regression", |found| &found.loss)?;
    draw("reconstruction.png", "largest error of a reconstructed point", |found| &found.error)?;
    draw("condition.png", "largest condition number of a Jacobian", |found| &found.condition)?;
    println!("wrote loss.png, reconstruction.png and condition.png to {}", folder.display());
    Ok(())
}

/// Points (a, b) with their targets (a, a): a has the variance 1, b the square of `width`.
fn lines(count: usize, width: f64, noise: &Noise) -> Result<Rows<f32>> {
    let (mut points, mut targets) = (Vec::new(), Vec::new());
    for i in 0..count as u64 {
        let (a, b) = noise.normal_pair(i);
        points.extend([a as f32, (width * b) as f32]);
        targets.extend([a as f32; 2]);
    }
    Ok(Rows::new(points, 2)?.given(targets, 2)?)
}

impl Study {
    fn train<A>(&self, name: &str, weight: f64, flow: &mut Flow<A, f32>) -> Result<Found>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>, Latent = Vector<2>>
            + Invertible,
    {
        let start = Instant::now();
        flow.initialize(self.data.x::<Vector<2>>()?)?;
        let objectives = match weight {
            0.0 => Objectives::new(),
            weight => Objectives::new().plus(weight, Likelihood),
        };
        let some = Rows::new(self.data.values()[..200].to_vec(), 2)?;
        let mut found = Found::default();
        let every = (self.steps / MEASUREMENTS).max(1);
        let trainer = Trainer::new(Adam::new(self.rate))
            .schedule(Schedule::Cosine)
            .batch_size(self.data.len())
            .steps(self.steps)
            .seed(self.seed)
            .silent();
        trainer.fit_steps(flow, &self.data, |flow, batch, gradients, step| {
            let mut loss = f64::NAN;
            let measured = step.is_due(every);
            let own = |pass: &BatchPass<'_, A, f32>| {
                let target = batch.context::<2>()?;
                let own = mse_loss(pass.forward()?.0, target);
                loss = own.array().into();
                Ok(own)
            };
            let x = batch.x::<Vector<2>>()?;
            let total = objectives.loss_beside(flow, x, step, gradients, own)?;
            if measured {
                found.add(step.index(), loss, flow, &some)?;
            }
            Ok(total)
        })?;
        let x = self.data.x::<Vector<2>>()?;
        let loss = mse_loss(flow.forward(x)?.0, self.data.context::<2>()?).array().into();
        found.add(self.steps, loss, flow, &some)?;
        let end = |of: &[(f64, f64)]| of.last().map_or(f64::NAN, |at| at.1);
        println!(
            "{name:<22} {:>9.1e} {:>20.1e} {:>11.1e} {:>8.0}",
            end(&found.loss),
            end(&found.error),
            end(&found.condition),
            start.elapsed().as_secs_f64()
        );
        Ok(found)
    }
}

impl Found {
    fn add<A>(
        &mut self,
        step: u64,
        loss: f64,
        flow: &Flow<A, f32>,
        rows: &Rows<f32>,
    ) -> Result<(), FlowError>
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        let report = Examination::default().passes(1).samples(1).run(flow, rows)?;
        self.loss.push((step as f64, loss));
        self.error.push((step as f64, report.data.once().worst()));
        self.condition.push((step as f64, report.jacobian.condition.worst()));
        Ok(())
    }
}
