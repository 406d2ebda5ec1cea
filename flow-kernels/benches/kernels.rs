//! Rates of the kernels on one thread: operations for products, numbers for functions.
//!
//! `cargo bench -p flow-kernels`

use divan::counter::ItemsCount;
use divan::Bencher;
use flow_kernels::{add_outer, bend, exp, ln, product, product_transposed, Function, Runs, Weight};

fn main() {
    divan::main();
}

/// Outputs, inputs and rows of a layer.
const LAYERS: [(usize, usize, usize); 6] =
    [(128, 128, 125), (64, 64, 64), (256, 256, 64), (800, 256, 128), (512, 512, 64), (2, 128, 125)];

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * 37 + 11) % 23) as f32 / 23.0 - 0.5).collect()
}

#[divan::bench(args = LAYERS)]
fn forward(bencher: Bencher, (outputs, inputs, rows): (usize, usize, usize)) {
    let layout = Runs::of(rows);
    let (weight, x, bias) =
        (numbers(outputs * inputs), numbers(layout.len(inputs)), numbers(outputs));
    let mut y = vec![0.0; layout.len(outputs)];
    bencher.counter(ItemsCount::new(2 * outputs * inputs * rows)).bench_local(|| {
        product(layout, &mut y, Weight::new(&weight, outputs, inputs), &x, Some(&bias));
    });
}

#[divan::bench(args = LAYERS)]
fn backward(bencher: Bencher, (outputs, inputs, rows): (usize, usize, usize)) {
    let layout = Runs::of(rows);
    let (weight, y) = (numbers(outputs * inputs), numbers(layout.len(outputs)));
    let mut x = vec![0.0; layout.len(inputs)];
    bencher.counter(ItemsCount::new(2 * outputs * inputs * rows)).bench_local(|| {
        product_transposed(layout, &mut x, Weight::new(&weight, outputs, inputs), &y);
    });
}

#[divan::bench(args = LAYERS)]
fn gradient(bencher: Bencher, (outputs, inputs, rows): (usize, usize, usize)) {
    let layout = Runs::of(rows);
    let (y, x) = (numbers(layout.len(outputs)), numbers(layout.len(inputs)));
    let mut sums = vec![0.0; outputs * inputs];
    bencher.counter(ItemsCount::new(2 * outputs * inputs * rows)).bench_local(|| {
        add_outer(layout, &mut sums, 1, &y, &x);
    });
}

#[divan::bench(args = [Function::Leaky { below: 0.0 }, Function::Elu, Function::Tanh, Function::Swish, Function::Softplus])]
fn activation(bencher: Bencher, function: Function<f32>) {
    let layout = Runs::of(112);
    let from = numbers(layout.len(64));
    let (mut values, mut slopes) = (from.clone(), from.clone());
    bencher.counter(ItemsCount::new(112 * 64_usize)).bench_local(|| {
        values.copy_from_slice(&from);
        bend(layout, function, &mut values, &mut slopes, &mut []);
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

#[divan::bench(args = [(125, 2), (128, 32), (128, 800)])]
fn transposition(bencher: Bencher, (rows, features): (usize, usize)) {
    let layout = Runs::of(rows);
    let (mut from, mut runs) = (numbers(rows * features), vec![0.0; layout.len(features)]);
    bencher.counter(ItemsCount::new(2 * rows * features)).bench_local(|| {
        layout.gather(&from, features, &mut runs);
        layout.scatter(&runs, features, &mut from);
    });
}
