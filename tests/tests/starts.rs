//! How flows start.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::weights::drawn;

#[path = "starts/names.rs"]
mod names;
#[path = "starts/numbers.rs"]
mod numbers;

flow! {
    /// An expansion by 1/beta, then a contraction by beta ("Jacobian determinant of normalizing
    /// flows", section 3.2 and equation 18).
    struct Balanced: Image<2, 4, 4> {
        repeat 2 {
            dual_affine_coupling(
                scale = mexican_hat(3, beta = 0.7),
                net = conv([3, 3], hidden = 4, tanh, zero_init = true)
            );
            spline_activation(beta = 0.7);
        }
    }

    struct Identities: Vector<4> {
        affine_coupling(net = mlp([8], relu));
        spline_coupling(net = mlp([8], relu));
        masked_autoregressive(affine, net = made([8], relu));
        inverse_autoregressive(spline, net = made([8], relu));
        residual(lipschitz = 0.9, net = mlp([8], swish));
        ode(net = mlp([8], tanh));
        planar;
        radial;
        sylvester(rank = 2);
    }

    struct Expanding: Image<2, 4, 4> {
        invertible_conv(kernel = 2, kappa = 1.5);
    }
}

fn numbers(count: usize) -> Vec<f64> {
    drawn(&Noise::seed(2), count)
}

#[test]
fn an_expansion_and_a_contraction_start_volume_preserving() {
    let cpu = Cpu::default();
    let flow = Balanced::<f64>::build(&cpu, 0).unwrap();
    // Small numbers stay on the straight part of the activation.
    let x: Vec<f64> = numbers(5 * 32).into_iter().map(|v| 0.3 * v).collect();
    let x = cpu.tensor_from_vec(x, (5, Const::<2>, Const::<4>, Const::<4>));
    let (z, log_det) = flow.forward(x.clone()).unwrap();
    assert!((z - x).abs().max::<Rank0, _>().array() < 1e-12);
    assert!(log_det.abs().max::<Rank0, _>().array() < 1e-11);
}

#[test]
fn blocks_with_a_zero_last_layer_start_as_the_identity() {
    let cpu = Cpu::default();
    let flow = Identities::<f64>::build(&cpu, 0).unwrap();
    let x = cpu.tensor_from_vec(numbers(5 * 4), (5, Const::<4>));
    let (z, log_det) = flow.forward(x.clone()).unwrap();
    assert!((z - x).abs().max::<Rank0, _>().array() < 1e-12);
    assert!(log_det.abs().max::<Rank0, _>().array() < 1e-12);
}

#[test]
fn a_convolution_starts_at_kappa() {
    let cpu = Cpu::default();
    let flow = Expanding::<f64>::build(&cpu, 0).unwrap();
    let x = cpu.tensor_from_vec(numbers(32), (1, Const::<2>, Const::<4>, Const::<4>));
    let (z, log_det) = flow.forward(x.clone()).unwrap();
    let (z, x) = (z.square().sum::<Rank0, _>().array(), x.square().sum::<Rank0, _>().array());
    assert!((z - 2.25 * x).abs() < 1e-11);
    assert!((log_det.as_vec()[0] - 32.0 * 1.5_f64.ln()).abs() < 1e-11);
}
