//! Deep flows on small boxes, whose bounds come from the Jacobians of all blocks together.

use dfdx::prelude::Cpu;
use flow_core::lipschitz::{Region, Way};
use flow_core::prelude::*;
use flow_tests::Direction;

use crate::trial::{jacobian, trials, Bounded, Row};

/// Trials on small boxes, where the tightest bounds have next to no room although the product of the
/// blocks' bounds does.
fn check<D: Bounded<f64>>(row: Row, mut flow: D) {
    let found = trials(row, &mut flow, (&[0.1, 0.5, 1.0], &[1e-7, 1e-5, 1e-3]), 36);
    found.print(row.name);
    found.expect_bounds(row.name, 1.0 / 3.0);
    for (way, tally) in [("forward", found.forward), ("inverse", found.inverse)] {
        let (_, stretched) = tally.tightest();
        assert!(stretched < 1.02, "{} {way}: the tightest bound is {stretched}", row.name);
    }
}

macro_rules! deep {
    ($($test:ident $(given $context:literal)? $(data $data:ident)? $(only $only:ident)?:
       { $($source:tt)* })*) => {$(
        #[test]
        fn $test() {
            flow! { struct Deep: $($source)* }
            let flow = Deep::<f64>::build(&Cpu::default(), 3).expect("a flow");
            let row = Row { name: concat!("whole ", stringify!($test)), data: bend!($($data)?) };
            check(row, subject!(flow $(, $context)? $(, $only)?));
        }
    )*};
}

deep! {
    affine_of_4: {
        Vector<3> {
            repeat 2 {
                affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6, 6], tanh));
                affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6, 6], swish));
            }
        }
    }
    affine_of_16: {
        Vector<2> {
            repeat 8 {
                affine_coupling(keep = first, scale = sigmoid(0.5, 1.5), net = mlp([5], swish));
                affine_coupling(keep = second, scale = sigmoid(0.5, 1.5), net = mlp([5], gelu));
            }
        }
    }
    additive_of_8: {
        Vector<4> {
            repeat 4 {
                additive_coupling(keep = even, net = mlp([6], softplus));
                additive_coupling(keep = odd, net = mlp([6], elu));
            }
        }
    }
    spline_of_6: {
        Vector<3> {
            repeat 3 {
                spline_coupling(keep = first, bins = 3, net = mlp([5], tanh));
                linear(lu);
                spline_coupling(keep = second, bins = 4, net = mlp([5], tanh));
            }
        }
    }
    residual_of_6: {
        Vector<3> { repeat 6 { actnorm; residual(lipschitz = 0.9, net = mlp([6, 5], swish)); } }
    }
    linear_of_all_kinds: {
        Vector<4> {
            repeat 3 {
                standardize;
                linear(dense);
                permute(shuffle(3));
                linear(svd);
                scale(-1.3);
                linear(householder(2));
                linear(diagonal);
                permute(roll(1));
            }
        }
    }
    curves: {
        Vector<2> {
            repeat 2 { linear(orthogonal); softplus; leaky_relu(0.3); linear(lu); scale(-3.0); tanh; scale(4.0); }
        }
    }
    on_images: {
        Image<2, 2, 2> {
            repeat 2 {
                affine_coupling(keep = first, scale = tanh(0.5), net = conv([3, 1], hidden = 3, tanh));
                conv1x1(lu);
                additive_coupling(keep = checker_odd, net = conv([3], hidden = 3, swish));
                invertible_conv(kernel = 2);
                unsqueeze(2);
            }
            haar;
        }
    }
    levels: {
        Vector<8> {
            multiscale 3 {
                actnorm;
                affine_coupling(scale = tanh(1.0), net = mlp([5], tanh));
                linear(lu);
            }
            linear(dense);
        }
    }
    levels_of_images: {
        Image<1, 4, 4> {
            multiscale 2 {
                squeeze(2);
                conv1x1(dense);
                affine_coupling(scale = tanh(0.5), net = conv([3], hidden = 3, tanh));
            }
            dual_affine_coupling(scale = tanh(0.5), net = mlp([4], swish));
        }
    }
    residual_nets: {
        Vector<4> {
            repeat 2 {
                affine_coupling(
                    keep = first, scale = tanh(1.0), net = resnet(blocks = 2, hidden = 4, swish)
                );
                affine_coupling(keep = second, scale = mexican_hat(2), net = mlp([5], tanh));
                residual(lipschitz = 0.8, net = resnet(blocks = 1, hidden = 4, tanh));
            }
        }
    }
    splines_of_one: {
        Vector<3> {
            repeat 3 { spline_activation(bins = 4, slopes = (0.3, 3.0)); linear(lu); }
        }
    }
    autoregressive: {
        Vector<3> {
            repeat 2 {
                masked_autoregressive(affine, scale = tanh(1.0), net = made([6], tanh));
                permute(reverse);
                inverse_autoregressive(affine, scale = tanh(1.0), net = made([6], swish));
                masked_autoregressive(spline(bins = 3), net = made([5], tanh));
            }
        }
    }
    planar_of_6 only forward: { Vector<3> { repeat 6 { planar; actnorm; } } }
    radial_of_6 only forward: { Vector<3> { repeat 6 { radial; linear(diagonal); } } }
    sylvester_of_5 only forward: { Vector<4> { repeat 5 { sylvester(2); linear(lu); } } }
    forward_only only forward: {
        Vector<3> { repeat 2 { planar; sylvester(3); radial; linear(householder(1)); } }
    }
    limited_nets: {
        Vector<4> {
            repeat 2 {
                additive_coupling(
                    keep = first, net = mlp([6], tanh, weight_norm = true, lipschitz = 1.5)
                );
                linear(dense);
                additive_coupling(keep = second, net = mlp([6], tanh, lipschitz = 1.5));
            }
        }
    }
}

/// A block without a Jacobian of its own in the middle: bounds of what lies on either side multiply,
/// and hold.
#[test]
fn segments_multiply() {
    flow! {
        struct Broken: Vector<2> {
            repeat 3 { affine_coupling(keep = first, net = mlp([4], tanh)); linear(lu); }
            ode(net = mlp([4], tanh), time = 0.3, solver = rk4(2));
            repeat 3 { affine_coupling(keep = second, net = mlp([4], tanh)); linear(lu); }
        }
    }
    let flow = Broken::<f64>::build(&Cpu::default(), 3).expect("a flow");
    let row = Row { name: "whole in segments", data: |v| v };
    let mut flow = subject!(flow);
    let found = trials(row, &mut flow, (&[0.3, 0.8], &[1e-6, 1e-3]), 30);
    found.print(row.name);
    found.expect_bounds(row.name, 0.5);
}

/// A context of a width of its own.
#[test]
fn contexts_widen() {
    flow! {
        struct Given: Vector<2> given Vector<2> {
            repeat 4 {
                affine_coupling(keep = first, scale = tanh(1.0), net = mlp([4], tanh));
                residual(lipschitz = 0.8, net = mlp([4], swish));
                affine_coupling(keep = second, scale = tanh(1.0), net = mlp([4], tanh));
            }
        }
    }
    let flow = Given::<f64>::build(&Cpu::default(), 3).expect("a flow");
    let row = Row { name: "whole given a context", data: |v| v };
    check(row, subject!(flow, 2));
}

/// The smaller the box, the nearer the bound comes to what is seen at its centre.
#[test]
fn bounds_tend_to_singular_values() {
    flow! {
        struct Deep: Vector<2> {
            repeat 12 {
                affine_coupling(keep = first, scale = tanh(1.0), net = mlp([16, 16], swish));
                affine_coupling(keep = second, scale = tanh(1.0), net = mlp([16, 16], swish));
            }
        }
    }
    let flow = Deep::<f64>::build(&Cpu::default(), 3).expect("a flow");
    let mut flow = subject!(flow);
    for (i, (name, start)) in flow_tests::Stored::parameters(&flow.0).into_iter().enumerate() {
        let mut values = vec![0.0; start.len()];
        Noise::seed(4).at(i as u64).fill_normal(0, &mut values);
        values.iter_mut().for_each(|v| *v *= 0.25);
        flow_tests::Subject::set(&mut flow, &name, &values);
    }
    let x = [0.3, -0.7];
    let z = flow_tests::Subject::run(&flow, Direction::Forward, &x, &[]).rows;
    let (least, most) = jacobian(&flow, Direction::Forward, &x, &[]).extreme_singular_values();
    for (centre, latents) in [(x.to_vec(), false), (z, true)] {
        let mut last = f64::INFINITY;
        for exponent in [12, 16, 20, 24, 28] {
            let half = f64::powi(2.0, -exponent);
            let side = |by: f64| centre.iter().map(|v| v + by).collect::<Vec<f64>>();
            let region = Region::cuboid(side(-half), side(half));
            let region = if latents { region.of_latents() } else { region };
            let bounds = flow.bounds(&region, &Region::everything());
            for block in &bounds.blocks {
                let (forward, inverse) = block.own.published.expect("a published bound");
                assert!(block.own.forward <= forward && block.own.inverse <= inverse, "{block:?}");
            }
            let ratios = [bounds.forward.value() / most, bounds.inverse.value() * least];
            println!("half a side of 2^-{exponent}, of latents {latents}: {ratios:?}");
            let worst = ratios[0].max(ratios[1]);
            assert!(ratios.iter().all(|ratio| *ratio >= 1.0 - 1e-9), "{ratios:?}");
            assert!(worst <= last * 1.001, "{worst} after {last}");
            last = worst;
            if exponent > 16 {
                assert_eq!((bounds.forward.way, bounds.inverse.way), (Way::Whole, Way::Whole));
            }
        }
        assert!(last < 1.01, "{last} times what was seen");
    }
}

/// Also of blocks whose bound holds for all weights that are numbers.
#[test]
fn nothing_is_certified_of_weights_that_are_not_finite() {
    flow! {
        struct Poisoned: Vector<2> {
            actnorm;
            linear(orthogonal);
            residual(lipschitz = 0.5, net = mlp([3], tanh));
            spline_activation(bins = 2);
        }
    }
    let mut flow = Poisoned::<f32>::build(&Cpu::default(), 0).expect("a flow");
    flow.set("0.initialized", &[1.0]).expect("a flag");
    let all: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, values) in all {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut poisoned = values.clone();
            *poisoned.last_mut().expect("a number") = bad;
            // Blocks may refuse it before.
            let Ok(()) = flow.set(&name, &poisoned) else { continue };
            for region in [Region::everything(), Region::cube(-1.0, 1.0)] {
                let error = flow.bilipschitz(&region).expect_err("no bounds").to_string();
                assert!(error.contains(&name) && error.contains("finite number"), "{error}");
            }
        }
        flow.set(&name, &values).expect("what it was");
    }
    assert!(flow.bilipschitz(&Region::everything()).is_ok());
}
