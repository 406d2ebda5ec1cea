//! Density, sampling and training of a masked autoregressive flow:
//! `cargo bench -p flow-core --bench autoregressive`.
//!
//! Sampling opens the nets feature by feature; it should cost little more than the density, where
//! an evaluation of the net for each feature would cost 64 times as much.

use divan::counter::ItemsCount;
use divan::Bencher;
use flow_core::prelude::*;
use flow_core::Cpu;

const WIDTH: usize = 64;
const BATCH: usize = 512;

flow! {
    /// The MAF of the literature, with weights away from their start.
    struct Maf: Vector<WIDTH> {
        repeat 5 {
            masked_autoregressive(
                affine, scale = tanh(1.0), net = made([512, 512], relu, zero_init = false)
            );
            permute(reverse);
        }
    }

    /// Neural splines with a narrower net.
    struct Splines: Vector<WIDTH> {
        repeat 5 {
            masked_autoregressive(spline, net = made([256, 256], relu, zero_init = false));
            permute(reverse);
        }
    }
}

fn main() {
    divan::main();
}

fn numbers() -> Vec<f32> {
    let mut numbers = vec![0.0; BATCH * WIDTH];
    Noise::seed(1).fill_normal(0, &mut numbers);
    numbers
}

macro_rules! workload {
    ($name:ident: $flow:ident) => {
        mod $name {
            use super::*;

            fn flow() -> $flow<f32> {
                $flow::<f32>::build(&Cpu::default(), 0).expect("a flow")
            }

            #[divan::bench(sample_count = 40, sample_size = 1)]
            fn density(bencher: Bencher<'_, '_>) {
                let (flow, rows) = (flow(), numbers());
                let view = flow.view().expect("a view");
                let bencher = bencher.counter(ItemsCount::new(BATCH));
                bencher.bench_local(|| view.log_prob_of_rows(&rows));
            }

            #[divan::bench(sample_count = 40, sample_size = 1)]
            fn sampling(bencher: Bencher<'_, '_>) {
                let (flow, mut noise) = (flow(), Noise::seed(2));
                let bencher = bencher.counter(ItemsCount::new(BATCH));
                bencher.bench_local(|| flow.sample(BATCH, &mut noise));
            }

            /// Ten steps at a time, so that what a run sets up counts little.
            #[divan::bench(sample_count = 5, sample_size = 1)]
            fn ten_training_steps(bencher: Bencher<'_, '_>) {
                let mut flow = flow();
                let rows = Rows::new(numbers(), WIDTH).expect("whole rows");
                let trainer = Trainer::new(Adam::new(1e-5)).batch_size(BATCH).steps(10).silent();
                let bencher = bencher.counter(ItemsCount::new(10 * BATCH));
                bencher.bench_local(|| trainer.fit(&mut flow, &rows).expect("a finite loss"));
            }
        }
    };
}

workload!(maf: Maf);
workload!(splines: Splines);
