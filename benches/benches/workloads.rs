//! Density, sampling and training of six flows on one thread and on two:
//! `cargo bench -p flow-benches --bench workloads`.
//!
//! A filter chooses some: `… --bench workloads -- w4::sampling`. The residual flow is trained
//! first, for half a minute, and kept under the target folder.

use std::path::Path;

use divan::counter::ItemsCount;
use divan::Bencher;
use flow_benches::{load, Workload};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Steps of one timing, so that what a run sets up counts little.
const STEPS: u64 = 10;

fn main() {
    divan::main();
}

fn loaded(name: &str) -> Box<dyn Workload> {
    let weights = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.safetensors"));
    load(name, None, Some(&weights)).expect("a workload")
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

fn density(bencher: Bencher<'_, '_>, name: &str, threads: usize) {
    let (workload, pool) = (loaded(name), pool(threads));
    let bencher = bencher.counter(ItemsCount::new(workload.batch()));
    bencher.bench_local(|| pool.install(|| workload.density().expect("a density")));
}

fn sampling(bencher: Bencher<'_, '_>, name: &str, threads: usize) {
    let (mut workload, pool) = (loaded(name), pool(threads));
    let bencher = bencher.counter(ItemsCount::new(workload.batch()));
    bencher.bench_local(|| pool.install(|| workload.sampling().expect("samples")));
}

fn training(bencher: Bencher<'_, '_>, name: &str, threads: usize) {
    let (mut workload, pool) = (loaded(name), pool(threads));
    let bencher = bencher.counter(ItemsCount::new(workload.batch() * STEPS as usize));
    bencher.bench_local(|| pool.install(|| workload.training(STEPS).expect("a finite loss")));
}

macro_rules! workload {
    ($name:ident: $workload:literal) => {
        mod $name {
            use divan::Bencher;

            #[divan::bench(args = [1, 2], sample_count = 20, sample_size = 1)]
            fn density(bencher: Bencher<'_, '_>, threads: usize) {
                super::density(bencher, $workload, threads);
            }

            #[divan::bench(args = [1, 2], sample_count = 20, sample_size = 1)]
            fn sampling(bencher: Bencher<'_, '_>, threads: usize) {
                super::sampling(bencher, $workload, threads);
            }

            #[divan::bench(args = [1, 2], sample_count = 5, sample_size = 1)]
            fn ten_training_steps(bencher: Bencher<'_, '_>, threads: usize) {
                super::training(bencher, $workload, threads);
            }
        }
    };
}

workload!(w1: "W1");
workload!(w2: "W2");
workload!(w3: "W3");
workload!(w4: "W4");
workload!(w5: "W5");
workload!(w6: "W6");

/// One row, as a service would ask for it.
#[divan::bench]
fn w2_one_row(bencher: Bencher<'_, '_>) {
    let workload = loaded("W2");
    bencher.bench_local(|| workload.one_row().expect("a log-probability"));
}
