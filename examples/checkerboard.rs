//! Learns the density of a checkerboard, and draws it.
//!
//! ```sh
//! cargo run --release --example checkerboard
//! ```

use flow_core::plot::{curves, density_map, scatter, Curve, Window};
use flow_core::prelude::*;
use flow_core::Cpu;
use flow_examples::{checkerboard, output_folder, Options, Result};

flow! {
    /// Splines along both axes in turn.
    pub struct Checkerboard: Vector<2> {
        repeat 3 {
            spline_coupling(bins = 16, bound = 4.0, net = mlp([64, 64], relu));
            spline_coupling(bins = 16, bound = 4.0, net = mlp([64, 64], relu));
        }
    }
}

fn main() -> Result {
    let options = Options::read(&["steps", "seed"])?;
    let steps = options.get("steps")?.unwrap_or(5000);
    let seed = options.get("seed")?.unwrap_or(0);

    let mut noise = Noise::seed(seed);
    let data = checkerboard(100_000, &noise.split())?;
    let held_out = checkerboard(20_000, &noise.split())?;

    let mut flow = Checkerboard::<f32>::build(&Cpu::default(), seed)?;
    println!("{}\n", flow.summary());
    let history = Trainer::new(Adam::new(2e-3))
        .schedule(Schedule::Cosine)
        .batch_size(512)
        .steps(steps)
        .clip(Clip::Norm(5.0))
        .seed(seed)
        .fit(&mut flow, &data)?;

    let found = evaluate(&flow, &held_out)?;
    let best = -32f64.ln();
    println!("held-out log-likelihood {:.3} ± {:.3} nats", found.mean, found.standard_error);
    println!("that of the checkerboard itself {best:.3}");

    let folder = output_folder("checkerboard")?;
    let window = Window::square(4.5);
    density_map(folder.join("density.png"), "learned density", window, |points| {
        flow.view()?.log_prob_of_rows(points)
    })?;
    let samples = Rows::from_tensor(flow.sample(20_000, &mut noise)?)?;
    scatter(folder.join("samples.png"), "20,000 samples", window, samples.values())?;
    let loss = history.records.iter().map(|r| (r.step as f64, r.loss));
    let names = ["step", "negative log-likelihood (nats)"];
    curves(folder.join("training.png"), "training", names, &[Curve::new("", loss)])?;
    println!("wrote density.png, samples.png and training.png to {}", folder.display());
    Ok(())
}
