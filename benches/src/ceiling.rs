//! How fast the machine multiplies matrices, to hold times against.

use std::hint::black_box;
use std::time::Instant;

use dfdx::prelude::{Const, Cpu, SampleTensor, Tensor, TryMatMul};
use rayon::prelude::*;

/// Products that one reading is the mean of, for each thread.
const PRODUCTS: usize = 100;

/// Billions of floating-point operations a second of products of 500 × 128 by 128 × 128 numbers,
/// on each thread of the caller's pool products of its own: `times` readings.
///
/// These are dfdx's products. A driver that also asks other libraries has to take the best.
pub fn matrix_products(times: usize) -> Vec<f64> {
    let cpu = Cpu::default();
    let left: Tensor<(Const<500>, Const<128>), f32, _> = cpu.sample_normal();
    let right: Tensor<(Const<128>, Const<128>), f32, _> = cpu.sample_normal();
    let threads = rayon::current_num_threads();
    let operations = (threads * PRODUCTS * 2 * 500 * 128 * 128) as f64;
    let reading = || {
        let start = Instant::now();
        (0..threads).into_par_iter().for_each_init(
            || (left.clone(), right.clone()),
            |(left, right), _| {
                for _ in 0..PRODUCTS {
                    black_box(left.clone().matmul(right.clone()));
                }
            },
        );
        operations / start.elapsed().as_secs_f64() / 1e9
    };
    (0..=times).map(|_| reading()).skip(1).collect()
}
