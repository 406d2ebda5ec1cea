//! Rows of further blocks and nets, so that every block of the language stands in one.

use flow_core::lipschitz::Region;
use flow_core::prelude::*;

/// Into (0, 1), and short of its ends.
fn unsigned(v: f64) -> f64 {
    0.5 + 0.45 * v.tanh()
}

sound! {
    squashes: { Vector<3> { tanh; scale(2.5); softplus; scale(0.7); sigmoid; } }
    logit_of_data data unsigned: { Vector<2> { logit(0.02); leaky_relu(0.4); } }
    spline_activation: {
        Vector<3> {
            spline_activation(bins = 4, slopes = (0.5, 2.0));
            linear(lu);
            spline_activation(bins = 3, slopes = (0.2, 1.5));
        }
    }
    spline_activation_of_small_slopes: {
        Image<2, 1, 2> { spline_activation(bins = 2, slopes = (0.05, 0.4)); }
    }
    masked_affine: {
        Vector<4> {
            masked_autoregressive(affine, scale = tanh(1.0), net = made([6], tanh));
            permute(reverse);
            masked_autoregressive(affine, net = made([5, 4], swish));
        }
    }
    masked_affine_given given 2: {
        Vector<3> given Vector<2> {
            masked_autoregressive(affine, scale = sigmoid(0.5, 1.0), net = made([6], gelu));
        }
    }
    masked_affine_of_one: { Vector<1> { masked_autoregressive(affine, net = made([3], tanh)); } }
    masked_affine_limited: {
        Vector<4> {
            masked_autoregressive(affine, scale = tanh(1.0), net = made([6], elu, lipschitz = 0.7));
        }
    }
    masked_spline: {
        Vector<3> { masked_autoregressive(spline(bins = 3), net = made([5], softplus)); }
    }
    inverse_affine: {
        Vector<4> {
            inverse_autoregressive(affine, scale = tanh(1.0), net = made([6], tanh));
            permute(reverse);
            inverse_autoregressive(
                affine, scale = sigmoid(0.5, 1.5), net = made([5], relu, weight_norm = true)
            );
        }
    }
    inverse_spline: {
        Vector<3> { inverse_autoregressive(spline(bins = 3), net = made([5], leaky_relu)); }
    }
    resnet: {
        Vector<4> {
            affine_coupling(scale = tanh(1.0), net = resnet(blocks = 2, hidden = 4, swish));
            additive_coupling(
                net = resnet(blocks = 1, hidden = 4, tanh, weight_norm = true, lipschitz = 0.8)
            );
        }
    }
    resnet_attention: {
        Vector<4> {
            additive_coupling(net = resnet(blocks = 1, hidden = 5, elu, attention = true));
        }
    }
    resnet_on_images: {
        Image<2, 2, 2> {
            affine_coupling(
                scale = tanh(1.0),
                net = resnet(blocks = 1, hidden = 4, softplus, attention = true)
            );
            additive_coupling(net = resnet(blocks = 1, hidden = 3, gelu));
        }
    }
    weight_norm: {
        Vector<4> {
            additive_coupling(net = mlp([5], relu, weight_norm = true));
            affine_coupling(
                scale = tanh(1.0), net = mlp([5], swish, weight_norm = true, lipschitz = 0.6)
            );
        }
    }
    coupling_given given 2: {
        Vector<3> given Vector<2> {
            affine_coupling(scale = tanh(1.0), net = mlp([5], tanh));
            spline_coupling(bins = 3, net = resnet(blocks = 1, hidden = 4, swish));
        }
    }
    residual_resnet: {
        Vector<3> { residual(lipschitz = 0.9, net = resnet(blocks = 1, hidden = 4, tanh)); }
    }
    rk4: {
        Vector<3> { ode(net = mlp([5], tanh), time = 0.6, solver = rk4(3)); }
    }
    rk4_limited: {
        Vector<3> {
            ode(net = mlp([5], swish, lipschitz = 0.8), time = 1.5, solver = rk4(4));
        }
    }
    rk4_given given 2: {
        Vector<2> given Vector<2> { ode(net = mlp([4], softplus), time = 0.4, solver = rk4(2)); }
    }
    rk4_on_images: {
        Image<1, 2, 2> { ode(net = conv([3, 1], hidden = 3, tanh), time = 0.5, solver = rk4(2)); }
    }
    planar only forward: { Vector<3> { planar; } }
    planar_of_one only forward: { Vector<1> { planar; } }
    radial only forward: { Vector<4> { radial; } }
    radial_of_one only forward: { Vector<1> { radial; } }
    sylvester only forward: { Vector<4> { sylvester(2); } }
    sylvester_of_full_rank only forward: { Vector<3> { sylvester(3); } }
    forward_only only forward: { Vector<3> { actnorm; planar; radial; sylvester(2); planar; } }
    whole_language: {
        Image<1, 4, 4> {
            actnorm;
            multiscale 2 {
                squeeze(2);
                conv1x1(orthogonal);
                affine_coupling(scale = tanh(0.5), net = conv([3], hidden = 3, relu));
            }
            dual_affine_coupling(scale = tanh(0.3), net = mlp([4], swish));
        }
    }
}

/// The box that reaches each block, and so the one after two wide rotations in f32.
#[test]
fn a_box_survives_wide_rotations_in_single_precision() {
    flow! { struct Wide: Vector<256> { linear(orthogonal); linear(svd); actnorm; } }
    let flow = Wide::<f32>::build(&dfdx::prelude::Cpu::default(), 1).expect("a flow");
    let bounds = flow.bilipschitz(&Region::cube(-1e-3, 1e-3)).expect("bounds");
    // A row of a rotation has absolute values that add up to at most √256.
    let inputs = [1e-3, 16e-3, 256e-3].map(|most: f64| 1.001 * most);
    for (block, most) in bounds.blocks.iter().zip(inputs) {
        let (low, high) = block.input.expect("a box");
        assert!(-most < low && high < most, "{}: from {low} to {high}", block.path);
    }
}
