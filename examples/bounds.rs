//! How close certified bounds come to what is seen: `cargo run --release --example bounds`.
//!
//! Flows of each kind (those of table 1 in "On the invertibility of invertible neural networks",
//! Behrmann et al. 2019, and splines) at several depths, with random weights, in double precision. For each box
//! the largest and the least singular value of the Jacobian at 200 points of it, and by how much the
//! certified bounds of the forward and the inverse direction exceed what these show: by all blocks
//! together, and as a product of the blocks.

use dfdx::prelude::Cpu;
use flow_core::lipschitz::{Bound, Bounds, Region};
use flow_core::prelude::*;
use flow_core::stability::{self, Inputs, SingularValue};
use flow_core::{Architecture, Flow, Invertible, Unconditional};

/// Half the sides of the boxes.
const HALVES: [f64; 5] = [1.0, 1e-1, 1e-2, 1e-4, 1e-6];

fn main() -> Result<(), FlowError> {
    println!(
        "| flow | depth | box | forward: seen | certified/seen | product/seen \
         | inverse: seen | certified/seen | product/seen |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    macro_rules! depths {
        ($name:literal, $depth:literal: { $($source:tt)* }) => {{
            flow! { struct Subject: $($source)* }
            let flow = Subject::<f64>::build(&Cpu::default(), 0)?;
            report($name, $depth, &flow)?;
        }};
    }
    macro_rules! kinds {
        ($($name:literal: $width:literal { $($body:tt)* })*) => {$(
            depths!($name, 1: { Vector<$width> { repeat 1 { $($body)* } } });
            depths!($name, 4: { Vector<$width> { repeat 4 { $($body)* } } });
            depths!($name, 16: { Vector<$width> { repeat 16 { $($body)* } } });
        )*};
    }
    depths!("mlp, of as many hidden layers", 1: {
        Vector<8> { additive_coupling(net = mlp([32], swish, zero_init = false)); }
    });
    depths!("mlp, of as many hidden layers", 4: {
        Vector<8> { additive_coupling(net = mlp([32, 32, 32, 32], swish, zero_init = false)); }
    });
    depths!("mlp, of as many hidden layers", 16: {
        Vector<8> {
            additive_coupling(
                net = mlp(
                    [32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32],
                    swish, zero_init = false
                )
            );
        }
    });
    kinds! {
        "additive": 8 {
            additive_coupling(keep = first, net = mlp([32, 32], swish, zero_init = false));
            permute(reverse);
        }
        "affine": 8 {
            affine_coupling(keep = first, net = mlp([32, 32], swish, zero_init = false));
            permute(reverse);
        }
        "residual": 8 {
            residual(lipschitz = 0.9, net = mlp([32, 32], swish, zero_init = false));
        }
        "spline": 8 {
            spline_coupling(keep = first, net = mlp([32, 32], swish, zero_init = false));
            permute(reverse);
        }
    }
    depths!("ode", 1: {
        Vector<8> { ode(net = mlp([32], tanh, lipschitz = 1.0, zero_init = false), solver = rk4(20)); }
    });
    // These start as isometries.
    macro_rules! moved {
        ($name:literal, $depth:literal: { $($source:tt)* }) => {{
            flow! { struct Subject: $($source)* }
            let mut flow = Subject::<f64>::build(&Cpu::default(), 0)?;
            move_weights(&mut flow)?;
            report($name, $depth, &flow)?;
        }};
    }
    moved!("actnorm and lu", 1: { Vector<8> { repeat 1 { actnorm; linear(lu); } } });
    moved!("actnorm and lu", 4: { Vector<8> { repeat 4 { actnorm; linear(lu); } } });
    moved!("actnorm and lu", 16: { Vector<8> { repeat 16 { actnorm; linear(lu); } } });
    moved!("squeeze and conv1x1", 1: { Image<2, 2, 2> { repeat 1 { squeeze(2); conv1x1(lu); unsqueeze(2); } } });
    moved!("squeeze and conv1x1", 4: { Image<2, 2, 2> { repeat 4 { squeeze(2); conv1x1(lu); unsqueeze(2); } } });
    Ok(())
}

/// Adds normal numbers of a fifth to every weight.
fn move_weights<A: Architecture<f64>>(flow: &mut Flow<A, f64>) -> Result<(), FlowError> {
    let flags: Vec<_> = flow.buffers().map(|buffer| buffer.name.to_owned()).collect();
    for name in flags.iter().filter(|name| name.ends_with("initialized")) {
        flow.set(name, &[1.0])?;
    }
    let all: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, mut values) in all {
        let noise = Noise::seed(2).named(&name);
        values.iter_mut().zip(0..).for_each(|(v, i)| *v += 0.2 * noise.normal(i));
        flow.set(&name, &values)?;
    }
    Ok(())
}

fn report<A>(name: &str, depth: usize, flow: &Flow<A, f64>) -> Result<(), FlowError>
where
    A: Architecture<f64, Context = Unconditional> + Invertible,
{
    let everywhere = flow.bilipschitz(&Region::everything())?;
    let noise = Noise::seed(1).named("points");
    let wide = Inputs::Uniform.rows(200, 8, (-1.0, 1.0), &noise)?;
    let seen = stability::observed(flow, &wide)?;
    line(name, depth, "everywhere", seen, &everywhere);
    for half in HALVES {
        let rows = Inputs::Uniform.rows(200, 8, (-half, half), &noise)?;
        let seen = stability::observed(flow, &rows)?;
        let bounds = flow.bilipschitz(&Region::cube(-half, half))?;
        line(name, depth, &format!("±{half:e}"), seen, &bounds);
    }
    Ok(())
}

fn line(name: &str, depth: usize, place: &str, seen: stability::Observed, bounds: &Bounds) {
    let product = bounds.blocks.last().map(|block| block.running);
    let ratio = |log: f64, seen: f64| match log - seen.ln() {
        f64::INFINITY => "no bound".to_owned(),
        by if by < 9.0 => format!("{:.4}", by.exp()),
        by => format!("10^{:.1}", by / std::f64::consts::LN_10),
    };
    let part = |bound: Bound, product: Option<f64>, seen: Option<SingularValue>| {
        let seen = seen.map_or(f64::NAN, |seen| seen.lower_bound());
        let product = product.unwrap_or(f64::INFINITY);
        format!("{seen:.3} | {} | {}", ratio(bound.log, seen), ratio(product, seen))
    };
    println!(
        "| {name} | {depth} | {place} | {} | {} |",
        part(bounds.forward, product.map(|p| p.forward), seen.forward),
        part(bounds.inverse, product.map(|p| p.inverse), seen.inverse)
    );
}
