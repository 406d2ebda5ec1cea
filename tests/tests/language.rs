//! Every feature of the language compiles, builds and runs, without a lint. The flows are those of
//! `ui/ok`.
#![deny(warnings, missing_docs, unused, clippy::all, clippy::pedantic)]
#![deny(elided_lifetimes_in_paths, unused_qualifications, let_underscore_drop)]
// A test exports nothing.
#![allow(unreachable_pub)]

use dfdx::prelude::*;
use flow_core::{Architecture, Invertible, NormalizingFlow, Vector};

#[path = "../ui/ok/attributes.rs"]
mod attributes;
#[path = "../ui/ok/blocks.rs"]
mod blocks;
#[path = "../ui/ok/component.rs"]
mod component;
#[path = "../ui/ok/constants.rs"]
mod constants;
#[path = "../ui/ok/levels.rs"]
mod levels;
#[path = "../ui/ok/modules.rs"]
mod modules;
#[path = "../ui/ok/names.rs"]
mod names;
#[path = "../ui/ok/nested.rs"]
mod nested;
#[path = "../ui/ok/training.rs"]
mod training;

fn cpu() -> Cpu {
    Cpu::default()
}

/// Standard normal rows, the same each time.
fn normal<const D: usize>(rows: usize) -> Tensor<(usize, Const<D>), f64, Cpu> {
    Cpu::seed_from_u64(7).sample_normal_like(&(rows, Const))
}

/// Data to latent and back.
fn round_trip<F, const D: usize>(
    flow: &F,
    data: Tensor<(usize, Const<D>), f64, Cpu>,
    tolerance: f64,
) where
    F: NormalizingFlow<Scalar = f64, Tape = NoneTape>,
    F::Architecture: Architecture<f64, Event = Vector<D>, Latent = Vector<D>> + Invertible,
{
    let (z, there) = flow.forward(data.clone()).expect("a forward pass");
    let (x, back) = flow.inverse(z).expect("an inverse pass");
    let distance = (x - data).abs().as_vec().into_iter().fold(0.0, f64::max);
    let log_det = (there + back).abs().as_vec().into_iter().fold(0.0, f64::max);
    assert!(distance < tolerance && log_det < tolerance, "{distance}, {log_det}");
}
