//! Flows on a GPU, which is the emulated one unless the environment says otherwise.

use flow_core::prelude::*;

mod errors;
mod memory;
mod passes;
mod samples;
mod tape;
mod training;

flow! {
    pub(crate) struct Plain: Vector<3> {
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish));
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish));
    }

    pub(crate) struct Images: Image<1, 4, 4> {
        multiscale 2 {
            squeeze(2);
            actnorm;
            conv1x1(lu);
            affine_coupling(scale = tanh(0.5), net = conv([3, 1], hidden = 4, relu));
        }
    }

    pub(crate) struct Rotations: Vector<4> given Vector<2> {
        linear(svd);
        affine_coupling(keep = even, scale = tanh(1.0), net = mlp([6], swish, weight_norm = true));
        linear(orthogonal);
    }

    pub(crate) struct Sequence: Vector<3> {
        masked_autoregressive(affine, net = made([7, 5], tanh, zero_init = false));
        inverse_autoregressive(spline, net = made([6], swish, zero_init = false));
    }

    pub(crate) struct Solved: Vector<2> {
        residual(lipschitz = 0.9, net = mlp([8], swish));
        residual(lipschitz = 0.7, net = mlp([8], tanh));
    }

    pub(crate) struct Estimated: Vector<3> given Vector<1> {
        residual(lipschitz = 0.6, net = mlp([7], swish), log_det = roulette(p = 0.4, exact_terms = 3));
        residual(lipschitz = 0.5, net = mlp([6], tanh), log_det = series(5));
    }

    pub(crate) struct Continuous: Vector<2> given Vector<1> {
        ode(net = mlp([6], tanh), solver = rk4(3));
        ode(net = mlp([5], swish), time = 0.5, solver = rk4(2), trace = hutchinson);
    }

    pub(crate) struct Adaptive: Vector<2> {
        ode(net = mlp([6], tanh), solver = dopri5(1e-5));
    }

    #[base(uniform)]
    pub(crate) struct InCube: Vector<3> {
        affine_coupling(keep = first, net = mlp([4], tanh));
        affine_coupling(keep = second, net = mlp([4], tanh));
        sigmoid;
    }

    #[base(logistic)]
    pub(crate) struct Logistic: Image<1, 2, 2> {
        affine_coupling(keep = checker_even, net = conv([3, 1], hidden = 3, tanh));
        affine_coupling(keep = checker_odd, net = conv([3, 1], hidden = 3, tanh));
        actnorm;
    }

    #[base(mixture(3))]
    pub(crate) struct Mixed: Image<1, 2, 2> {
        squeeze(2);
        affine_coupling(net = conv([1, 1], hidden = 3, tanh));
        affine_coupling(net = conv([1, 1], hidden = 3, tanh));
    }
}

/// Numbers that differ by no more than a tolerance, absolute near zero and relative beyond one.
fn close(what: &str, found: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}[{i}] is {a}, not {b}");
    }
}
