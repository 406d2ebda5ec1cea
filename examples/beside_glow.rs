//! A flow of bounded blocks beside a Glow of as many couplings, on grey images: bits per dimension
//! and parameters, as in table 1 of "Jacobian determinant of normalizing flows" (Liao and He 2021),
//! trained as appendix C says: Adamax, a learning rate that falls in steps from 0.01 to 0.001, and
//! activations that are computed again on the way back.
//!
//! ```sh
//! cargo run --release --example beside_glow
//! ```
//!
//! 1,500 images of Fashion-MNIST come with it; `scripts/fetch-data fashion-mnist` gets all 60,000 for
//! `-- --fashion data/fashion-mnist-train.npy`.

use std::path::PathBuf;
use std::time::Instant;

use flow_core::data::Bits;
use flow_core::io::read_table;
use flow_core::plot::{curves, images, Curve};
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Flow, Invertible, Shape, Unconditional};
use flow_examples::{output_folder, shipped_data, Options, Result};

/// What the flows model.
type Picture = Image<1, 28, 28>;
const SIZE: usize = 28 * 28;

flow! {
    /// Blocks that spread by a matrix and a coupling with scales in (0.64, e), and contract by a
    /// learned activation.
    #[require(analytic_inverse)]
    struct BoundedFlow: Image<1, 28, 28> {
        standardize;
        multiscale 2 (keep = 1/2) {
            invertible_conv(kernel = 2);
            dual_affine_coupling(
                scale = mexican_hat(4, beta = 0.8),
                net = conv([3, 1, 3], hidden = 48, relu)
            );
            spline_activation(bins = 16, beta = 0.8);
            repeat 3 {
                conv1x1(dense);
                dual_affine_coupling(
                    scale = mexican_hat(4, beta = 0.8),
                    net = conv([3, 1, 3], hidden = 48, relu)
                );
                spline_activation(bins = 16, beta = 0.8);
            }
        }
    }

    /// Half as many couplings to a step, and twice as many steps.
    #[require(analytic_inverse)]
    struct Glow: Image<1, 28, 28> {
        multiscale 2 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                affine_coupling(
                    scale = sigmoid(0.5, 1.0),
                    net = conv([3, 1, 3], hidden = 48, relu)
                );
            }
        }
    }
}

struct Study {
    bits: Bits,
    levels: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
}

/// A model's curves of bits per dimension, held out and training.
struct Found {
    name: &'static str,
    training: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
}

fn main() -> Result {
    let options = Options::read(&["steps", "batch", "seed", "fashion"])?;
    let file: PathBuf =
        options.get("fashion")?.unwrap_or_else(|| shipped_data("fashion-mnist.npy.gz"));
    let study = Study {
        bits: Bits::new(8)?,
        levels: read_table(file)?.to_rows()?,
        folder: output_folder("beside_glow")?,
        seed: options.get("seed")?.unwrap_or(0),
        steps: options.get("steps")?.unwrap_or(300),
        batch: options.get("batch")?.unwrap_or(32),
    };
    let cpu = Cpu::default();
    let mut bounded = BoundedFlow::<f32>::build(&cpu, study.seed)?;
    let mut glow = Glow::<f32>::build(&cpu, study.seed)?;
    let found = [study.learn("bounded", &mut bounded)?, study.learn("glow", &mut glow)?];
    let both = found.into_iter().flat_map(|Found { name, training, held_out }| {
        [
            Curve::new(format!("{name}, training"), training),
            Curve::new(format!("{name}, held out"), held_out),
        ]
    });
    let path = study.folder.join("training.png");
    let both: Vec<Curve> = both.collect();
    curves(path, "Fashion-MNIST", ["step", "bits per dimension"], &both)?;
    println!("wrote pictures to {}", study.folder.display());
    Ok(())
}

impl Study {
    fn learn<A>(&self, name: &'static str, flow: &mut Flow<A, f32>) -> Result<Found>
    where
        A: Architecture<f32, Context = Unconditional, Event = Picture> + Invertible,
    {
        // The same images, noise and batches for each.
        let noise = Noise::seed(self.seed);
        let (train, held_out) = self.levels.clone().split(0.1, &mut noise.named("split"))?;
        let first = Rows::new(train.values()[..SIZE * 256.min(train.len())].to_vec(), SIZE)?;
        let first = self.bits.dequantize(&first, &noise.named("first batch"))?;
        flow.initialize(first.x::<Picture>()?)?;

        let start = Instant::now();
        let batches = train.validated_by(held_out.clone());
        let history = Trainer::new(Adamax::new(0.01))
            .schedule(Schedule::Exponential { factor: 0.98, every: (self.steps / 114).max(1) })
            .batch_size(self.batch)
            .steps(self.steps)
            .memory(Memory::Recomputed)
            .validate_every((self.steps / 10).max(1))
            .seed(self.seed)
            .fit(flow, self.bits.dequantized(batches, &noise)?)?;
        let seconds = start.elapsed().as_secs_f64();

        let found = self.bits.evaluate(flow, &held_out, &noise.named("evaluation"))?;
        println!(
            "{name}: {:.3} ± {:.3} bits/dim held out, {} parameters, {seconds:.0} s",
            found.mean,
            found.standard_error,
            flow.parameter_count(),
        );
        let samples = flow.temperature(0.7).sample(30, &mut noise.named("samples"))?;
        let samples = Rows::from_tensor(samples)?;
        let path = self.folder.join(format!("{name}-samples.png"));
        images(path, Shape::image(1, 28, 28), 10, samples.values())?;

        let in_bits = |loss: f64| self.bits.per_dimension(-loss, SIZE);
        let records = || history.records.iter();
        Ok(Found {
            name,
            training: records().map(|r| (r.step as f64, in_bits(r.loss))).collect(),
            held_out: records()
                .filter_map(|r| Some((r.step as f64, in_bits(r.validation_loss?))))
                .collect(),
        })
    }
}
