//! A neural spline flow on POWER, four years of a household's electricity, one row a minute.
//!
//! ```sh
//! scripts/fetch-data
//! cargo run --release --example power
//! ```
//!
//! The data are prepared as by Papamakarios, Pavlakou and Murray (2017, "Masked autoregressive flow
//! for density estimation"), so that the log-likelihood can be compared with published ones: rows
//! in random order; noise that undoes the rounding of the meters (uniform, one unit of the last
//! digit); the last tenth for testing, a tenth of the rest for validation; mean and standard
//! deviation of all but the test rows taken out. Their order of rows and noise come from another
//! generator, so the split is not the same, only drawn alike.
//!
//! | | nats a row |
//! |---|---|
//! | RealNVP (Papamakarios et al. 2017) | 0.17 |
//! | Glow (Kingma and Dhariwal 2018) | 0.42 |
//! | RQ-NSF, couplings (Durkan et al. 2019) | 0.64 |

use std::time::Instant;

use flow_core::io::{read_table, Table};
use flow_core::plot::{curves, Curve};
use flow_core::prelude::*;
use flow_core::Cpu;
use flow_examples::{output_folder, Options, Result};

flow! {
    /// Splines between linear maps (Durkan et al. 2019, "Neural spline flows").
    pub struct Power: Vector<6> {
        repeat 5 {
            linear(lu);
            spline_coupling(bins = 12, bound = 4.0, net = mlp([128, 128], relu));
            spline_coupling(bins = 12, bound = 4.0, net = mlp([128, 128], relu));
        }
        linear(lu);
    }
}

/// One unit of the last digit of each column; the minute of the day is left as it is.
const ROUNDED_TO: [f64; 6] = [0.001, 0.01, 1.0, 1.0, 1.0, 0.0];

fn main() -> Result {
    let options = Options::read(&["steps", "minutes", "seed", "data"])?;
    let seed = options.get("seed")?.unwrap_or(0);
    let path = options.get::<String>("data")?.unwrap_or("data/power.npy".into());
    let table = read_table(&path).map_err(|error| format!("{error}\nhelp: scripts/fetch-data"))?;
    let [data, validation, test] = prepare(table)?;
    println!(
        "{} rows, {} for validation, {} for testing",
        data.len(),
        validation.len(),
        test.len()
    );

    let mut flow = Power::<f32>::build(&Cpu::default(), seed)?;
    println!("{}\n", flow.summary());
    let trainer = Trainer::new(Adam::new(1e-3)).batch_size(512).clip(Clip::Norm(5.0)).seed(seed);
    let steps = match (options.get("steps")?, options.get::<f64>("minutes")?) {
        (Some(steps), _) => steps,
        (None, Some(minutes)) => steps_in(minutes, &trainer, &data)?,
        (None, None) => 80_000,
    };

    let started = Instant::now();
    let some = Rows::new(validation.values()[..20_000 * 6].to_vec(), 6)?;
    let history = trainer
        .schedule(Schedule::Cosine)
        .warm_up(200.min(steps / 10))
        .average(0.999)
        .steps(steps)
        .validate_every((steps / 20).max(1))
        .watch(report)
        .fit(&mut flow, data.validated_by(some))?;
    println!("{steps} steps in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);

    for (name, rows) in [("validation", &validation), ("test", &test)] {
        let found = evaluate(&flow, rows)?;
        println!("{name} log-likelihood {:.4} ± {:.4} nats", found.mean, found.standard_error);
    }

    let folder = output_folder("power")?;
    flow.save(folder.join("power.safetensors"))?;
    history.write_csv(folder.join("training.csv"))?;
    let held_out = |r: &flow_core::train::Record| Some((r.step as f64, r.validation_loss?));
    let loss = Curve::new("validation", history.records.iter().filter_map(held_out));
    let names = ["step", "negative log-likelihood (nats)"];
    curves(folder.join("training.png"), "POWER", names, &[loss])?;
    println!("wrote the weights and the history to {}", folder.display());
    Ok(())
}

/// Rows for training, validation and testing.
fn prepare(mut table: Table) -> Result<[Rows<f32>; 3]> {
    if table.width() != 6 {
        return Err(format!("the data have {} columns, expected 6", table.width()).into());
    }
    table.shuffle(42);
    let noise = Noise::seed(42).named("rounding");
    for (i, value) in table.values_mut().iter_mut().enumerate() {
        *value += ROUNDED_TO[i % 6] * noise.uniform(i as u64);
    }
    let mut test = table.split_off(table.rows() / 10);
    let moments = table.moments();
    for part in [&mut table, &mut test] {
        for (i, value) in part.values_mut().iter_mut().enumerate() {
            let (mean, deviation) = moments[i % 6];
            *value = (*value - mean) / deviation;
        }
    }
    let validation = table.split_off(table.rows() / 10);
    Ok([table.to_rows()?, validation.to_rows()?, test.to_rows()?])
}

/// How many steps fit into some minutes, by the speed of a few on a flow of its own.
fn steps_in(minutes: f64, trainer: &Trainer, data: &Rows<f32>) -> Result<u64> {
    let mut copy = Power::<f32>::build(&Cpu::default(), 0)?;
    let few = trainer.clone().silent();
    few.clone().steps(20).fit(&mut copy, data)?;
    let started = Instant::now();
    few.steps(100).fit(&mut copy, data)?;
    let seconds = started.elapsed().as_secs_f64() / 100.0;
    Ok((60.0 * minutes / seconds) as u64)
}

fn report(record: &flow_core::train::Record) -> std::ops::ControlFlow<()> {
    if let Some(loss) = record.validation_loss {
        let minutes = record.seconds / 60.0;
        println!("step {}, {minutes:.1} minutes: validation {:.4} nats", record.step, -loss);
    }
    std::ops::ControlFlow::Continue(())
}
