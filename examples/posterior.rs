//! Learns the posterior of a simulator's parameters, and compares it with a reference.
//!
//! ```sh
//! cargo run --release --example posterior
//! ```
//!
//! The simulator is "two moons" of the benchmark sbibm (Lueckmann et al. 2021, "Benchmarking
//! simulation-based inference", task T.8): two parameters, even on [−1, 1]², of which an observation
//! shows little enough that the posterior has two crescents, a hundredth wide. A conditional flow
//! sees parameters and observations, both simulated anew in each step, and learns the density of
//! the parameters given any observation (neural posterior estimation). For ten observations its
//! samples are compared with the benchmark's own, drawn in closed form.

use std::f64::consts::PI;
use std::time::Instant;

use dfdx::prelude::{Const, TensorFromVec};
use flow_core::io::read_table;
use flow_core::plot::{clouds, Cloud, Window};
use flow_core::prelude::*;
use flow_core::Cpu;
use flow_examples::two_sample::{c2st, median_distance, mmd};
use flow_examples::{output_folder, shipped_data, Options, Result};

flow! {
    /// The parameters given an observation.
    pub struct Posterior: Vector<2> given Vector<2> {
        repeat 4 {
            affine_coupling(scale = tanh(2.0), net = mlp([64, 64], relu));
            affine_coupling(scale = tanh(2.0), net = mlp([64, 64], relu));
            spline_coupling(bins = 12, bound = 4.0, net = mlp([64, 64], relu));
            spline_coupling(bins = 12, bound = 4.0, net = mlp([64, 64], relu));
            linear(lu);
        }
    }
}

fn main() -> Result {
    let options = Options::read(&["steps", "observations", "seed"])?;
    let steps = options.get("steps")?.unwrap_or(12_000);
    let observations = options.get("observations")?.unwrap_or(10).clamp(1, 10);
    let seed = options.get("seed")?.unwrap_or(0);

    let mut flow = Posterior::<f32>::build(&Cpu::default(), seed)?;
    println!("{}\n", flow.summary());
    let noise = Noise::seed(seed).named("simulations");
    let started = Instant::now();
    Trainer::new(Adam::new(1e-3))
        .schedule(Schedule::Cosine)
        .warm_up(200.min(steps / 10))
        .clip(Clip::Norm(5.0))
        .average(0.999)
        .steps(steps)
        .fit(&mut flow, (0..steps).map(|step| simulations(512, &noise.at(step))))?;
    println!("{steps} steps in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);

    let observed = read_table(shipped_data("two-moons.csv"))?;
    let reference = read_table(shipped_data("two-moons-posterior.npy"))?;
    let folder = output_folder("posterior")?;
    println!("\n            flow and reference     halves of the reference");
    println!("observation  C2ST     MMD²          C2ST     MMD²        outside the prior");
    let mut sums = [0.0; 4];
    for k in 0..observations {
        let x = [0, 1].map(|column| observed.row(k)[column] as f32);
        let want: Vec<f32> = (0..reference.rows())
            .flat_map(|row| [0, 1].map(|column| reference.row(row)[2 * k + column] as f32))
            .collect();
        let mut noise = Noise::seed(seed).named("samples").at(k as u64);
        let (found, outside) = sample(&flow, x, want.len() / 2, &mut noise)?;
        let sigma = median_distance(&want, 2)?;
        let (first, second) = want.split_at(want.len() / 2);
        let row = [
            c2st(&want, &found, seed)?,
            mmd(&want, &found, 2, sigma)?,
            c2st(first, second, seed)?,
            mmd(first, second, 2, sigma)?,
        ];
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        print_row(&(k + 1).to_string(), row, &format!("{:.2} %", 100.0 * outside));
        let both = [Cloud::new("reference", &want[..]), Cloud::new("flow", &found[..])];
        let title = format!("posterior of observation {}", k + 1);
        let path = folder.join(format!("observation-{}.png", k + 1));
        let mut window = Window::around(&want);
        // Room for the legend.
        window.y.1 += 0.12 * (window.y.1 - window.y.0);
        clouds(path, &title, window, &both)?;
    }
    print_row("mean", sums.map(|sum| sum / observations as f64), "");
    println!("\nC2ST is 0.5 and MMD² is 0 on average where two samples have one distribution");
    println!("wrote a picture of each observation to {}", folder.display());
    Ok(())
}

fn print_row(name: &str, [accuracy, discrepancy, half, half_discrepancy]: [f64; 4], end: &str) {
    println!(
        "{name:>11}  {accuracy:.4}  {discrepancy:>9.6}      {half:.4}  {half_discrepancy:>9.6}      {end}"
    );
}

/// Parameters from the prior, each given what the simulator shows of them.
fn simulations(rows: u64, noise: &Noise) -> Result<Rows<f32>, FlowError> {
    let (mut theta, mut x) = (Vec::new(), Vec::new());
    for i in 0..rows {
        let pair = [2 * i, 2 * i + 1].map(|i| 2.0 * noise.uniform(i) - 1.0);
        theta.extend(pair.map(|v| v as f32));
        x.extend(simulate(pair, &noise.named("simulator"), i).map(|v| v as f32));
    }
    Rows::new(theta, 2)?.given(x, 2)
}

/// A point on a half circle with a fuzzy radius, moved by the parameters: along one diagonal by
/// their sum, whose sign is lost, and along the other by their difference.
fn simulate([first, second]: [f64; 2], noise: &Noise, index: u64) -> [f64; 2] {
    let angle = PI * (noise.uniform(index) - 0.5);
    let radius = 0.1 + 0.01 * noise.named("radius").normal(index);
    [
        radius * angle.cos() + 0.25 - (first + second).abs() / 2f64.sqrt(),
        radius * angle.sin() + (second - first) / 2f64.sqrt(),
    ]
}

/// Samples of the flow given an observation, and the share of them that the prior rules out, which
/// are drawn again.
fn sample(
    flow: &Posterior<f32>,
    x: [f32; 2],
    rows: usize,
    noise: &mut Noise,
) -> Result<(Vec<f32>, f64)> {
    let x = Cpu::default().tensor_from_vec(x.to_vec(), (1, Const::<2>));
    let posterior = flow.given(x);
    let (mut samples, mut drawn) = (Vec::new(), 0);
    while samples.len() < 2 * rows {
        let missing = rows - samples.len() / 2;
        let more = posterior.sample(missing, noise)?.as_vec();
        let possible = more.chunks_exact(2).filter(|pair| pair.iter().all(|v| v.abs() <= 1.0));
        samples.extend(possible.flatten());
        drawn += missing;
        if drawn > 100 * rows {
            return Err("the flow's samples are hardly ever possible under the prior".into());
        }
    }
    Ok((samples, 1.0 - rows as f64 / drawn as f64))
}
