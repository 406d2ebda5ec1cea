//! Residual blocks.

use flow_core::prelude::*;

laws! {
    exact: { Vector<3> { residual(lipschitz = 0.9, net = mlp([7, 6], swish)); } }
    one_feature: { Vector<1> { residual(lipschitz = 0.5, net = mlp([5], tanh)); } }
    given given 2: {
        Vector<5> given Vector<2> { residual(lipschitz = 0.8, net = mlp([7], softplus)); }
    }
    series_of_exact_traces: {
        Vector<2> {
            residual(
                lipschitz = 0.3, net = mlp([6], elu), log_det = series(30, trace = exact)
            );
        }
    }
    weight_norm: {
        Vector<4> { residual(lipschitz = 0.7, net = mlp([6], gelu, weight_norm = true)); }
    }
    between_others: {
        Vector<3> {
            actnorm;
            residual(lipschitz = 0.6, net = mlp([6], tanh));
            linear(lu);
            residual(lipschitz = 0.7, net = mlp([5], swish));
        }
    }
    resnet given 1: {
        Vector<3> given Vector<1> {
            residual(lipschitz = 0.8, net = resnet(blocks = 2, hidden = 5, swish));
        }
    }
    resnet_series: {
        Vector<2> {
            residual(
                lipschitz = 0.3,
                net = resnet(blocks = 1, hidden = 6, tanh, weight_norm = true),
                log_det = series(30, trace = exact)
            );
        }
    }
    resnet_on_images: {
        Image<1, 2, 3> {
            residual(lipschitz = 0.7, net = resnet(blocks = 1, hidden = 3, gelu));
        }
    }
    on_images: {
        Image<2, 2, 3> { residual(lipschitz = 0.8, net = conv([3, 3], hidden = 3, swish)); }
    }
    on_images_given given 1: {
        Image<1, 3, 2> given Vector<1> {
            residual(lipschitz = 0.6, net = conv([3, 1], hidden = 4, tanh));
        }
    }
}

/// Radii of whole flows: they hold, and are infinite or 0 where they must be.
/// Weights far from those that a flow starts with.
fn shake<A: flow_core::Architecture<f64>>(flow: &mut Flow<A, f64>) {
    let names: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    let noise = Noise::seed(1);
    for (name, mut values) in names {
        let jitter = noise.named(&name);
        values.iter_mut().enumerate().for_each(|(i, v)| *v += 0.7 * jitter.normal(i as u64));
        flow.set(&name, &values).unwrap();
    }
}

#[test]
fn radii_are_certified_through_a_flow() {
    use dfdx::prelude::{AsArray, Cpu, TensorFrom};

    flow! {
        struct Coarse: Vector<2> {
            residual(lipschitz = 0.8, net = mlp([6], tanh), tolerance = 1e-3);
            linear(orthogonal);
            residual(lipschitz = 0.5, net = mlp([6], tanh, zero_init = false), tolerance = 1e-4);
        }
        /// The second level divides half of a row, and what that is off.
        struct Levels: Vector<4> {
            multiscale 2 { scale(64.0); }
            residual(lipschitz = 0.8, net = mlp([6], tanh, zero_init = false), tolerance = 1e-3);
        }
        struct Unbounded: Vector<2> { linear(lu); residual(lipschitz = 0.5, net = mlp([6], tanh)); }
        struct Closed: Vector<2> { linear(lu); affine_coupling(net = mlp([6], tanh)); actnorm; }
    }
    let cpu = Cpu::default();
    let mut flow = Coarse::<f64>::build(&cpu, 1).unwrap();
    shake(&mut flow);
    let x = [[0.3, -1.7], [0.0, 0.0], [40.0, 3.0]];
    let (z, _) = flow.forward(cpu.tensor(x)).unwrap();
    let (back, log_det, radius) = flow.inverse_with_radius(z.clone()).unwrap();
    assert_eq!((back.array(), log_det.array()), {
        let (back, log_det) = flow.inverse(z).unwrap();
        (back.array(), log_det.array())
    });
    let mut some = false;
    for ((x, back), radius) in x.iter().zip(back.array()).zip(radius.array()) {
        let error = (x[0] - back[0]).hypot(x[1] - back[1]);
        assert!(error <= radius, "off by {error}, not {radius}");
        // (1e-4/(1 − 0.8) + 1e-3) of the row's length, or of 1.
        assert!(radius < 2e-3 * x[0].hypot(x[1]).max(1.0), "a radius of {radius}");
        some |= error > 1e-6;
    }
    assert!(some, "the tolerance does not show");

    let mut levels = Levels::<f64>::build(&cpu, 1).unwrap();
    shake(&mut levels);
    // Small enough that the net is not saturated behind the levels.
    let x: [[f64; 4]; 2] = [[3e-4, -2e-4, 1e-4, 3e-4], [-1e-4, 2e-4, -2e-4, 1e-4]];
    let (z, _) = levels.forward(cpu.tensor(x)).unwrap();
    let (back, _, radius) = levels.inverse_with_radius(z).unwrap();
    for ((x, back), radius) in x.iter().zip(back.array()).zip(radius.array()) {
        let error = x.iter().zip(back).map(|(x, b)| (x - b).powi(2)).sum::<f64>().sqrt();
        assert!(0.0 < error && error <= radius, "off by {error}, not {radius}");
    }

    let unbounded = Unbounded::<f64>::build(&cpu, 1).unwrap();
    let (_, _, radius) = unbounded.inverse_with_radius(cpu.tensor([[0.5, 1.0]])).unwrap();
    assert_eq!(radius.array(), [f64::INFINITY]);
    let mut closed = Closed::<f64>::build(&cpu, 1).unwrap();
    closed.initialize(cpu.tensor([[0.5, 1.0], [1.0, 2.0]])).unwrap();
    let (_, _, radius) = closed.inverse_with_radius(cpu.tensor([[0.5, 1.0]])).unwrap();
    assert_eq!(radius.array(), [0.0]);
}
