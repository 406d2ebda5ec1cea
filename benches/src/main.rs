//! A server that times the workloads on request, so that one driver can take turns between it and
//! those of other libraries.
//!
//! It reads a request a line from standard input, and answers each with a line of JSON:
//!
//! | request | answer |
//! |---|---|
//! | `{"do": "models"}` | `{"W1": ["flow"], …}` |
//! | `{"do": "load", "workload": "W2", "model": "flow", "inputs": "w2.npy", "weights": null}` | `{"parameters": 35344, "nets": 35344}` |
//! | `{"do": "run", "workload": "W2", "model": "flow", "pass": "density", "times": 5, "threads": 2}` | `{"milliseconds": [0.4, …]}` |
//! | `{"do": "ceiling", "times": 5, "threads": 2}` | `{"gflops": [130.1, …]}` |
//! | `{"do": "unload"}` | `{}` |
//!
//! or with `{"error": "…"}`. Passes are `density`, `sampling`, `training` and `one_row`.

use std::collections::BTreeMap;

use flow_benches::{load, matrix_products, serve, Request, Workload, NAMES};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::{json, Value};

const MODEL: &str = "flow";

#[derive(Default)]
struct Server {
    workloads: BTreeMap<String, Box<dyn Workload>>,
    pools: BTreeMap<usize, ThreadPool>,
}

type Failure = Box<dyn std::error::Error>;

impl Server {
    fn answer(&mut self, request: Request) -> Result<Value, Failure> {
        Ok(match request {
            Request::Models => {
                let models = NAMES.map(|name| (name.to_string(), json!([MODEL])));
                Value::Object(models.into_iter().collect())
            }
            Request::Load { workload, inputs, weights } => {
                let loaded = load(&workload, inputs.as_deref(), weights.as_deref())?;
                let size = serde_json::to_value(loaded.size())?;
                self.workloads.insert(workload, loaded);
                size
            }
            Request::Run { workload, pass, times, threads } => {
                let Self { workloads, pools } = self;
                let Some(workload) = workloads.get_mut(&workload) else {
                    return Err(format!("{workload} is not loaded").into());
                };
                let times = pool(pools, threads)?.install(|| workload.time(pass, times))?;
                let milliseconds: Vec<_> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
                json!({ "milliseconds": milliseconds })
            }
            Request::Ceiling { times, threads } => {
                let readings = pool(&mut self.pools, threads)?.install(|| matrix_products(times));
                json!({ "gflops": readings })
            }
            Request::Unload => {
                self.workloads.clear();
                json!({})
            }
        })
    }
}

fn pool(pools: &mut BTreeMap<usize, ThreadPool>, threads: usize) -> Result<&ThreadPool, Failure> {
    use std::collections::btree_map::Entry;
    Ok(match pools.entry(threads) {
        Entry::Occupied(pool) => pool.into_mut(),
        Entry::Vacant(place) => {
            place.insert(ThreadPoolBuilder::new().num_threads(threads).build()?)
        }
    })
}

fn main() -> std::io::Result<()> {
    let mut server = Server::default();
    serve(|request| server.answer(request))
}
