//! The memory and the time of a training step in each memory mode, against depth: affine couplings
//! of the plane with nets 128×4, in batches of 500, under Adam.
//!
//! ```sh
//! cargo run --release --example memory
//! ```
//!
//! An allocator that counts gives the peak of whole steps, for two batch sizes: what grows with the
//! batch is kept for the gradient, what does not is weights, gradients and the optimiser's moments.

use std::time::Instant;

use dfdx::prelude::Cpu;
use flow_core::memory::{Guard, GuardReport};
use flow_core::prelude::*;
use flow_examples::{Options, Result};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

flow! {
    #[require(memory_saving)]
    struct Deep<const PAIRS: usize>: Vector<2> {
        repeat PAIRS {
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([128, 128, 128, 128], relu));
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([128, 128, 128, 128], relu));
        }
    }
}

const ROWS: usize = 500;
/// As many row groups as the smaller batch has, so that there are as many gradients.
const MORE_ROWS: usize = 1000;

fn main() -> Result {
    let options = Options::read(&["depth", "rounds"])?;
    let deepest: usize = options.get("depth")?.unwrap_or(1000);
    println!("peak memory of a training step in MB, batches of {ROWS}");
    println!(
        "{:>6} {:>11} {:>8} {:>8} {:>10} {:>10} {:>13} {:>12}",
        "blocks",
        "mode",
        "whole",
        "weights",
        "optimiser",
        "gradients",
        "fingerprints",
        "activations"
    );
    table::<5>(deepest)?;
    table::<50>(deepest)?;
    table::<500>(deepest)?;
    times(options.get("rounds")?.unwrap_or(5))
}

fn modes() -> [(&'static str, Memory); 4] {
    let off = Memory::InvertedUnder(Guard::off_gradients_may_be_wrong());
    [
        ("stored", Memory::Stored),
        ("recomputed", Memory::Recomputed),
        ("inverted", Memory::Inverted),
        ("unguarded", off),
    ]
}

fn table<const PAIRS: usize>(deepest: usize) -> Result {
    if 2 * PAIRS > deepest {
        return Ok(());
    }
    let mut stored = f64::NAN;
    for (name, memory) in modes() {
        let (more, _, _, _) = step::<PAIRS>(memory, MORE_ROWS)?;
        let (whole, flow, optimiser, report) = step::<PAIRS>(memory, ROWS)?;
        let kept = (more - whole) * ROWS as f64 / (MORE_ROWS - ROWS) as f64;
        let fingerprints = report.map_or(0.0, |report| report.bytes as f64);
        let activations = kept - fingerprints;
        let gradients = whole - kept - flow - optimiser;
        if memory == Memory::Stored {
            stored = activations;
        }
        println!(
            "{:>6} {name:>11} {:>8.1} {:>8.1} {:>10.1} {:>10.1} {:>13.2} {:>12.2}  1/{:.0} of stored",
            2 * PAIRS,
            mega(whole),
            mega(flow),
            mega(optimiser),
            mega(gradients),
            mega(fingerprints),
            mega(activations),
            stored / activations,
        );
    }
    Ok(())
}

fn mega(bytes: f64) -> f64 {
    bytes / 1e6
}

/// Bytes at the peak of a step, of the flow, and of Adam's moments.
fn step<const PAIRS: usize>(
    memory: Memory,
    rows: usize,
) -> Result<(f64, f64, f64, Option<GuardReport>)> {
    let data = checkerboard(rows)?;
    let empty = HEAP.current_usage();
    let mut flow = Deep::<PAIRS, f32>::build(&Cpu::default(), 0)?;
    let built = HEAP.current_usage() - empty;
    HEAP.reset_peak_usage();
    trainer(memory, rows).steps(2).fit(&mut flow, &data)?;
    let peak = HEAP.peak_usage() - empty;
    let moments = 2 * flow.parameter_count() * std::mem::size_of::<f32>();
    Ok((peak as f64, built as f64, moments as f64, flow.guard_report()))
}

fn trainer(memory: Memory, rows: usize) -> Trainer {
    Trainer::new(Adam::new(1e-4)).memory(memory).batch_size(rows).silent()
}

/// A checkerboard on [−2, 2]².
fn checkerboard(rows: usize) -> Result<Rows<f32>> {
    let board = flow_examples::checkerboard(rows, &Noise::seed(1))?;
    Ok(Rows::new(board.values().iter().map(|v| v / 2.0).collect(), 2)?)
}

/// Times of training steps of 100 blocks, modes in turn.
fn times(rounds: usize) -> Result {
    const STEPS: u64 = 4;
    let data = checkerboard(ROWS)?;
    let mut flows: Vec<_> = (0..modes().len())
        .map(|_| Deep::<50, f32>::build(&Cpu::default(), 0))
        .collect::<Result<_, _>>()?;
    let mut found = vec![Vec::new(); flows.len()];
    for _ in 0..rounds {
        for ((flow, (_, memory)), found) in flows.iter_mut().zip(modes()).zip(&mut found) {
            let (begun, busy) = (Instant::now(), busy());
            trainer(memory, ROWS).steps(STEPS).fit(flow, &data)?;
            let seconds = [begun.elapsed().as_secs_f64(), self::busy() - busy];
            found.push(seconds.map(|seconds| seconds / STEPS as f64));
        }
    }
    println!(
        "\nseconds of a training step of 100 blocks, medians of {rounds} rounds of {STEPS} steps"
    );
    println!("{:>11} {:>8} {:>8} {:>10}", "mode", "clock", "cores", "of stored");
    let mut stored = f64::NAN;
    for ((name, memory), found) in modes().into_iter().zip(&mut found) {
        let [clock, cores] = [0, 1].map(|of| median(found.iter().map(|times| times[of]).collect()));
        if memory == Memory::Stored {
            stored = cores;
        }
        println!("{name:>11} {clock:>8.3} {cores:>8.3} {:>10.2}", cores / stored);
    }
    let held = flows[2].guard_report().map_or_else(String::new, |report| report.to_string());
    println!("{held}");
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seconds that all cores together have worked for this program, which other programs do not
/// lengthen as they do those of the clock; NaN where the system does not tell.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: user and system time are the 12th and 13th, in hundredths.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}
