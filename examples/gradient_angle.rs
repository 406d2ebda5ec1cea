//! Trains flows to decorrelate small images, and watches how far gradients turn from the true one
//! when activations are reconstructed by the inverse: the memory-saving gradients of "On the
//! invertibility of invertible neural networks" (Behrmann et al. 2019, figure 1). Affine couplings
//! lose their inverse in training; then an unguarded gradient is wrong, and a guarded one is not. The
//! same flow keeps its inverse with the likelihood beside that loss (figure 18 of the successor,
//! "Understanding and mitigating exploding inverses"), and so do couplings with a bound.
//!
//! ```sh
//! cargo run --release --example gradient_angle
//! ```

use dfdx::prelude::*;
use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::stability::{decorrelate, gradient_angle_of, GradientAngles};
use flow_core::{Architecture, Flow, Invertible, Unconditional};
use flow_examples::{grey_patches, output_folder, Options, Result};

flow! {
    /// Scales in (0, 1), as the paper's.
    #[require(memory_saving)]
    struct Affine: Vector<64> {
        repeat 8 {
            permute(shuffle(seed = 1));
            affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = mlp([128, 128], relu));
            affine_coupling(keep = second, scale = sigmoid(0.0, 1.0), net = mlp([128, 128], relu));
        }
    }

    /// A certified bound on each net keeps the inverse stable.
    #[require(memory_saving)]
    struct Lipschitz: Vector<64> {
        repeat 8 {
            permute(shuffle(seed = 1));
            additive_coupling(keep = first, net = mlp([128, 128], relu, lipschitz = 1.0));
            additive_coupling(keep = second, net = mlp([128, 128], relu, lipschitz = 1.0));
        }
    }
}

/// The height at which an angle in degrees is drawn: no less than 1e-6, and for a gradient that is
/// not finite that of the opposite direction.
fn height(degrees: f64) -> f64 {
    if degrees.is_nan() {
        180f64.log10()
    } else {
        degrees.max(1e-6).log10()
    }
}

struct Run {
    data: Rows<f32>,
    seed: u64,
    steps: u64,
    rounds: u64,
    rate: f64,
}

fn main() -> Result {
    let options = Options::read(&["steps", "rounds", "seed", "rate", "weight"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    let run = Run {
        data: grey_patches(seed)?,
        seed,
        steps: options.get("steps")?.unwrap_or(2500),
        rounds: options.get("rounds")?.unwrap_or(25),
        rate: options.get("rate")?.unwrap_or(5e-3),
    };
    let cpu = Cpu::default();
    let (mut affine, mut lipschitz) =
        (Affine::<f32>::build(&cpu, seed)?, Lipschitz::<f32>::build(&cpu, seed)?);
    let mut regular = affine.clone();
    let affine = run.train("affine couplings", &mut affine, None)?;
    let weight = options.get("weight")?.unwrap_or(10.0);
    let name = format!("affine couplings, likelihood at weight {weight}");
    let regular = run.train(&name, &mut regular, Some(weight))?;
    let lipschitz = run.train("additive couplings, lipschitz = 1", &mut lipschitz, None)?;

    let folder = output_folder("gradient_angle")?;
    let curve = |name: &str, found: &[(f64, GradientAngles)], of: fn(&GradientAngles) -> f64| {
        let points = found.iter().map(|(step, angles)| (*step, height(of(angles))));
        Curve::new(name, points.collect::<Vec<_>>())
    };
    let all = [
        curve("affine, unguarded", &affine, |angles| angles.unguarded.degrees),
        curve("affine, guarded", &affine, |angles| angles.guarded.degrees),
        curve("affine, recomputed", &affine, |angles| angles.recomputed.degrees),
        curve("with the likelihood, unguarded", &regular, |angles| angles.unguarded.degrees),
        curve("lipschitz = 1, unguarded", &lipschitz, |angles| angles.unguarded.degrees),
    ];
    let title = "angle to the true gradient (top: not finite; bottom: 1e-6 or less)";
    curves(folder.join("angles.png"), title, ["step", "log10 of the angle in degrees"], &all)?;
    println!("wrote angles.png to {}", folder.display());
    Ok(())
}

impl Run {
    /// Trains with the likelihood at that weight beside, if at any.
    fn train<A>(
        &self,
        name: &str,
        flow: &mut Flow<A, f32>,
        weight: Option<f64>,
    ) -> Result<Vec<(f64, GradientAngles)>>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<64>, Latent = Vector<64>>
            + Invertible,
    {
        println!("{name}: angles to the true gradient in degrees, and blocks that exploded");
        println!(
            "{:>6} {:>9} {:>11} {:>11} {:>11} {:>10}",
            "step", "loss", "recomputed", "guarded", "unguarded", "exploded"
        );
        let batch = Rows::new(self.data.values()[..256 * 64].to_vec(), 64)?;
        let mut found = Vec::new();
        let mut loss = String::new();
        let mut first = None;
        // What was trained on last, for a look at a step that could not be done.
        let mut last = Rows::default();
        for round in 0..=self.rounds {
            let steps = self.steps / self.rounds;
            if round > 0 {
                let trainer = Trainer::new(Adam::new(self.rate))
                    .batch_size(256)
                    .steps(steps)
                    .seed(self.seed + round)
                    .silent();
                // The guarded gradient trains: it is what a user of deep flows would take.
                let history = trainer.fit_with(flow, &self.data, |flow, batch, gradients| {
                    last.clone_from(batch);
                    let x = batch.x::<Vector<64>>()?.trace(gradients);
                    loss_of(flow.memory(Memory::Inverted).forward(x)?, weight)
                });
                // A flow whose loss is no longer finite is where this was to lead.
                match history {
                    Ok(history) => {
                        loss = history.last_loss().map_or_else(String::new, |v| format!("{v:.3}"));
                    }
                    Err(error @ FlowError::Diverged { .. }) => {
                        let truth = angles(flow, &last, weight)?.recomputed;
                        let finite = match truth.degrees.is_nan() {
                            true => "not finite either",
                            false => "finite",
                        };
                        println!("{error}\nthe true gradient of that batch is {finite}");
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let angles = angles(flow, &batch, weight)?;
            println!(
                "{:>6} {loss:>9} {:>11.2e} {:>11.2e} {:>11.2e} {:>10}",
                round * steps,
                angles.recomputed.degrees,
                angles.guarded.degrees,
                angles.unguarded.degrees,
                format!("{}/{}", angles.report.explosions.len(), angles.report.blocks),
            );
            if first.is_none() && !angles.report.held() {
                first = Some(format!("step {}: {}", round * steps, angles.report));
            }
            found.push(((round * steps) as f64, angles));
        }
        println!("{}", first.unwrap_or_else(|| "the inverse held throughout".into()));
        let worst = |of: fn(&GradientAngles) -> f64| {
            let errors = found.iter().map(|(_, angles)| of(angles));
            errors.fold(0.0, |worst: f64, error| if error <= worst { worst } else { error })
        };
        println!(
            "the guarded gradient was off by at most {:.1e} of the true one, the unguarded by {:.1e}\n",
            worst(|angles| angles.guarded.error),
            worst(|angles| angles.unguarded.error),
        );
        Ok(found)
    }
}

type Latents<T> = Tensor<(usize, Const<64>), f32, Cpu, T>;
type Numbers<T> = Tensor<(usize,), f32, Cpu, T>;

/// The loss of latents and log-determinants: how correlated they are, and the negative log-likelihood of
/// a number of the data at that weight.
fn loss_of<T: Tape<f32, Cpu> + Merge<T>>(
    (z, log_det): (Latents<T>, Numbers<T>),
    weight: Option<f64>,
) -> std::result::Result<Tensor<Rank0, f32, Cpu, T>, FlowError> {
    let Some(weight) = weight else { return decorrelate(z) };
    let scale = weight as f32 / 64.0;
    let surprise = z.with_empty_tape().square().sum::<(usize,), Axis<1>>() * 0.5 - log_det;
    Ok(decorrelate(z)? + surprise.mean::<Rank0, _>() * scale)
}

fn angles<A>(flow: &Flow<A, f32>, batch: &Rows<f32>, weight: Option<f64>) -> Result<GradientAngles>
where
    A: Architecture<f32, Context = Unconditional, Event = Vector<64>, Latent = Vector<64>>
        + Invertible,
{
    Ok(gradient_angle_of(flow, |view| {
        loss_of(view.forward(batch.x::<Vector<64>>()?.leaky_trace())?, weight)
    })?)
}
