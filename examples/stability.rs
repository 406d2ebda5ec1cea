//! Where does the inverse of a trained flow break? Trains four flows on small colour images and
//! examines each: its report on held-out images, what it makes of inputs unlike any image, and a
//! search for badly reconstructed inputs that are dequantised to the same levels as an image, and
//! in a wider box ("Understanding and mitigating exploding inverses in invertible neural networks",
//! Behrmann et al. 2021, appendices D and E).
//!
//! ```sh
//! cargo run --release --example stability
//! ```

use std::path::PathBuf;

use flow_core::data::Bits;
use flow_core::io::read_table;
use flow_core::plot::images;
use flow_core::prelude::*;
use flow_core::stability::{self, Attack, Attacked, Inputs};
use flow_core::{Architecture, Cpu, Flow, Invertible, Shape, Unconditional};
use flow_examples::{output_folder, shipped_data, small_patches, Options, Result};

flow! {
    /// Scales in (0, 1).
    struct Affine: Image<3, 8, 8> {
        multiscale 2 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                affine_coupling(scale = sigmoid(0.0, 1.0), net = conv([3, 1, 3], hidden = 64, relu));
            }
        }
    }

    /// Scales in (0.5, 1).
    struct Modified: Image<3, 8, 8> {
        multiscale 2 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                affine_coupling(scale = sigmoid(0.5, 1.0), net = conv([3, 1, 3], hidden = 64, relu));
            }
        }
    }

    /// No scales, and nets that amplify at most twofold.
    struct Additive: Image<3, 8, 8> {
        multiscale 2 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                additive_coupling(net = conv([3, 1, 3], hidden = 64, relu, lipschitz = 2.0));
            }
        }
    }

    /// Residual blocks, whose inverse is a fixed point: no block of them amplifies more than 1.8
    /// times forwards, or 5 times backwards.
    struct Residual: Image<3, 8, 8> {
        multiscale 2 {
            squeeze(2);
            repeat 4 {
                actnorm;
                residual(
                    lipschitz = 0.8, net = conv([3, 1, 3], hidden = 32, swish), log_det = roulette,
                    tolerance = 1e-6
                );
            }
        }
    }
}

const SHAPE: Shape = Shape::image(3, 8, 8);

struct Study {
    bits: Bits,
    train: Rows<f32>,
    held_out: Rows<f32>,
    /// Fashion-MNIST cut to the size, grey, as levels.
    other: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    rows: usize,
    attack_steps: usize,
}

fn main() -> Result {
    let options = Options::read(&["steps", "seed", "rows", "attack-steps"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    // Five bits, as in the paper: the cubes of inputs with the same levels are wide.
    let bits = Bits::new(5)?;
    let levels = Bits::new(8)?.reduce(small_patches()?, bits)?;
    let (train, held_out) = levels.split(0.1, &mut Noise::seed(seed).named("split"))?;
    let study = Study {
        bits,
        train,
        held_out,
        other: Bits::new(8)?.reduce(clothes()?, bits)?,
        folder: output_folder("stability")?,
        seed,
        steps: options.get("steps")?.unwrap_or(600),
        rows: options.get("rows")?.unwrap_or(32),
        attack_steps: options.get("attack-steps")?.unwrap_or(100),
    };
    let cpu = Cpu::default();
    let mut affine = Affine::<f32>::build(&cpu, seed)?;
    study.examine("affine in (0, 1)", &mut affine, study.steps)?;
    let mut modified = Modified::<f32>::build(&cpu, seed)?;
    study.examine("affine in (0.5, 1)", &mut modified, study.steps)?;
    let mut additive = Additive::<f32>::build(&cpu, seed)?;
    study.examine("additive, lipschitz = 2", &mut additive, study.steps)?;
    // Its steps take several times as long.
    let mut residual = Residual::<f32>::build(&cpu, seed)?;
    study.examine("residual, lipschitz = 0.8", &mut residual, study.steps.div_ceil(2))?;
    println!(
        "wrote pictures to {}: of each report, and of each search the ten worst images with the inputs \
         found near them and below those their reconstructions, magenta where they are not finite",
        study.folder.display()
    );
    Ok(())
}

impl Study {
    fn examine<A>(&self, name: &str, flow: &mut Flow<A, f32>, steps: u64) -> Result
    where
        A: Architecture<f32, Context = Unconditional, Event = Image<3, 8, 8>> + Invertible,
    {
        let noise = Noise::seed(self.seed).named("study");
        let first = self.bits.dequantize(&self.take(&self.train, 256)?, &noise.named("first"))?;
        flow.initialize(first.x::<Image<3, 8, 8>>()?)?;
        Trainer::new(Adamax::new(3e-3))
            .schedule(Schedule::Cosine)
            .batch_size(64)
            .steps(steps)
            .clip(Clip::Norm(50.0))
            .seed(self.seed)
            .silent()
            .fit(flow, self.bits.dequantized(self.train.clone(), &noise)?)?;
        let found = self.bits.evaluate(flow, &self.held_out, &noise.named("evaluation"))?;
        println!("{name}: {:.3} ± {:.3} bits/dim held out\n", found.mean, found.standard_error);

        let data = self.bits.dequantize(&self.held_out, &noise.named("held out"))?;
        let report = stability::report(flow, &data)?;
        println!("{report}");
        report.draw(self.file(name, "report"))?;

        self.unlike(flow, &data, &noise)?;
        self.attack(name, flow)
    }

    /// Reconstructions of inputs that the flow was not trained on.
    fn unlike<A>(&self, flow: &Flow<A, f32>, data: &Rows<f32>, noise: &Noise) -> Result
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        println!(
            "{:<24} {:>10} {:>10} {:>11}",
            "reconstruction of", "median", "largest", "not finite"
        );
        let line = |what: &str, rows: &Rows<f32>| -> Result {
            let report = stability::Examination::default().passes(1).jacobians(1).samples(1);
            let report = report.run(flow, rows)?;
            let (once, count) = (report.data.once(), rows.len());
            let (median, largest) = match &once.finite {
                Some(finite) => (finite.median(), finite.largest()),
                None => (f64::NAN, f64::NAN),
            };
            println!(
                "{what:<24} {median:>10.2e} {largest:>10.2e} {:>6} / {count}",
                once.non_finite
            );
            Ok(())
        };
        line("held-out patches", data)?;
        line("Fashion-MNIST", &self.bits.dequantize(&self.other, &noise.named("other"))?)?;
        for inputs in Inputs::ALL {
            for (low, high) in [(0.0, 1.0), (-4.0, 5.0)] {
                let rows = inputs.rows(500, SHAPE.size(), (low, high), noise)?;
                line(&format!("{inputs} in [{low}, {high}]"), &rows)?;
            }
        }
        println!();
        Ok(())
    }

    /// The worst inputs near held-out images.
    fn attack<A>(&self, name: &str, flow: &Flow<A, f32>) -> Result
    where
        A: Architecture<f32, Context = Unconditional, Event = Image<3, 8, 8>> + Invertible,
    {
        let levels = self.take(&self.held_out, self.rows)?;
        let scale = self.bits.levels() as f32;
        let middles = levels.values().iter().map(|level| (level + 0.5) / scale).collect();
        let middles = Rows::new(middles, SHAPE.size())?;
        let settings = |attack: Attack| attack.steps(self.attack_steps).seed(self.seed);
        let cube = settings(Attack::dequantization(self.bits).within(0.0, 1.0));
        let wide = settings(Attack::ball(1.0).within(-1.0, 2.0));
        for (what, attack) in [("same levels", cube), ("within 1", wide)] {
            let found = attack.run(flow, &middles)?;
            let [before, after] = [&found.before, &found.after].map(|errors| largest(errors));
            println!(
                "attack, {what}: largest finite error {before:.2e} before, {after:.2e} after; not finite {} \
                 before, {} after, of {}",
                found.broken_before(),
                found.broken_after(),
                middles.len()
            );
            self.draw(name, what, flow, &middles, &found)?;
        }
        println!("\n");
        Ok(())
    }

    /// Images, the worst inputs near them, and the reconstructions of those.
    fn draw<A>(
        &self,
        name: &str,
        what: &str,
        flow: &Flow<A, f32>,
        data: &Rows<f32>,
        found: &Attacked<f32>,
    ) -> Result
    where
        A: Architecture<f32, Context = Unconditional, Event = Image<3, 8, 8>> + Invertible,
    {
        let mut worst: Vec<usize> = (0..found.after.len()).collect();
        worst.sort_by(|&a, &b| found.after[b].total_cmp(&found.after[a]));
        worst.truncate(10);
        let size = SHAPE.size();
        let row = |rows: &Rows<f32>, i: usize| rows.values()[i * size..(i + 1) * size].to_vec();
        let mut lines = [Vec::new(), Vec::new(), Vec::new()];
        for &i in &worst {
            lines[0].extend(row(data, i));
            lines[1].extend(row(&found.inputs, i));
            let x = Rows::new(row(&found.inputs, i), size)?;
            // A latent that is not finite has no inverse: the picture shows it as broken.
            let back = flow.forward(x.x::<Image<3, 8, 8>>()?).and_then(|(z, _)| flow.inverse(z));
            lines[2].extend(match back {
                Ok((back, _)) => back.as_vec(),
                Err(_) => vec![f32::NAN; size],
            });
        }
        images(self.file(name, what), SHAPE, worst.len(), &lines.concat())?;
        Ok(())
    }

    fn take(&self, rows: &Rows<f32>, count: usize) -> Result<Rows<f32>> {
        let numbers = count.min(rows.len()) * rows.width();
        Ok(Rows::new(rows.values()[..numbers].to_vec(), rows.width())?)
    }

    fn file(&self, name: &str, what: &str) -> PathBuf {
        let name = format!("{name} {what}");
        let words = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        self.folder.join(format!("{}.png", words.join("-")))
    }
}

fn largest(errors: &[f64]) -> f64 {
    errors.iter().copied().filter(|error| error.is_finite()).fold(f64::NAN, f64::max)
}

/// The middle 8 × 8 of each image of Fashion-MNIST, the same in all three channels.
fn clothes() -> Result<Rows<f32>> {
    let levels: Rows<f32> = read_table(shipped_data("fashion-mnist.npy.gz"))?.to_rows()?;
    let middle = |image: &[f32]| -> Vec<f32> {
        (0..64).map(|i| image[(10 + i / 8) * 28 + 10 + i % 8]).collect()
    };
    let rows = levels.values().chunks_exact(28 * 28).take(500);
    Ok(Rows::from_rows(rows.map(|image| middle(image).repeat(3)))?)
}
