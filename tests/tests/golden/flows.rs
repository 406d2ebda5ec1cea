//! Blocks together.

use flow_core::prelude::*;

golden! {
    labels: f32 (3e-7, 1e-6), {
        pub struct Labels: Vector<3> {
            'scale: actnorm;
            affine_coupling(keep = second, scale = exp, net = mlp([8], relu));
            'mix: repeat 2 {
                'turn: linear(lu);
                affine_coupling(keep = first, scale = tanh(1.5), net = mlp([8], gelu));
            }
        }
    } as Labels;
    deep_affine: f32 (6e-7, 1e-6), {
        pub struct DeepAffine: Vector<4> {
            repeat 8 {
                affine_coupling(keep = first, scale = tanh(2.0), net = mlp([16, 16], swish));
                actnorm;
                permute(reverse);
            }
        }
    } as DeepAffine;
    neural_spline_flow: f32 (6e-6, 1e-5), {
        pub struct NeuralSplineFlow: Vector<6> {
            repeat 3 {
                linear(lu);
                spline_coupling(keep = first, net = mlp([16, 16], relu));
                spline_coupling(keep = second, net = mlp([16, 16], relu));
            }
        }
    } as NeuralSplineFlow;
}
