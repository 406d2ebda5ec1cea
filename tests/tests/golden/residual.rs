//! Residual blocks.

use flow_core::prelude::*;

golden! {
    residual: f32 (2e-7, 1e-7), {
        pub struct Residual: Vector<3> {
            residual(lipschitz = 0.9, net = mlp([16, 16], swish), log_det = exact);
        }
    } as Residual;
    residual_conv: f32 (9e-7, 1e-7), {
        pub struct ResidualConv: Image<2, 4, 4> {
            residual(lipschitz = 0.8, net = conv([3, 3], hidden = 8, elu), log_det = exact);
        }
    } as ResidualConv;
}
