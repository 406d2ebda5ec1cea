//! The six workloads on a GPU: that they agree with the CPU, and how long their passes take.
//!
//! ```text
//! gpu-check                          on GPU 0, a table
//! gpu-check --emulated W2 W3         on the emulated one: the agreement, without times
//! gpu-check --tf32                   large products by cuBLAS in TF32
//! gpu-check --serve                  times passes on request, as serve-workloads does
//! gpu-check --fill FOLDER            compiles all kernels to a cache that needs no compiler
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use flow_benches::{load, serve, OnCard, Pass, Request, Target, NAMES};
use flow_core::cuda::{Cache, Device, Either, Emulated, Gpu, Products, ARCHITECTURES};
use flow_core::FlowError;
use serde_json::{json, Value};

type Failure = Box<dyn std::error::Error>;

/// Readings of a pass in the table, which shows their median.
const TIMES: usize = 50;

fn main() -> ExitCode {
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, folder] = &arguments[..] {
        if option == "--fill" {
            return Ok(Cache::new(folder).fill(&ARCHITECTURES)?);
        }
    }
    let (options, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|a| a.starts_with("--"));
    let known = ["--emulated", "--serve", "--tf32"];
    if let Some(unknown) = options.iter().find(|option| !known.contains(option)) {
        return Err(format!("no option {unknown}, expected {} or --fill", known.join(", ")).into());
    }
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        return Err(format!("no workload {unknown}, expected {}", NAMES.join(", ")).into());
    }
    let emulated = options.contains(&"--emulated");
    let device = match emulated {
        true => Either::Second(Emulated::new()?),
        false if options.contains(&"--tf32") => {
            Either::First(Gpu::new(0)?.multiplying_by(Products::CublasTf32)?)
        }
        false => Either::First(Gpu::new(0)?),
    };
    if options.contains(&"--serve") {
        let mut loaded = BTreeMap::new();
        return Ok(serve(|request| answer(&device, &mut loaded, request))?);
    }
    println!("# {}\n", device.name());
    let off = "density off by | samples off by | step off by";
    let passes = [Pass::Density, Pass::Training, Pass::Sampling];
    // Times of the emulated card mean nothing.
    let passes = if emulated { &passes[..0] } else { &passes };
    let times: String =
        passes.iter().map(|pass| format!(" {pass:?}, ms |").to_lowercase()).collect();
    println!("| | rows | {off} |{times}");
    println!("|---|---|---|---|---|{}", "---|".repeat(passes.len()));
    for name in NAMES.into_iter().filter(|name| names.is_empty() || names.contains(name)) {
        let workload = load(name, None, None)?;
        let cells = match workload.on_gpu(&device) {
            Ok(mut card) => cells(&mut *card, passes),
            Err(error) => one_line(&error),
        };
        println!("| {name} | {} | {cells} |", workload.batch());
    }
    Ok(())
}

/// How far a workload is from the CPU, and the times of passes, or why it has none.
fn cells(card: &mut dyn OnCard, passes: &[Pass]) -> String {
    let off = match card.off() {
        Ok(off) => {
            [off.density, off.sampling, off.training].map(|off| format!("{off:.1e}")).join(" | ")
        }
        Err(error) => format!("{} | |", one_line(&error)),
    };
    let times = passes.iter().map(|&pass| match card.time(pass, TIMES) {
        Ok(all) => format!(" | {:.3}", 1e3 * median(all).as_secs_f64()),
        Err(error) => format!(" | {}", one_line(&error)),
    });
    off + &times.collect::<String>()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn one_line(error: &FlowError) -> String {
    error.to_string().replace('\n', "; ")
}

/// As `serve-workloads`, but that inputs are its own ones where none are given, and threads are
/// those of the card.
fn answer(
    device: &Target,
    loaded: &mut BTreeMap<String, Box<dyn OnCard>>,
    request: Request,
) -> Result<Value, Failure> {
    Ok(match request {
        Request::Models => NAMES.iter().map(|&name| (name.to_owned(), json!(["flow"]))).collect(),
        Request::Load { workload, inputs, weights } => {
            let on_cpu = load(&workload, inputs.as_deref(), weights.as_deref())?;
            let mut card = on_cpu.on_gpu(device)?;
            let mut answer = serde_json::to_value(on_cpu.size())?;
            answer["off"] = json!(card.off()?.density);
            loaded.insert(workload, card);
            answer
        }
        Request::Run { workload, pass, times, .. } => {
            let Some(card) = loaded.get_mut(&workload) else {
                return Err(format!("{workload} is not loaded").into());
            };
            let times = card.time(pass, times)?;
            let milliseconds: Vec<_> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
            json!({ "milliseconds": milliseconds })
        }
        Request::Ceiling { .. } => return Err("flow has no products of its own to time".into()),
        Request::Unload => {
            loaded.clear();
            json!({})
        }
    })
}
