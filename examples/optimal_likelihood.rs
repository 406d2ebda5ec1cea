//! How likely can a linear flow make its data? By equation 6 and appendix A of "Jacobian determinant
//! of normalizing flows" (Liao and He 2021) the most is −½ (d ln 2π + d + Σ ln λᵢ), where λ are the
//! eigenvalues of the data's covariance: probabilistic principal component analysis with all
//! components (Tipping and Bishop 1999). This trains a linear flow on small images to see it come
//! there, and one that is linear only for each point, which may go beyond.
//!
//! ```sh
//! cargo run --release --example optimal_likelihood
//! ```

use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Flow, Unconditional};
use flow_examples::symmetric::{eigenvalues, moments};
use flow_examples::{grey_patches, output_folder, Options, Result};

/// Numbers of an image of 8 × 8.
const SIZE: usize = 64;

flow! {
    /// f(x) = W x + b.
    #[require(constant_log_det)]
    struct Linear: Vector<SIZE> {
        actnorm;
        linear(lu);
    }

    /// f(x) = W(x) x + b(x), where the log-determinant is that of W(x).
    struct QuasiLinear: Vector<SIZE> {
        actnorm;
        repeat 4 {
            linear(lu);
            dual_affine_coupling(scale = mexican_hat(4), net = mlp([128], swish));
        }
    }
}

struct Study {
    train: Rows<f32>,
    held_out: Rows<f32>,
    seed: u64,
}

fn main() -> Result {
    let options = Options::read(&["steps", "seed"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    let steps: u64 = options.get("steps")?.unwrap_or(8_000);
    let (train, held_out) =
        grey_patches(seed)?.split(0.1, &mut Noise::seed(seed).named("split"))?;
    println!("{} grey images of 8 × 8 to learn, {} held out", train.len(), held_out.len());
    let study = Study { train, held_out, seed };

    let eigenvalues = eigenvalues(moments(&study.train).1, SIZE);
    let (largest, smallest) = (eigenvalues[0], eigenvalues[SIZE - 1]);
    println!("eigenvalues of their covariance from {largest:.3e} down to {smallest:.3e}\n");
    println!("the most likely model with r principal components, in closed form:");
    for r in [0, 1, 2, 4, 8, 16, 32, SIZE - 1] {
        println!("  r = {r:>2}  {}", line(optimum(&eigenvalues, r)));
    }
    let best = optimum(&eigenvalues, SIZE);
    println!("  r = {SIZE:>2}  {}  the optimum of a linear flow\n", line(best));

    let cpu = Cpu::default();
    let mut flow = Linear::<f32>::build(&cpu, seed)?;
    let linear = study.learn("linear flow", &mut flow, steps, best)?;
    let mut flow = QuasiLinear::<f32>::build(&cpu, seed)?;
    let beyond = study.learn("quasi-linear flow", &mut flow, steps / 8, best)?;

    let folder = output_folder("optimal_likelihood")?;
    let last = steps as f64;
    let all = [
        linear,
        beyond,
        Curve::new("optimum of a linear flow", [(last / 200.0, best), (last, best)]),
    ];
    let all = all.map(|Curve { name, points }| Curve {
        name,
        points: points.into_iter().map(|(step, nats)| (step.log10(), nats / SIZE as f64)).collect(),
    });
    let axes = ["log10 of the step", "log-likelihood (nats per pixel)"];
    let path = folder.join("training.png");
    curves(&path, "training data of 8 × 8 pixels", axes, &all)?;
    println!("wrote {}", path.display());
    Ok(())
}

/// The log-likelihood in nats of the most likely Gaussian whose covariance has `r` eigenvalues of its
/// own, and one that all others share (Tipping and Bishop 1999, equation 7).
fn optimum(eigenvalues: &[f64], r: usize) -> f64 {
    let d = eigenvalues.len() as f64;
    let (own, rest) = eigenvalues.split_at(r);
    let shared = rest.iter().sum::<f64>() / rest.len().max(1) as f64;
    let logs = own.iter().map(|v| v.ln()).sum::<f64>()
        + if rest.is_empty() { 0.0 } else { rest.len() as f64 * shared.ln() };
    -0.5 * (d * std::f64::consts::TAU.ln() + d + logs)
}

fn line(nats: f64) -> String {
    format!("{nats:>8.3} nats ({:.4} a pixel)", nats / SIZE as f64)
}

impl Study {
    /// Trains a flow, and gives the curve of what it makes of the training data.
    fn learn<A>(&self, name: &str, flow: &mut Flow<A, f32>, steps: u64, best: f64) -> Result<Curve>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<SIZE>>,
    {
        let first = Rows::new(self.train.values()[..SIZE * 1000].to_vec(), SIZE)?;
        flow.initialize(first.x::<Vector<SIZE>>()?)?;
        let history = Trainer::new(Adam::new(5e-3))
            .schedule(Schedule::Cosine)
            .batch_size(512)
            .steps(steps)
            .seed(self.seed)
            .fit(flow, &self.train)?;
        let (train, held_out) = (evaluate(flow, &self.train)?, evaluate(flow, &self.held_out)?);
        println!("{name}, {steps} steps");
        println!(
            "  training {}, {:+.3} from the linear optimum",
            line(train.mean),
            train.mean - best
        );
        println!("  held out {} ± {:.3} nats\n", line(held_out.mean), held_out.standard_error);
        let records = history.records.iter().filter(|record| record.step * 200 >= steps);
        Ok(Curve::new(name, records.map(|record| (record.step as f64, -record.loss))))
    }
}
