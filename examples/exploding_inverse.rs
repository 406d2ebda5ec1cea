//! Where do inverses explode? Trains three deep flows on a checkerboard within [−4, 4]² and looks at
//! them on [−8, 8]²: affine couplings with scales in (0, 1), the same with scales in (0.5, 1), and
//! residual blocks of coefficient 0.8 ("Understanding and mitigating exploding inverses in
//! invertible neural networks", Behrmann et al. 2021, section 4.1.1 and appendix C).
//!
//! ```sh
//! cargo run --release --example exploding_inverse                 # about ten minutes
//! cargo run --release --example exploding_inverse -- --published  # the paper's size: many hours
//! ```
//!
//! `--only 0`, `1` or `2` is for one of the three models, and `--trained` for those that earlier runs
//! have trained.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flow_core::lipschitz::Region;
use flow_core::plot::{panels, Column, Heat, PanelRow, Window};
use flow_core::prelude::*;
use flow_core::stability::{self, Inputs, PlaneMap, SingularValue};
use flow_core::{Architecture, Cpu, Flow, Invertible, Unconditional};
use flow_examples::{checkerboard, output_folder, Options, Result};

/// The three models: affine ones with one net in all their blocks, and a residual one.
macro_rules! models {
    ($size:ident: $affine:ident($($sizes:tt)*), $($residual:tt)*) => {
        mod $size {
            use super::*;

            flow! {
                /// Scales in (0, 1).
                struct Affine: Vector<2> {
                    repeat 50 {
                        affine_coupling(scale = sigmoid(0.0, 1.0), net = $affine($($sizes)*));
                        affine_coupling(scale = sigmoid(0.0, 1.0), net = $affine($($sizes)*));
                    }
                }

                /// Scales in (0.5, 1).
                struct Modified: Vector<2> {
                    repeat 50 {
                        affine_coupling(scale = sigmoid(0.5, 1.0), net = $affine($($sizes)*));
                        affine_coupling(scale = sigmoid(0.5, 1.0), net = $affine($($sizes)*));
                    }
                }

                /// No block amplifies more than 1.8 times forwards, or 5 times backwards.
                struct Residual: Vector<2> {
                    repeat 100 { residual(lipschitz = 0.8, net = $($residual)*, tolerance = 1e-6); }
                }
            }

            pub(super) fn all(study: &Study) -> Result<Vec<Found>> {
                let (cpu, seed, mut found) = (Cpu::default(), study.seed, Vec::new());
                if study.wants(0) {
                    let mut affine = Affine::<f32>::build(&cpu, seed)?;
                    found.push(study.examine(0, &mut affine)?);
                }
                if study.wants(1) {
                    let mut modified = Modified::<f32>::build(&cpu, seed)?;
                    found.push(study.examine(1, &mut modified)?);
                }
                if study.wants(2) {
                    let mut residual = Residual::<f32>::build(&cpu, seed)?;
                    found.push(study.examine(2, &mut residual)?);
                }
                Ok(found)
            }
        }
    };
}

models!(small: mlp([128, 128, 128, 128], swish), mlp([64, 64], swish));
models!(published: mlp([128, 128, 128, 128], swish), mlp([128, 128, 128, 128], swish));

const NAMES: [&str; 3] =
    ["affine, scales in (0, 1)", "affine, scales in (0.5, 1)", "residual, coefficient 0.8"];

/// Half the side of the square that the data lie in, and of the square that is looked at.
const DATA: f64 = 4.0;
const SHOWN: f64 = 8.0;

/// A reconstruction that is further off than this is no inverse any more.
const BROKEN: f64 = 0.01;

/// Random points whose surroundings are bounded too, and half the side of the box around each.
const POINTS: usize = 16;
const NEAR: f64 = 1e-4;

/// Steps after which a model is looked at on its way.
const LOOKS: [u64; 4] = [100, 300, 1_000, 10_000];

struct Study {
    train: Rows<f32>,
    held_out: Rows<f32>,
    folder: PathBuf,
    seed: u64,
    steps: u64,
    batch: usize,
    cells: usize,
    only: Option<usize>,
    trained: bool,
}

/// What becomes of points that are sent forwards and back, on one part of the plane.
struct Part {
    cells: usize,
    non_finite: usize,
    lost: usize,
    median: f64,
    largest: f64,
}

struct Found {
    row: PanelRow,
    outside: Part,
}

fn main() -> Result {
    let names = ["steps", "seed", "cells", "batch", "only"];
    let options = Options::read_with_switches(&names, &["published", "trained"])?;
    let published = options.switched("published");
    let (steps, batch) = if published { (50_000, 500) } else { (1_000, 64) };
    let seed = options.get("seed")?.unwrap_or(0);
    let mut noise = Noise::seed(seed);
    let study = Study {
        train: checkerboard(100_000, &noise.split())?,
        held_out: checkerboard(10_000, &noise.split())?,
        folder: output_folder("exploding_inverse")?,
        seed,
        steps: options.get("steps")?.unwrap_or(steps),
        batch: options.get("batch")?.unwrap_or(batch),
        cells: options.get("cells")?.unwrap_or(100),
        only: options.get("only")?,
        trained: options.switched("trained"),
    };
    let found = if published { published::all(&study)? } else { small::all(&study)? };
    for Found { row, outside: Part { cells, lost, largest, .. } } in &found {
        println!(
            "{}: outside the data the inverse is lost (not finite, or off by more than {BROKEN}) at \
             {lost} of {cells} points; the largest finite error is {largest:.1e}",
            row.name
        );
    }
    let column = |name: &str, heat, range| Column { name: name.into(), heat, range };
    let columns = [
        column("density", Heat::Linear, Some((0.0, 0.05))),
        column("reconstruction error", Heat::Logarithmic, Some((1e-8, 1.0))),
    ];
    let rows: Vec<PanelRow> = found.into_iter().map(|found| found.row).collect();
    let path = study.folder.join("panels.png");
    panels(&path, Window::square(SHOWN), study.cells, &columns, &rows)?;
    println!("wrote {}", path.display());
    Ok(())
}

impl Study {
    fn wants(&self, model: usize) -> bool {
        self.only.is_none_or(|only| only == model)
    }

    fn examine<A>(&self, model: usize, flow: &mut Flow<A, f32>) -> Result<Found>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>> + Invertible,
    {
        println!("{}", NAMES[model]);
        let weights = self.folder.join(format!("model-{model}.safetensors"));
        if self.trained {
            flow.load_weights(&weights)?;
        } else {
            self.train_and_look(model, flow)?;
            flow.save(&weights)?;
        }
        let fit = evaluate(flow, &self.held_out)?;
        println!("  held out {:.3} ± {:.3} nats", fit.mean, fit.standard_error);

        let noise = Noise::seed(self.seed).named("observed");
        let rows = |count: usize, half: f64| Inputs::Uniform.rows(count, 2, (-half, half), &noise);
        let square = |half: f64| vec![Region::cube(-half, half).subdivided(64)];
        self.bounds("on the data's square", flow, &square(DATA), &rows(1000, DATA)?)?;
        // What goes into the picture.
        let far = self.bounds("on the square shown", flow, &square(SHOWN), &rows(1000, SHOWN)?)?;
        let points = rows(POINTS, SHOWN)?;
        let around = |x: &[f32]| {
            let side = |by: f64| x.iter().map(|&v| f64::from(v) + by).collect::<Vec<_>>();
            Region::cuboid(side(-NEAR), side(NEAR))
        };
        let boxes: Vec<Region> = points.values().chunks_exact(2).map(around).collect();
        let near = self.bounds(&format!("near {POINTS} of its points"), flow, &boxes, &points)?;

        let window = Window::square(SHOWN);
        let density = PlaneMap::density(flow, window, self.cells)?;
        let map = PlaneMap::reconstruction_error(flow, window, self.cells)?;
        let (inside, outside) = (self.part(&map, true), self.part(&map, false));
        println!("  inside the data's square: {}", inside.line());
        println!("  outside                 : {}", outside.line());
        println!(
            "  density not finite at {} of {} points\n",
            density.non_finite(),
            density.values.len(),
        );
        let notes = vec![
            format!("how much an error grows on this square: forwards {}; backwards {}", far[0], far[1]),
            format!(
                "within {NEAR} of {POINTS} random points of it: forwards {}; backwards {}",
                near[0], near[1]
            ),
            format!(
                "outside the data's square, [−{DATA}, {DATA}]²: lost (not finite, or off by more than \
                 {BROKEN}) at {} of {} points",
                outside.lost, outside.cells
            ),
        ];
        let row =
            PanelRow { name: NAMES[model].into(), notes, maps: vec![density.values, map.values] };
        Ok(Found { row, outside })
    }

    /// Trains a model, and says on its way what has become of its inverse.
    fn train_and_look<A>(&self, model: usize, flow: &mut Flow<A, f32>) -> Result
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>> + Invertible,
    {
        let checkpoint = self.folder.join(format!("model-{model}.checkpoint"));
        forget(&checkpoint)?;
        let mut seconds = 0.0;
        for look in LOOKS.into_iter().filter(|look| *look < self.steps).chain([self.steps]) {
            let start = Instant::now();
            // Each look goes on where the last one ended.
            let ended = Trainer::new(Adam { weight_decay: 1e-5, ..Adam::new(1e-3) })
                .batch_size(self.batch)
                .steps(self.steps)
                .checkpoint(&checkpoint)
                .checkpoint_every(self.steps)
                .resume()
                .seed(self.seed)
                .silent()
                .watch(move |record| match record.step >= look {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
                .fit(flow, &self.train);
            seconds += start.elapsed().as_secs_f64();
            let map = PlaneMap::reconstruction_error(flow, Window::square(SHOWN), self.cells)?;
            let outside = self.part(&map, false);
            println!("  {look:>6} steps, {seconds:>5.0} s; outside the data {}", outside.line());
            // A likelihood that is no longer finite is a way to break, too.
            if let Err(error @ FlowError::Diverged { .. }) = ended {
                println!("  {error}");
                break;
            }
            ended?;
        }
        forget(&checkpoint)
    }

    /// The largest amplification on some regions, forwards and backwards: certified, and seen at
    /// points of them.
    fn bounds<A>(
        &self,
        what: &str,
        flow: &Flow<A, f32>,
        regions: &[Region],
        points: &Rows<f32>,
    ) -> Result<[String; 2]>
    where
        A: Architecture<f32, Context = Unconditional, Event = Vector<2>> + Invertible,
    {
        let mut certified = [f64::NEG_INFINITY; 2];
        for region in regions {
            let bounds = flow.bilipschitz(region)?;
            certified[0] = certified[0].max(bounds.forward.log);
            certified[1] = certified[1].max(bounds.inverse.log);
        }
        let observed = stability::observed(flow, points)?;
        let both =
            [between(certified[0], observed.forward), between(certified[1], observed.inverse)];
        println!("  {what:<24} forward {}; inverse {}", both[0], both[1]);
        Ok(both)
    }

    fn part(&self, map: &PlaneMap, wanted: bool) -> Part {
        let middle = |i: usize| SHOWN * ((2 * i + 1) as f64 / self.cells as f64 - 1.0);
        let inside = |i: usize| {
            [i % self.cells, i / self.cells].into_iter().all(|side| middle(side).abs() <= DATA)
        };
        let cells = map.values.iter().enumerate().filter(|(i, _)| inside(*i) == wanted);
        let errors: Vec<f64> = cells.map(|(_, error)| *error).collect();
        let mut finite: Vec<f64> = errors.iter().copied().filter(|e| e.is_finite()).collect();
        finite.sort_unstable_by(f64::total_cmp);
        let non_finite = errors.len() - finite.len();
        Part {
            cells: errors.len(),
            non_finite,
            lost: non_finite + finite.iter().filter(|error| **error > BROKEN).count(),
            median: finite.get(finite.len() / 2).copied().unwrap_or(f64::NAN),
            largest: finite.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl Part {
    fn line(&self) -> String {
        let Self { cells, non_finite, lost, median, largest } = self;
        format!(
            "lost at {lost} of {cells} points, {non_finite} of them not finite; finite errors: median \
             {median:.1e}, largest {largest:.1e}"
        )
    }
}

/// Removes what an interrupted run left behind.
fn forget(checkpoint: &Path) -> Result {
    match std::fs::remove_file(checkpoint) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// What was seen, which a Lipschitz constant cannot be below, and what is certified, by its natural
/// logarithm.
fn between(certified: f64, observed: Option<SingularValue>) -> String {
    let seen = match observed {
        Some(seen) => format!("≥ {} seen", power(seen.lower_bound().log10())),
        None => "nothing finite seen".into(),
    };
    let certified = match certified < f64::INFINITY {
        true => format!("≤ {} certified", power(certified / std::f64::consts::LN_10)),
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
