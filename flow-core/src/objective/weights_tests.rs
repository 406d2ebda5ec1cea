use dfdx::prelude::ZeroGrads;

use crate::lipschitz::Region;
use crate::objective::testing::*;
use crate::objective::{BoundPenalty, LogDeterminantPenalty, Objectives};
use crate::prelude::*;
use crate::{Architecture, Event, Flow, Unconditional};

flow! {
    struct Smooth: Vector<3> {
        actnorm;
        additive_coupling(net = mlp([5, 4], tanh, zero_init = false));
        linear(lu);
        permute(reverse);
        linear(dense);
        linear(diagonal);
        additive_coupling(net = mlp([5], swish, weight_norm = true, zero_init = false));
    }

    struct Turned: Vector<3> {
        standardize;
        linear(svd);
        additive_coupling(net = resnet(blocks = 2, hidden = 4, swish, zero_init = false));
        linear(householder(2));
        leaky_relu(slope = 0.3);
        linear(orthogonal);
    }

    struct Folded: Image<1, 4, 4> {
        squeeze(2);
        conv1x1(orthogonal);
        additive_coupling(net = resnet(blocks = 1, hidden = 3, tanh, zero_init = false));
    }

    /// Below its constant the weights count.
    struct Bent: Vector<2> { spline_activation(bins = 3); }

    struct Limited: Vector<2> {
        residual(lipschitz = 0.9, net = mlp([6], swish, zero_init = false));
        additive_coupling(net = mlp([5], tanh, lipschitz = 2.0, zero_init = false));
    }

    struct Convolved: Image<1, 4, 4> {
        invertible_conv(kernel = 2);
        additive_coupling(net = conv([3, 1], hidden = 3, relu, zero_init = false));
        conv1x1(lu);
    }

    struct Unbounded: Vector<2> {
        linear(lu);
        affine_coupling(net = mlp([5], tanh));
        affine_coupling(net = mlp([5], tanh));
    }

    struct Stretched: Image<1, 4, 4> {
        squeeze(2);
        actnorm;
        conv1x1(lu);
        affine_coupling(net = conv([3], hidden = 2, tanh, zero_init = false));
    }
}

/// All weights moved, by `size` times a normal number.
fn moved<A: Architecture<f64>>(flow: &Flow<A, f64>, size: f64) -> Flow<A, f64> {
    let (mut moved, noise) = (flow.clone(), Noise::seed(11));
    for p in flow.parameters() {
        let noise = noise.named(p.name);
        let values: Vec<f64> =
            p.values.iter().zip(0..).map(|(v, i)| v + size * noise.normal(i)).collect();
        moved.set(p.name, &values).unwrap();
    }
    moved
}

/// `ln b_F + ln b_G` by the way that certifies them.
fn certified<A>(flow: &Flow<A, f64>) -> f64
where
    A: Architecture<f64, Context = Unconditional>,
{
    let bounds = flow.bilipschitz(&Region::everything()).unwrap();
    bounds.forward.log + bounds.inverse.log
}

fn check_bounds<A>(flow: &Flow<A, f64>)
where
    A: Architecture<f64, Context = Unconditional>,
{
    let x = rows(1, A::Event::SHAPE.size()).x::<A::Event>().unwrap();
    let objectives = Objectives::new().plus(1.0, BoundPenalty);
    let (value, gradient) = loss(&objectives, flow, flow, x, &step(0));
    let expected = certified(flow);
    assert!((value - expected).abs() < 1e-10 * expected, "{value} for {expected}");
    assert_close(&gradient, &numeric(flow, certified), 1e-6);
}

#[test]
fn the_bound_penalty_is_what_is_certified_and_its_gradient_too() {
    for size in [0.1, 0.4] {
        check_bounds(&moved(&Smooth::<f64>::build(&cpu(), 1).unwrap(), size));
        check_bounds(&moved(&Convolved::<f64>::build(&cpu(), 1).unwrap(), size));
        check_bounds(&moved(&Turned::<f64>::build(&cpu(), 1).unwrap(), size));
        check_bounds(&moved(&Folded::<f64>::build(&cpu(), 1).unwrap(), size));
        // Below the constants that the nets keep: near them the bound does not move.
        let mut limited = Limited::<f64>::build(&cpu(), 1).unwrap().clone();
        for p in limited.clone().parameters() {
            let smaller: Vec<f64> = p.values.iter().map(|v| size * v).collect();
            limited.set(p.name, &smaller).unwrap();
        }
        check_bounds(&limited);
    }
}

#[test]
fn a_bound_that_the_architecture_keeps_does_not_pull() {
    let flow = moved(&Limited::<f64>::build(&cpu(), 1).unwrap(), 4.0);
    let x = rows(1, 2).x::<Vector<2>>().unwrap();
    let objectives = Objectives::new().plus(1.0, BoundPenalty);
    let (value, gradient) = loss(&objectives, &flow, &flow, x, &step(0));
    // (1 + c)/(1 − c), and the square of 1 + √2.
    let expected = (1.9_f64 / 0.1).ln() + 2.0 * (1.0 + 2f64.sqrt()).ln();
    assert!((value - expected).abs() < 1e-6, "{value} for {expected}");
    assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
}

#[test]
fn what_has_no_bound_is_named() {
    let flow = moved(&Unbounded::<f64>::build(&cpu(), 1).unwrap(), 0.1);
    let x = rows(1, 2).x::<Vector<2>>().unwrap();
    let objectives = Objectives::new().plus(1.0, BoundPenalty);
    let loss = objectives.loss(&flow, x, &step(0), flow.alloc_grads());
    let error = loss.unwrap_err().to_string();
    let expected = "the certified bound everywhere of the block at 1 is infinite";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.contains("help: affine and spline couplings have none"), "{error}");
}

#[test]
fn what_has_a_bound_without_a_derivative_is_named() {
    let flow = moved(&Bent::<f64>::build(&cpu(), 1).unwrap(), 0.1);
    let x = rows(1, 2).x::<Vector<2>>().unwrap();
    let objectives = Objectives::new().plus(1.0, BoundPenalty);
    let loss = objectives.loss(&flow, x, &step(0), flow.alloc_grads());
    let error = loss.unwrap_err().to_string();
    let expected = "the certified bound everywhere of the block at 0 is not differentiable";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.contains("help: linear maps, `actnorm`"), "{error}");
}

#[test]
fn log_determinants_of_linear_blocks_are_penalised_and_no_others() {
    let rows = rows(5, 16);
    let x = || rows.x::<Image<1, 4, 4>>().unwrap();
    let mut flow = Stretched::<f64>::build(&cpu(), 1).unwrap();
    flow.initialize(x()).unwrap();
    let flow = moved(&flow, 0.3);
    // Both blocks' features are those of 2 × 2 pixels.
    let by_hand = |flow: &Flow<_, f64>| {
        let sum = |name: &str| -> f64 {
            flow.parameters().filter(|p| p.name == name).flat_map(|p| p.values.to_vec()).sum()
        };
        let stretch = |name| 4.0 * sum(name) / 16.0;
        stretch("1.log_scale").powi(2) + stretch("2.log_diagonal").powi(2)
    };
    let objectives = Objectives::new().plus(1.0, LogDeterminantPenalty);
    let (value, gradient) = loss(&objectives, &flow, &flow, x(), &step(0));
    assert!(value > 1e-3 && (value - by_hand(&flow)).abs() < 1e-12, "{value}");
    assert_close(&gradient, &numeric(&flow, by_hand), 1e-9);
}
