//! Where do inverses explode? Trains three deep flows on a checkerboard within [−4, 4]² and looks at
//! them on [−8, 8]²: affine couplings with scales in (0, 1), the same with scales in (0.5, 1), and
//! residual blocks of coefficient 0.8 ("Understanding and mitigating exploding inverses in
//! invertible neural networks", Behrmann et al. 2021, section 4.1.1 and appendix C).
//!
//! ```sh
//! cargo run --release --example exploding_inverse                 # small nets, few steps
//! cargo run --release --example exploding_inverse -- --published  # the paper's: many hours
//! ```
//!
//! The default run is too short and its nets too small for the first flow to break as published; the
//! last lines say what did.

use std::path::PathBuf;
use std::time::Instant;

use flow_core::lipschitz::{Bound, Region};
use flow_core::plot::{heat_map, Heat, Window};
use flow_core::prelude::*;
use flow_core::stability::{self, Amplification, Inputs, PlaneMap};
use flow_core::{Architecture, Cpu, Flow, Invertible, Unconditional};
use flow_examples::{checkerboard, output_folder, Options, Result};

/// The three models, with one net in all their blocks.
macro_rules! models {
    ($size:ident: $($net:tt)*) => {
        mod $size {
            use super::*;

            flow! {
                /// Scales in (0, 1).
                struct Affine: Vector<2> {
                    repeat 50 {
                        affine_coupling(scale = sigmoid(0.0, 1.0), net = $($net)*);
                        affine_coupling(scale = sigmoid(0.0, 1.0), net = $($net)*);
                    }
                }

                /// Scales in (0.5, 1).
                struct Modified: Vector<2> {
                    repeat 50 {
                        affine_coupling(scale = sigmoid(0.5, 1.0), net = $($net)*);
                        affine_coupling(scale = sigmoid(0.5, 1.0), net = $($net)*);
                    }
                }

                /// No block amplifies more than 1.8 times forwards, or 5 times backwards.
                struct Residual: Vector<2> {
                    repeat 100 { residual(lipschitz = 0.8, net = $($net)*, tolerance = 1e-6); }
                }
            }

            pub(super) fn all(study: &Study) -> Result<[Found; 3]> {
                let (cpu, seed) = (Cpu::default(), study.seed);
                let mut affine = Affine::<f32>::build(&cpu, seed)?;
                let mut modified = Modified::<f32>::build(&cpu, seed)?;
                let mut residual = Residual::<f32>::build(&cpu, seed)?;
                Ok([
                    study.examine("affine (0, 1)", &mut affine)?,
                    study.examine("affine (0.5, 1)", &mut modified)?,
                    study.examine("residual 0.8", &mut residual)?,
                ])
            }
        }
    };
}

models!(small: mlp([32, 32], swish));
models!(published: mlp([128, 128, 128, 128], swish));

/// Half the side of the square that the data lie in, and of the square that is looked at.
const DATA: f64 = 4.0;
const SHOWN: f64 = 8.0;

/// A reconstruction that is further off than this is no inverse any more.
const BROKEN: f64 = 0.01;

/// Steps of the default run.
const STEPS: u64 = 2000;

struct Study {
    train: Rows<f32>,
    held_out: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
    cells: usize,
}

/// What becomes of points that are sent forwards and back, on one part of the plane.
struct Part {
    name: &'static str,
    cells: usize,
    non_finite: usize,
    broken: usize,
    median: f64,
    largest: f64,
}

struct Found {
    name: &'static str,
    parts: [Part; 2],
}

fn main() -> Result {
    let options = Options::read_with_switches(&["steps", "seed", "cells"], &["published"])?;
    let published = options.switched("published");
    let (steps, batch) = if published { (50_000, 500) } else { (STEPS, 250) };
    let seed = options.get("seed")?.unwrap_or(0);
    let mut noise = Noise::seed(seed);
    let study = Study {
        train: checkerboard(100_000, &noise.split())?,
        held_out: checkerboard(10_000, &noise.split())?,
        folder: output_folder("exploding_inverse")?,
        seed,
        steps: options.get("steps")?.unwrap_or(steps),
        batch,
        cells: options.get("cells")?.unwrap_or(100),
    };
    let found = if published { published::all(&study)? } else { small::all(&study)? };
    for Found { name, parts: [_, outside] } in &found {
        let Part { cells, broken, largest, .. } = outside;
        println!(
            "{name}: outside the data the inverse is lost (not finite, or off by more than {BROKEN}) \
             at {broken} of {cells} points; the largest finite error is {largest:.1e}"
        );
    }
    println!("wrote the maps to {}", study.folder.display());
    Ok(())
}

impl Study {
    fn examine<A>(&self, name: &'static str, flow: &mut Flow<A, f32>) -> Result<Found>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>> + Invertible,
    {
        let start = Instant::now();
        Trainer::new(Adam { weight_decay: 1e-5, ..Adam::new(1e-3) })
            .batch_size(self.batch)
            .steps(self.steps)
            .clip(Clip::Norm(5.0))
            .seed(self.seed)
            .silent()
            .fit(flow, &self.train)?;
        let seconds = start.elapsed().as_secs_f64();
        let fit = evaluate(flow, &self.held_out)?;
        println!(
            "{name}: {} steps in {seconds:.0} s, held out {:.3} ± {:.3} nats",
            self.steps, fit.mean, fit.standard_error
        );

        // The bounds of the square that is looked at go into the titles.
        self.bounds("on the data's square", flow, DATA)?;
        let [forward, inverse] = self.bounds("on the square shown", flow, SHOWN)?;

        let window = Window::square(SHOWN);
        let density = PlaneMap::density(flow, window, self.cells)?;
        let title = format!("{name}, density; forward {forward}");
        let path = self.file(name, "density");
        heat_map(path, &title, window, Heat::Logarithmic, self.cells, &density.values)?;

        let map = PlaneMap::reconstruction_error(flow, window, self.cells)?;
        map.draw(self.file(name, "reconstruction"), &format!("{name}, error; inverse {inverse}"))?;
        let parts = [
            self.part("inside the data's square", &map, |inside| inside),
            self.part("outside", &map, |inside| !inside),
        ];
        for Part { name, cells, non_finite, broken, median, largest } in &parts {
            println!(
                "  {name:<24} reconstruction error: median {median:.1e}, largest finite {largest:.1e}; \
                 of {cells} points {non_finite} not finite, {broken} lost"
            );
        }
        println!(
            "  density not finite at {} of {} points\n",
            density.non_finite(),
            density.values.len()
        );
        Ok(Found { name, parts })
    }

    /// Certified and observed amplification on a square, forwards and backwards.
    fn bounds<A>(&self, what: &str, flow: &Flow<A, f32>, half: f64) -> Result<[String; 2]>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>> + Invertible,
    {
        let certified = flow.bilipschitz(&Region::cube(-half, half).subdivided(64))?;
        let noise = Noise::seed(self.seed).named("observed");
        let rows = Inputs::Uniform.rows(1000, 2, (-half, half), &noise)?;
        let observed = stability::observed(flow, &rows)?;
        let both = [
            between(certified.forward, observed.forward),
            between(certified.inverse, observed.inverse),
        ];
        println!("  {what:<24} forward {}; inverse {}", both[0], both[1]);
        Ok(both)
    }

    fn part(&self, name: &'static str, map: &PlaneMap, wanted: impl Fn(bool) -> bool) -> Part {
        let middle = |i: usize| SHOWN * ((2 * i + 1) as f64 / self.cells as f64 - 1.0);
        let inside = |i: usize| {
            [i % self.cells, i / self.cells].into_iter().all(|side| middle(side).abs() <= DATA)
        };
        let cells = map.values.iter().enumerate().filter(|(i, _)| wanted(inside(*i)));
        let errors: Vec<f64> = cells.map(|(_, error)| *error).collect();
        let mut finite: Vec<f64> = errors.iter().copied().filter(|e| e.is_finite()).collect();
        finite.sort_unstable_by(f64::total_cmp);
        let non_finite = errors.len() - finite.len();
        Part {
            name,
            cells: errors.len(),
            non_finite,
            broken: non_finite + finite.iter().filter(|error| **error > BROKEN).count(),
            median: finite.get(finite.len() / 2).copied().unwrap_or(f64::NAN),
            largest: finite.last().copied().unwrap_or(f64::NAN),
        }
    }

    fn file(&self, name: &str, what: &str) -> PathBuf {
        let text = format!("{name} {what}");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        self.folder.join(format!("{}.png", words.join("-")))
    }
}

/// What was seen, which a Lipschitz constant cannot be below, and what is certified.
fn between(certified: Bound, observed: Option<Amplification>) -> String {
    let seen = match observed {
        Some(seen) => format!("≥ {} seen", power(seen.lower_bound().log10())),
        None => "nothing finite seen".into(),
    };
    let certified = match certified.exists() {
        true => format!("≤ {} certified", power(certified.log / std::f64::consts::LN_10)),
        false => "no bound certified".into(),
    };
    format!("{seen}, {certified}")
}

/// A number by its decimal logarithm, which may be beyond an `f64`.
fn power(log: f64) -> String {
    match log {
        log if log.abs() < 4.0 => format!("{:.3}", 10f64.powf(log)),
        log => format!("10^{log:.1}"),
    }
}
