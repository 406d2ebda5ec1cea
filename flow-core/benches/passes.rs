//! Density, sampling and training of three flows: `cargo bench -p flow-core`.
//!
//! Times are of a whole batch, on all threads that rayon finds; training is by the step.

use divan::counter::ItemsCount;
use divan::Bencher;
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Event, Flow, Invertible, Unconditional};

flow! {
    /// A hundred affine couplings of the plane.
    struct Deep: Vector<2> {
        repeat 50 {
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([128, 128, 128, 128], relu));
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([128, 128, 128, 128], relu));
        }
    }

    /// Eight small affine couplings of the plane.
    struct Small: Vector<2> {
        repeat 4 {
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([64, 64], relu));
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([64, 64], relu));
        }
    }

    /// Ten spline couplings with linear maps between.
    struct Splines: Vector<64> {
        repeat 5 {
            linear(lu);
            spline_coupling(keep = first, net = mlp([256, 256], relu));
            linear(lu);
            spline_coupling(keep = second, net = mlp([256, 256], relu));
        }
    }
}

fn main() {
    divan::main();
}

fn rows<A: Architecture<f32>>(count: usize) -> Rows<f32> {
    let width = A::Event::SHAPE.size();
    let mut numbers = vec![0.0; count * width];
    Noise::seed(1).fill_normal(0, &mut numbers);
    Rows::new(numbers, width).expect("whole rows")
}

fn density<A: Architecture<f32, Context = Unconditional>>(
    bencher: Bencher<'_, '_>,
    flow: &Flow<A, f32, Cpu>,
    batch: usize,
) {
    let rows = rows::<A>(batch);
    let view = flow.view().expect("a view");
    bencher.counter(ItemsCount::new(batch)).bench_local(|| view.log_prob_of_rows(rows.values()));
}

fn sampling<A: Architecture<f32, Context = Unconditional> + Invertible>(
    bencher: Bencher<'_, '_>,
    flow: &Flow<A, f32, Cpu>,
    batch: usize,
) {
    let mut noise = Noise::seed(2);
    bencher.counter(ItemsCount::new(batch)).bench_local(|| flow.sample(batch, &mut noise));
}

/// Ten steps at a time, so that what a run sets up counts little.
fn training<A: Architecture<f32, Context = Unconditional>>(
    bencher: Bencher<'_, '_>,
    flow: &Flow<A, f32, Cpu>,
    batch: usize,
) {
    const STEPS: usize = 10;
    let rows = rows::<A>(batch * STEPS);
    let trainer = Trainer::new(Adam::new(1e-4)).batch_size(batch).steps(STEPS as u64).silent();
    let mut flow = flow.clone();
    bencher
        .counter(ItemsCount::new(batch * STEPS))
        .bench_local(|| trainer.fit(&mut flow, &rows).expect("a finite loss"));
}

macro_rules! workload {
    ($name:ident: $flow:ident, batch $batch:literal) => {
        mod $name {
            use super::*;

            #[divan::bench(sample_count = 20, sample_size = 1)]
            fn density(bencher: Bencher<'_, '_>) {
                let flow = $flow::<f32>::build(&Cpu::default(), 0).expect("a flow");
                super::density(bencher, &flow, $batch);
            }

            #[divan::bench(sample_count = 20, sample_size = 1)]
            fn sampling(bencher: Bencher<'_, '_>) {
                let flow = $flow::<f32>::build(&Cpu::default(), 0).expect("a flow");
                super::sampling(bencher, &flow, $batch);
            }

            #[divan::bench(sample_count = 5, sample_size = 1)]
            fn ten_training_steps(bencher: Bencher<'_, '_>) {
                let flow = $flow::<f32>::build(&Cpu::default(), 0).expect("a flow");
                super::training(bencher, &flow, $batch);
            }
        }
    };
}

workload!(deep: Deep, batch 500);
workload!(small: Small, batch 256);
workload!(splines: Splines, batch 512);

/// One row, as a service would ask for it.
#[divan::bench]
fn small_one_row(bencher: Bencher<'_, '_>) {
    let flow = Small::<f32>::build(&Cpu::default(), 0).expect("a flow");
    bencher.bench_local(|| flow.score(&[0.3, -0.7], &[]));
}
