//! Learns the density of small images with a Glow (Kingma and Dhariwal 2018), and draws samples,
//! reconstructions, and images with some of their levels drawn anew.
//!
//! ```sh
//! cargo run --release --example glow
//! ```
//!
//! Its data come with it: 330 colour patches and 1,500 images of Fashion-MNIST.
//! `scripts/fetch-data fashion-mnist` gets all 60,000 for `-- --fashion data/fashion-mnist-train.npy`.

use std::path::{Path, PathBuf};

use flow_core::data::Bits;
use flow_core::io::read_table;
use flow_core::plot::{curves, images, Curve};
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Event, Flow, Image, Invertible, Shape, Unconditional};
use flow_examples::{output_folder, shipped_data, Options, Result};

flow! {
    /// Density model for 32×32 colour images.
    #[require(analytic_inverse)]
    pub struct Glow: Image<3, 32, 32> {
        multiscale 3 {
            squeeze(2);
            repeat 16 {
                actnorm;
                conv1x1(lu);
                affine_coupling(
                    scale = sigmoid(0.5, 1.0),
                    net = conv([3, 1, 3], hidden = 128, relu)
                );
            }
        }
    }

    /// Density model for 28×28 grey images.
    #[require(analytic_inverse)]
    pub struct GreyGlow: Image<1, 28, 28> {
        multiscale 2 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                affine_coupling(
                    scale = sigmoid(0.5, 1.0),
                    net = conv([3, 1, 3], hidden = 64, relu)
                );
            }
        }
    }
}

/// Images in a line of each picture.
const COLUMNS: usize = 10;

/// What both runs share.
struct Run {
    bits: Bits,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
}

fn main() -> Result {
    let options = Options::read(&["steps", "batch", "seed", "patches", "fashion"])?;
    let run = Run {
        bits: Bits::new(8)?,
        folder: output_folder("glow")?,
        seed: options.get("seed")?.unwrap_or(0),
        steps: options.get("steps")?.unwrap_or(300),
        batch: options.get("batch")?.unwrap_or(32),
    };
    let file = |name, shipped| -> Result<PathBuf> {
        Ok(options.get(name)?.unwrap_or_else(|| shipped_data(shipped)))
    };

    let mut colour = Glow::<f32>::build(&Cpu::default(), run.seed)?;
    let held_out = run.learn("patches", &mut colour, &file("patches", "patches.npy.gz")?)?;
    run.resample(&colour, &held_out)?;

    // There are more of these, and a step takes a fraction of the time.
    let run = Run { steps: 4 * run.steps, ..run };
    let mut grey = GreyGlow::<f32>::build(&Cpu::default(), run.seed)?;
    run.learn("fashion", &mut grey, &file("fashion", "fashion-mnist.npy.gz")?)?;
    println!("wrote pictures to {}", run.folder.display());
    Ok(())
}

impl Run {
    /// Trains a flow on the levels of a file, reports bits per dimension of the tenth that is held
    /// out, and draws. Returns held-out images as numbers in [0, 1).
    fn learn<A>(&self, name: &str, flow: &mut Flow<A, f32>, file: &Path) -> Result<Rows<f32>>
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        let shape = A::Event::SHAPE;
        let noise = Noise::seed(self.seed).named(name);
        let levels: Rows<f32> = read_table(file)?.to_rows()?;
        let (train, held_out) = levels.split(0.1, &mut noise.named("split"))?;
        println!("{}\n", flow.summary());
        println!("{name}: {} images to learn, {} held out", train.len(), held_out.len());

        let first = &train.values()[..train.values().len().min(256 * shape.size())];
        let first = Rows::new(first.to_vec(), shape.size())?;
        let first = self.bits.dequantize(&first, &noise.named("first batch"))?;
        flow.initialize(first.x::<A::Event>()?)?;

        let batches = train.validated_by(held_out.clone());
        let history = Trainer::new(Adamax::new(3e-3))
            .schedule(Schedule::Cosine)
            .warm_up(20)
            .batch_size(self.batch)
            .steps(self.steps)
            .clip(Clip::Norm(50.0))
            .average(0.99)
            .validate_every((self.steps / 10).max(1))
            .seed(self.seed)
            .fit(flow, self.bits.dequantized(batches, &noise)?)?;

        let found = self.bits.evaluate(flow, &held_out, &noise.named("evaluation"))?;
        println!("{name}: held out {:.3} ± {:.3} bits/dim", found.mean, found.standard_error);
        let in_bits = |loss: f64| self.bits.per_dimension(-loss, shape.size());
        let records = history.records.iter();
        let loss = records.clone().map(|r| (r.step as f64, in_bits(r.loss)));
        let held = records.filter_map(|r| Some((r.step as f64, in_bits(r.validation_loss?))));
        let all = [Curve::new("training", loss), Curve::new("held out", held)];
        curves(self.file(name, "curve"), name, ["step", "bits per dimension"], &all)?;

        let shown = &held_out.values()[..COLUMNS.min(held_out.len()) * shape.size()];
        let shown = Rows::new(shown.to_vec(), shape.size())?;
        let shown = self.bits.dequantize(&shown, &noise.named("shown"))?;
        let (z, _) = flow.forward(shown.x::<A::Event>()?)?;
        let back = Rows::from_tensor(flow.inverse(z)?.0)?;
        let error = shown.values().iter().zip(back.values()).map(|(a, b)| (a - b).abs());
        println!("{name}: reconstructions are off by at most {:.1e}", error.fold(0.0, f32::max));
        let both = [shown.values(), back.values()].concat();
        images(self.file(name, "reconstructions"), shape, COLUMNS, &both)?;

        let mut noise = noise.named("samples");
        let samples = flow.temperature(0.7).sample(4 * COLUMNS, &mut noise)?;
        let samples = Rows::from_tensor(samples)?;
        images(self.file(name, "samples"), shape, COLUMNS, samples.values())?;
        Ok(shown)
    }

    /// Keeps some levels of the latents of images and draws the others anew, as figure 5 of "Jacobian
    /// determinant of normalizing flows" (Liao and He 2021): a line of images as they are, then with
    /// the first two levels kept and with the first, then with the last two kept and with the last.
    fn resample(&self, flow: &Glow, x: &Rows<f32>) -> Result {
        let mut noise = Noise::seed(self.seed).named("levels");
        let (z, _) = flow.forward(x.x::<Image<3, 32, 32>>()?)?;
        let (fine, middle, coarse) = flow.levels(&z)?;
        let other = flow.temperature(0.7).sample(x.len(), &mut noise)?;
        let (new_fine, new_middle, new_coarse) = flow.levels(&flow.forward(other)?.0)?;
        let first_kept = [
            (fine.clone(), middle.clone(), new_coarse.clone()),
            (fine, new_middle.clone(), new_coarse),
        ];
        let last_kept =
            [(new_fine.clone(), middle, coarse.clone()), (new_fine, new_middle, coarse)];
        let mut lines = x.values().to_vec();
        for parts in first_kept.into_iter().chain(last_kept) {
            let image = flow.inverse(flow.join_levels(parts)?)?.0;
            lines.extend_from_slice(Rows::from_tensor(image)?.values());
        }
        images(self.file("patches", "levels"), Shape::image(3, 32, 32), COLUMNS, &lines)?;
        Ok(())
    }

    fn file(&self, name: &str, what: &str) -> PathBuf {
        self.folder.join(format!("{name}-{what}.png"))
    }
}
