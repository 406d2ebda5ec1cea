//! How long `cargo check` takes for a flow: each of the workloads, and one against how often its
//! body repeats.
//!
//! `cargo bench -p flow-benches --bench compile_time` writes a small crate for each under the
//! target folder, checks each once to warm up, then times them in turn.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const WORKLOADS: [(&str, &str); 6] = [
    ("w1-deep-affine", include_str!("../src/flows/deep_affine.rs")),
    ("w2-small-affine", include_str!("../src/flows/small_affine.rs")),
    ("w3-splines", include_str!("../src/flows/splines.rs")),
    ("w4-autoregressive", include_str!("../src/flows/autoregressive.rs")),
    ("w5-glow", include_str!("../src/flows/glow.rs")),
    ("w6-residual", include_str!("../src/flows/residual.rs")),
];
const COUNTS: [usize; 3] = [1, 100, 1000];
const ROUNDS: usize = 7;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place = root.join("target/compile-time");
    let workloads = WORKLOADS.map(|(name, source)| (name.to_string(), source.to_string()));
    let repeats = COUNTS.map(|count| (format!("repeat-{count}"), repeated(count)));
    let crates: Vec<_> = workloads
        .into_iter()
        .chain(repeats)
        .map(|(name, source)| (write_crate(&root, &place, &name, &source), name))
        .collect();
    for (folder, _) in &crates {
        check(folder, &place);
    }
    let mut times = vec![Vec::new(); crates.len()];
    for _ in 0..ROUNDS {
        for ((folder, _), times) in crates.iter().zip(&mut times) {
            times.push(check(folder, &place));
        }
    }
    println!("cargo check of one flow, median of {ROUNDS} (fastest to slowest):");
    for ((_, name), times) in crates.iter().zip(&mut times) {
        times.sort();
        let [least, median, most] =
            [times[0], times[ROUNDS / 2], times[ROUNDS - 1]].map(|t| t.as_secs_f64());
        println!("  {name:<18} {median:.2} s ({least:.2} to {most:.2})");
    }
}

fn repeated(count: usize) -> String {
    format!(
        "use flow_core::prelude::*;\n\nflow! {{\n    pub struct Deep: Vector<6> {{\n        \
         repeat {count} {{\n            actnorm;\n            linear(lu);\n            \
         spline_coupling(keep = first, net = mlp([64, 64], relu));\n            \
         affine_coupling(keep = second, net = mlp([64, 64], swish));\n        }}\n    }}\n}}\n\n\
         pub fn build() -> Result<Deep, FlowError> {{\n    Deep::build(&Default::default(), 0)\n}}\n"
    )
}

fn write_crate(root: &Path, place: &Path, name: &str, source: &str) -> PathBuf {
    let folder = place.join(name);
    let core = root.join("flow-core");
    std::fs::create_dir_all(folder.join("src")).expect("a folder under target");
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [dependencies]\nflow-core = {{ path = {core:?} }}\n\n[workspace]\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::write(folder.join("src/lib.rs"), source).expect("a source file");
    folder
}

/// Checks a crate anew, its dependencies being fresh.
fn check(folder: &Path, place: &Path) -> Duration {
    let source = folder.join("src/lib.rs");
    let text = std::fs::read(&source).expect("the source file");
    std::fs::write(&source, text).expect("a newer source file");
    let start = Instant::now();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", place.join("target"))
        .output()
        .expect("cargo");
    let time = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    time
}
