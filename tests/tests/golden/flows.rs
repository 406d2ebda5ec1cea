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
    image_to_vector: f32 (3e-7, 2e-7), {
        pub struct ImageToVector: Image<1, 4, 4> {
            squeeze(2);
            actnorm;
            flatten;
            affine_coupling(keep = second, scale = exp, net = mlp([16], relu));
        }
    } as ImageToVector;
    multiscale: f32 (5e-7, 2e-7), {
        pub struct Multiscale: Image<3, 8, 8> {
            multiscale 3 {
                squeeze(2);
                actnorm;
                affine_coupling(
                    keep = first, scale = sigmoid(0.5, 1.0), net = conv([3, 1, 3], hidden = 6, relu)
                );
            }
        }
    } as Multiscale;
    glow: f32 (2e-6, 6e-7), {
        pub struct Glow: Image<3, 8, 8> {
            multiscale 3 {
                squeeze(2);
                repeat 2 {
                    actnorm;
                    conv1x1(lu);
                    affine_coupling(
                        keep = first,
                        scale = sigmoid(0.5, 1.0),
                        net = conv([3, 1, 3], hidden = 6, relu)
                    );
                }
            }
        }
    } as Glow;
}
