//! Reports on flows of 64 numbers: `cargo bench -p flow-core --bench report`.
//!
//! A report has the reconstruction errors of 1,000 rows and of as many samples, five times there
//! and back, and all singular values of 1,000 Jacobians.

use divan::Bencher;
use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Flow, Invertible, Unconditional};

flow! {
    /// Eight affine couplings.
    struct Affine: Vector<64> {
        repeat 4 {
            linear(lu);
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([128, 128], relu, zero_init = false));
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([128, 128], relu, zero_init = false));
        }
    }

    /// Eight spline couplings.
    struct Splines: Vector<64> {
        repeat 4 {
            linear(lu);
            spline_coupling(keep = first, net = mlp([128, 128], relu));
            spline_coupling(keep = second, net = mlp([128, 128], relu));
        }
    }

    /// Ten spline couplings with wide nets and linear maps between.
    struct WideSplines: Vector<64> {
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

fn report<A>(bencher: Bencher<'_, '_>, flow: &Flow<A, f32, Cpu>)
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    let mut numbers = vec![0.0; 1000 * 64];
    Noise::seed(1).fill_normal(0, &mut numbers);
    let data = Rows::new(numbers, 64).expect("whole rows");
    bencher.bench_local(|| flow_core::stability::report(flow, &data).expect("a report"));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn affine(bencher: Bencher<'_, '_>) {
    report(bencher, &Affine::<f32>::build(&Cpu::default(), 0).expect("a flow"));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn splines(bencher: Bencher<'_, '_>) {
    report(bencher, &Splines::<f32>::build(&Cpu::default(), 0).expect("a flow"));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn wide_splines(bencher: Bencher<'_, '_>) {
    report(bencher, &WideSplines::<f32>::build(&Cpu::default(), 0).expect("a flow"));
}
