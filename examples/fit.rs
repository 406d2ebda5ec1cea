//! Fits a flow to a table of your own, of up to 32 columns.
//!
//! ```sh
//! cargo run --release --example fit -- data.csv
//! ```
//!
//! It reports the log-likelihood of rows that were held out, and writes samples and the model.

use std::path::Path;

use flow_core::io::{read_table, write_table, Table};
use flow_core::prelude::*;
use flow_core::Cpu;
use flow_examples::{output_folder, Options, Result};

flow! {
    /// A neural spline flow on columns of any scale.
    pub struct Tabular<const D: usize>: Vector<D> {
        standardize;
        repeat 4 {
            linear(lu);
            spline_coupling(bins = 8, bound = 4.0, net = mlp([64, 64], relu));
            spline_coupling(bins = 8, bound = 4.0, net = mlp([64, 64], relu));
        }
    }
}

/// Calls `train` with the flow of the table's width: a flow's size is part of its type.
macro_rules! by_width {
    ($table:expr, $options:expr, $($d:literal)*) => {
        match $table.width() {
            1 => Err("a table of one column has nothing to couple, expected 2 to 32".into()),
            $($d => train::<$d>($table, $options),)*
            width => Err(format!("the table has {width} columns, expected 2 to 32").into()),
        }
    };
}

fn main() -> Result {
    let options = Options::read(&["epochs", "seed", "samples"])?;
    let [path] = options.words() else {
        return Err("expected one file\nhelp: cargo run --release --example fit -- data.csv".into());
    };
    let table = read_table(path)?;
    println!("{path}: {} rows of {} columns", table.rows(), table.width());
    check(&table)?;
    by_width!(table, &options, 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
        28 29 30 31 32)
}

/// Columns that have no density.
fn check(table: &Table) -> Result {
    if table.rows() < 50 {
        return Err(
            format!("{} rows are too few to fit and test, expected 50", table.rows()).into()
        );
    }
    for (c, name) in table.columns().iter().enumerate() {
        let mut values: Vec<f64> = (0..table.rows()).map(|row| table.row(row)[c]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        match values.len() {
            1 => {
                return Err(
                    format!("column `{name}` is always {}\nhelp: leave it out", values[0]).into()
                )
            }
            kinds if kinds <= table.rows() / 20 => println!(
                "column `{name}` has only {kinds} different values: its density is that of steps, \
                 and no likelihood bounds it; add noise of a step's width to compare models"
            ),
            _ => {}
        }
    }
    Ok(())
}

fn train<const D: usize>(mut table: Table, options: &Options) -> Result {
    let seed = options.get("seed")?.unwrap_or(0);
    let samples = options.get("samples")?.unwrap_or_else(|| table.rows().min(10_000));
    let columns = table.columns().to_vec();
    table.shuffle(seed);
    let test = table.split_off(table.rows() / 10).to_rows()?;
    let validation = table.split_off(table.rows() / 10).to_rows()?;
    let data = table.to_rows()?;

    let mut flow = Tabular::<D, f32>::build(&Cpu::default(), seed)?;
    flow.initialize_on(&data)?;
    println!("{}\n", flow.summary());
    let batch = (data.len() / 20).clamp(16, 512);
    let history = Trainer::new(Adam::new(1e-3))
        .batch_size(batch)
        .epochs(options.get("epochs")?.unwrap_or(100))
        .clip(Clip::Norm(5.0))
        .patience(10)
        .seed(seed)
        .fit(&mut flow, data.validated_by(validation))?;

    let found = evaluate(&flow, &test)?;
    let steps = history.best.map_or(0, |(step, _)| step);
    println!("best weights after {steps} steps");
    println!(
        "held-out log-likelihood {:.4} ± {:.4} nats a row, over {} rows",
        found.mean, found.standard_error, found.rows
    );

    let folder = output_folder("fit")?;
    let drawn = flow.sample(samples, &mut Noise::seed(seed).named("samples"))?;
    let drawn = Table::from_rows(columns, &Rows::from_tensor(drawn)?)?;
    let [to_samples, to_model] = ["samples.csv", "model.safetensors"].map(|f| folder.join(f));
    write_table(&to_samples, &drawn)?;
    flow.save(&to_model)?;
    written(&to_samples, &to_model);
    Ok(())
}

fn written(samples: &Path, model: &Path) {
    println!("wrote {} and {}", samples.display(), model.display());
}
