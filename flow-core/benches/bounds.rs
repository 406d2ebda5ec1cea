//! Certified bounds of the checkerboard flow: `cargo bench -p flow-core --bench bounds`.
//!
//! 100 affine couplings of two numbers with nets of four hidden layers of 128.

use divan::Bencher;
use flow_core::lipschitz::Region;
use flow_core::prelude::*;
use flow_core::Cpu;

flow! {
    struct Checkerboard: Vector<2> {
        repeat 50 {
            affine_coupling(
                keep = first, scale = sigmoid(0.5, 1.0),
                net = mlp([128, 128, 128, 128], swish, zero_init = false)
            );
            affine_coupling(
                keep = second, scale = sigmoid(0.5, 1.0),
                net = mlp([128, 128, 128, 128], swish, zero_init = false)
            );
        }
    }
}

fn main() {
    divan::main();
}

fn bounds(bencher: Bencher<'_, '_>, region: &Region) {
    let flow = Checkerboard::<f32>::build(&Cpu::default(), 0).expect("a flow");
    bencher.bench_local(|| flow.bilipschitz(region).expect("bounds"));
}

/// Where the Jacobian of the whole flow is followed too.
#[divan::bench(sample_count = 5, sample_size = 1, args = [1e-4, 1.0])]
fn on_a_box(bencher: Bencher<'_, '_>, half: f64) {
    bounds(bencher, &Region::cube(-half, half));
}

/// In sixteen parts.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn on_a_subdivided_box(bencher: Bencher<'_, '_>) {
    bounds(bencher, &Region::cube(-1e-3, 1e-3).subdivided(16));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn everywhere(bencher: Bencher<'_, '_>) {
    bounds(bencher, &Region::everything());
}
