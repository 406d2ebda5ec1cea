//! Rates of the kernels on one thread, in numbers.
//!
//! `cargo bench -p flow-kernels`

use divan::counter::ItemsCount;
use divan::Bencher;
use flow_kernels::{bend, exp, ln, Function};

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * 37 + 11) % 23) as f32 / 23.0 - 0.5).collect()
}

#[divan::bench(args = [Function::Leaky { below: 0.0 }, Function::Elu, Function::Tanh, Function::Swish, Function::Softplus])]
fn activation(bencher: Bencher, function: Function<f32>) {
    let from = numbers(112 * 64);
    let (mut values, mut slopes) = (from.clone(), from.clone());
    bencher.counter(ItemsCount::new(112 * 64_usize)).bench_local(|| {
        values.copy_from_slice(&from);
        bend(function, &mut values, &[], &mut slopes, &mut []);
    });
}

#[divan::bench]
fn exponential(bencher: Bencher) {
    let from = numbers(4096);
    let mut values = from.clone();
    bencher.counter(ItemsCount::new(4096_usize)).bench_local(|| {
        values.copy_from_slice(&from);
        exp(&mut values);
    });
}

#[divan::bench]
fn logarithm(bencher: Bencher) {
    let from: Vec<f32> = numbers(4096).iter().map(|v| v + 1.0).collect();
    let mut values = from.clone();
    bencher.counter(ItemsCount::new(4096_usize)).bench_local(|| {
        values.copy_from_slice(&from);
        ln(&mut values);
    });
}

#[divan::bench(args = [Function::Leaky { below: 0.0 }, Function::Swish])]
fn biased(bencher: Bencher, function: Function<f32>) {
    let (from, bias) = (numbers(112 * 64), numbers(64));
    let mut values = from.clone();
    bencher.counter(ItemsCount::new(112 * 64_usize)).bench_local(|| {
        values.copy_from_slice(&from);
        bend(function, &mut values, &bias, &mut [], &mut []);
    });
}
