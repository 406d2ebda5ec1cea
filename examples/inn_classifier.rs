//! Classifiers that are invertible up to their last layer: do their inverses survive the training?
//! Additive and affine couplings, with permutations and with 1 × 1 convolutions between them, each
//! trained alone, with finite differences of both directions (FD), and with the likelihood at a small
//! weight (NF) ("Understanding and mitigating exploding inverses in invertible neural networks",
//! Behrmann et al. 2021, section 4.2 and appendix G, tables 8 to 11), here on Fashion-MNIST.
//!
//! ```sh
//! cargo run --release --example inn_classifier                 # 1,000 images, narrow nets
//! cargo run --release --example inn_classifier -- --published  # the paper's sizes: days
//! ```
//!
//! `--model affine` trains only the models with that in their name, `--regulariser FD` only with that
//! regulariser (`none`, `FD` or `NF`).
//!
//! `scripts/fetch-data fashion-mnist` gets 60,000 images and their labels for
//! `-- --images data/fashion-mnist-train.npy --labels data/fashion-mnist-train-labels.npy`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dfdx::prelude::{
    cross_entropy_with_logits_loss, BatchNorm1D, BuildOnDevice, Cpu, DeviceBuildExt, Linear,
    Module, ModuleMut, ReLU,
};
use flow_core::io::read_table;
use flow_core::objective::{BatchPass, FiniteDifferences, Likelihood, Objectives};
use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::stability::{Examination, Report};
use flow_core::{Architecture, Flow, Image, Invertible, Unconditional};
use flow_examples::{output_folder, shipped_data, Options, Result};

/// The side of an image, and its numbers.
const SIDE: usize = 24;
const SIZE: usize = SIDE * SIDE;
const CLASSES: usize = 10;

/// Three levels, of blocks that `$mix` and `$coupling` make up.
macro_rules! model {
    ($name:ident: $($block:tt)*) => {
        flow! {
            struct $name<const BLOCKS: usize, const HIDDEN: usize>: Image<1, 24, 24> {
                squeeze(2);
                repeat BLOCKS { actnorm; $($block)* }
                squeeze(2);
                repeat BLOCKS { actnorm; $($block)* }
                squeeze(2);
                repeat BLOCKS { actnorm; $($block)* }
                flatten;
            }
        }
    };
}

model!(AdditiveShuffle:
    permute(shuffle(seed = 1));
    additive_coupling(keep = first, net = conv([3, 1, 3], hidden = HIDDEN, relu)););
model!(AdditiveConv:
    conv1x1(lu);
    additive_coupling(keep = first, net = conv([3, 1, 3], hidden = HIDDEN, relu)););
model!(AffineShuffle:
    permute(shuffle(seed = 1));
    affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = conv([3, 1, 3], hidden = HIDDEN, relu)););
model!(AffineConv:
    conv1x1(lu);
    affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = conv([3, 1, 3], hidden = HIDDEN, relu)););

/// What stands between the latents and the classes.
type Head = (BatchNorm1D<SIZE>, ReLU, Linear<SIZE, CLASSES>);

type Models<A> = (Flow<A, f32>, <Head as BuildOnDevice<Cpu, f32>>::Built);

/// A flow's blocks, by its type.
type BlocksOf<F> = <F as NormalizingFlow>::Architecture;

/// What keeps the inverse.
#[derive(Clone, Copy, PartialEq)]
enum Regulariser {
    None,
    Differences,
    Likelihood,
}

struct Study {
    train: Rows<f32>,
    held_out: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
    rate: f64,
    differences: f64,
    differences_every: u64,
    likelihood: f64,
    regulariser: Option<String>,
    measurements: u64,
}

/// What became of one model.
struct Found {
    accuracy: f64,
    report: Report,
    condition: Vec<(f64, f64)>,
    training: Duration,
}

fn main() -> Result {
    let names = [
        "steps",
        "seed",
        "batch",
        "rate",
        "fd",
        "fd-every",
        "nf",
        "images",
        "labels",
        "measurements",
        "model",
        "regulariser",
    ];
    let options = Options::read_with_switches(&names, &["published"])?;
    let published = options.switched("published");
    let seed = options.get("seed")?.unwrap_or(0);
    let file = |name, shipped| -> Result<PathBuf> {
        Ok(options.get(name)?.unwrap_or_else(|| shipped_data(shipped)))
    };
    let data = pictures(
        &file("images", "fashion-mnist.npy.gz")?,
        &file("labels", "fashion-mnist-labels.npy.gz")?,
    )?;
    let held_out = if data.len() > 10_000 { 0.1 } else { 1.0 / 3.0 };
    let (train, held_out) = data.split(held_out, &mut Noise::seed(seed).named("split"))?;
    println!("{} images to learn, {} held out", train.len(), held_out.len());
    let (steps, batch, rate) = if published { (80_000, 128, 1e-4) } else { (150, 64, 5e-3) };
    let study = Study {
        train,
        held_out,
        folder: output_folder("inn_classifier")?,
        seed,
        steps: options.get("steps")?.unwrap_or(steps),
        batch: options.get("batch")?.unwrap_or(batch),
        rate: options.get("rate")?.unwrap_or(rate),
        differences: options.get("fd")?.unwrap_or(0.05),
        differences_every: options.get("fd-every")?.unwrap_or(5),
        regulariser: options.get("regulariser")?,
        likelihood: options.get("nf")?.unwrap_or(1e-4),
        measurements: options.get("measurements")?.unwrap_or(3),
    };
    println!(
        "FD: finite differences of both directions at the weight {} every {} steps\n\
         NF: the likelihood at the weight {:e}\n\
         reconstruction: the farthest of 100 held-out images from what the inverse makes of its latent\n\
         condition, σ: the extreme condition number and singular values of two images' Jacobians\n\
         time: of the training, over that without a regulariser\n",
        study.differences, study.differences_every, study.likelihood
    );
    println!(
        "{:<30} {:<4} {:>9} {:>20} {:>10} {:>9} {:>9} {:>9}",
        "model", "reg.", "accuracy", "reconstruction", "condition", "σ min", "σ max", "time"
    );
    let model: Option<String> = options.get("model")?;
    let wanted = |name: &str| model.as_ref().is_none_or(|model| name.contains(model.as_str()));
    macro_rules! all {
        ($blocks:literal, $hidden:literal) => {
            if wanted("additive, permutation") {
                study.compare::<BlocksOf<AdditiveShuffle<$blocks, $hidden>>>(
                    "additive, permutation",
                )?;
            }
            if wanted("additive, 1 × 1 convolution") {
                study.compare::<BlocksOf<AdditiveConv<$blocks, $hidden>>>(
                    "additive, 1 × 1 convolution",
                )?;
            }
            if wanted("affine, permutation") {
                study
                    .compare::<BlocksOf<AffineShuffle<$blocks, $hidden>>>("affine, permutation")?;
            }
            if wanted("affine, 1 × 1 convolution") {
                study.compare::<BlocksOf<AffineConv<$blocks, $hidden>>>(
                    "affine, 1 × 1 convolution",
                )?;
            }
        };
    }
    if published {
        all!(16, 128);
    } else {
        all!(4, 16);
    }
    println!("wrote pictures to {}", study.folder.display());
    Ok(())
}

/// The middle of each image with mean 0 and variance 1, and its class as ten numbers, of which one
/// is 1.
fn pictures(images: &PathBuf, labels: &PathBuf) -> Result<Rows<f32>> {
    const WHOLE: usize = 28;
    const MARGIN: usize = (WHOLE - SIDE) / 2;
    let levels: Rows<f32> = read_table(images)?.to_rows()?;
    if levels.width() != WHOLE * WHOLE {
        return Err(format!("an image has {} numbers, expected 28 × 28", levels.width()).into());
    }
    let mut x = Vec::with_capacity(levels.len() * SIZE);
    for image in levels.values().chunks_exact(WHOLE * WHOLE) {
        for row in image.chunks_exact(WHOLE).skip(MARGIN).take(SIDE) {
            x.extend_from_slice(&row[MARGIN..][..SIDE]);
        }
    }
    let mean = x.iter().sum::<f32>() / x.len() as f32;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / x.len() as f32;
    x.iter_mut().for_each(|v| *v = (*v - mean) / variance.sqrt());

    let labels: Rows<f32> = read_table(labels)?.to_rows()?;
    if labels.len() != levels.len() || labels.values().iter().any(|&v| v >= CLASSES as f32) {
        return Err(
            format!("expected a label from 0 to 9 for each of {} images", levels.len()).into()
        );
    }
    let one_hot = labels.values().iter().flat_map(|&label| {
        (0..CLASSES).map(move |class| f32::from(u8::from(class == label as usize)))
    });
    Ok(Rows::new(x, SIZE)?.given(one_hot.collect(), CLASSES)?)
}

impl Study {
    /// Trains a model alone, with finite differences, and with the likelihood.
    fn compare<A>(&self, name: &str) -> Result
    where
        A: Architecture<
                f32,
                Context = Unconditional,
                Event = Image<1, SIDE, SIDE>,
                Latent = Vector<SIZE>,
            > + Invertible,
    {
        let mut drawn = Vec::new();
        let mut alone = None;
        for (short, regulariser) in [
            ("none", Regulariser::None),
            ("FD", Regulariser::Differences),
            ("NF", Regulariser::Likelihood),
        ] {
            if self.regulariser.as_ref().is_some_and(|only| only != short) {
                continue;
            }
            let found = match self.train::<A>(regulariser) {
                Ok(found) => found,
                // What can no longer be trained is a result too.
                Err(error @ FlowError::Diverged { .. }) => {
                    println!("{name:<30} {short:<4} {error}");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let time = found.training.as_secs_f64();
            let ratio = time / *alone.get_or_insert(time);
            line(name, short, &found, ratio);
            let curve = found.condition.iter().map(|&(step, condition)| (step, condition.log10()));
            drawn.push(Curve::new(short, curve));
        }
        let words: Vec<&str> =
            name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let path = self.folder.join(format!("{}.png", words.join("-")));
        let title = format!("{name}: largest condition number of a Jacobian");
        curves(path, &title, ["step", "log10 of the condition number"], &drawn)?;
        Ok(())
    }

    fn train<A>(&self, regulariser: Regulariser) -> Result<Found, FlowError>
    where
        A: Architecture<
                f32,
                Context = Unconditional,
                Event = Image<1, SIDE, SIDE>,
                Latent = Vector<SIZE>,
            > + Invertible,
    {
        let cpu = Cpu::default();
        let mut flow = Flow::<A, f32>::build(&cpu, self.seed)?;
        let first = &self.train.values()[..256.min(self.train.len()) * SIZE];
        flow.initialize(Rows::new(first.to_vec(), SIZE)?.x::<Image<1, SIDE, SIDE>>()?)?;
        let mut models: Models<A> = (flow, cpu.build_module::<Head, f32>());
        let objectives = match regulariser {
            Regulariser::None => Objectives::new(),
            Regulariser::Differences => {
                let (every, differences) = (self.differences_every, FiniteDifferences::default());
                Objectives::new().plus_every(every, self.differences, differences)
            }
            Regulariser::Likelihood => Objectives::new().plus(self.likelihood, Likelihood),
        };
        let every = (self.steps / self.measurements.max(1)).max(1);
        let (mut condition, mut measuring) = (Vec::new(), Duration::ZERO);
        let start = Instant::now();
        let trainer = Trainer::new(Adam::new(self.rate))
            .schedule(Schedule::Cosine)
            .warm_up(self.steps / 5)
            .clip(Clip::Norm(1.0))
            .batch_size(self.batch)
            .steps(self.steps)
            .seed(self.seed)
            .silent();
        trainer.fit_steps(&mut models, &self.train, |models, batch, gradients, step| {
            let (flow, head) = models;
            if step.is_due(every) {
                let start = Instant::now();
                let report = self.examine(flow)?;
                condition.push((step.index() as f64, report.jacobian.condition.worst()));
                measuring += start.elapsed();
            }
            let x = batch.x::<Image<1, SIDE, SIDE>>()?;
            let own = |pass: &BatchPass<'_, A, f32>| {
                let logits = head.forward_mut(pass.forward()?.0);
                Ok(cross_entropy_with_logits_loss(logits, batch.context::<CLASSES>()?))
            };
            objectives.loss_beside(&*flow, x, step, gradients, own)
        })?;
        let training = start.elapsed() - measuring;
        let report = self.examine(&models.0)?;
        condition.push((self.steps as f64, report.jacobian.condition.worst()));
        Ok(Found { accuracy: self.accuracy(&models)?, report, condition, training })
    }

    /// The share of held-out images whose class is found.
    fn accuracy<A>(&self, (flow, head): &Models<A>) -> Result<f64, FlowError>
    where
        A: Architecture<
            f32,
            Context = Unconditional,
            Event = Image<1, SIDE, SIDE>,
            Latent = Vector<SIZE>,
        >,
    {
        let (z, _) = flow.forward(self.held_out.x::<Image<1, SIDE, SIDE>>()?)?;
        let logits = head.forward(z).as_vec();
        let best = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let classes = self.held_out.context_values().chunks_exact(CLASSES);
        let right = logits.chunks_exact(CLASSES).zip(classes).filter(|(a, b)| best(a) == best(b));
        Ok(right.count() as f64 / self.held_out.len() as f64)
    }

    /// Reconstructions of 100 held-out images, and the Jacobians of two.
    fn examine<A>(&self, flow: &Flow<A, f32>) -> Result<Report, FlowError>
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        let some = &self.held_out.values()[..100.min(self.held_out.len()) * SIZE];
        let some = Rows::new(some.to_vec(), SIZE)?;
        Examination::default().passes(1).samples(1).jacobians(2).run(flow, &some)
    }
}

fn line(name: &str, regulariser: &str, found: &Found, ratio: f64) {
    let (errors, jacobian) = (found.report.data.once(), &found.report.jacobian);
    let error = match errors.non_finite {
        0 => format!("{:.1e}", errors.worst()),
        lost => format!("{lost} of 100 not finite"),
    };
    let smallest = jacobian.smallest.finite.as_ref().map_or(f64::NAN, |s| s.smallest());
    println!(
        "{name:<30} {regulariser:<4} {:>8.1}% {error:>20} {:>10.1e} {smallest:>9.1e} {:>9.1e} {ratio:>8.2}×",
        100.0 * found.accuracy,
        jacobian.condition.worst(),
        jacobian.largest.worst(),
    );
}
