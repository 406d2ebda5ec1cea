//! The six workloads on a GPU: that they agree with the CPU, and how long their passes take.
//!
//! ```text
//! gpu-check                          on GPU 0, a table
//! gpu-check --emulated W2 W3         on the emulated one, where only the agreement means something
//! gpu-check --fill FOLDER            compiles all kernels to a cache that needs no compiler
//! ```

use std::process::ExitCode;

use flow_benches::{load, NAMES};
use flow_core::cuda::{Cache, Device, Either, Emulated, Gpu, ARCHITECTURES};

type Failure = Box<dyn std::error::Error>;

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
    let emulated = arguments.iter().any(|a| a == "--emulated");
    let device = match emulated {
        true => Either::Second(Emulated::new()?),
        false => Either::First(Gpu::new(0)?),
    };
    println!("# {}\n", device.name());
    println!("| | rows | density off by | density, ms | training, ms | sampling, ms |");
    println!("|---|---|---|---|---|---|");
    let asked = |name: &&str| {
        let named = || arguments.iter().any(|a| a == name);
        arguments.iter().all(|a| a.starts_with("--")) || named()
    };
    for name in NAMES.into_iter().filter(asked) {
        let workload = load(name, None, None)?;
        let times = if emulated { 1 } else { 50 };
        let found = workload.on_gpu(&device, times);
        match found {
            Ok(found) => println!("| {name} | {} | {found} |", workload.batch()),
            Err(error) => {
                let line = error.to_string();
                println!("| {name} | {} | {} |||", workload.batch(), line.replace('\n', "; "));
            }
        }
    }
    Ok(())
}
