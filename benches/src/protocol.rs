//! Lines of JSON between a driver and a program that times workloads.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{json, Value};

use crate::Pass;

/// What a driver asks for, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Which models there are of each workload.
    Models,
    /// A model with its inputs.
    Load {
        /// Of which workload.
        workload: String,
        /// A table of its inputs.
        #[serde(default)]
        inputs: Option<PathBuf>,
        /// A file of its weights.
        #[serde(default)]
        weights: Option<PathBuf>,
    },
    /// How long a pass takes.
    Run {
        /// Of which workload.
        workload: String,
        /// Which pass.
        pass: Pass,
        /// How many readings.
        times: usize,
        /// On how many threads of the CPU.
        threads: usize,
    },
    /// How fast matrix products are.
    Ceiling {
        /// How many readings.
        times: usize,
        /// On how many threads of the CPU.
        threads: usize,
    },
    /// Forget all models.
    Unload,
}

/// Answers each line of standard input by a line on standard output, `{"error": "…"}` where the
/// answer failed.
///
/// # Errors
/// Where a line cannot be read or written.
///
/// ```no_run
/// flow_benches::serve(|request| match request {
///     flow_benches::Request::Unload => Ok(serde_json::json!({})),
///     other => Err(format!("{other:?} is not answered here").into()),
/// })
/// # .unwrap();
/// ```
pub fn serve(
    mut answer: impl FnMut(Request) -> Result<Value, Box<dyn Error>>,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?);
        let answer = request.map_err(Into::into).and_then(&mut answer);
        let answer = answer.unwrap_or_else(|failure| json!({ "error": failure.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
