//! Masked and inverse autoregressive blocks.

use flow_core::prelude::*;

golden! {
    masked_autoregressive_affine: f32 (2e-7, 1e-7), {
        pub struct MaskedAutoregressiveAffine: Vector<5> {
            masked_autoregressive(affine, scale = sigmoid(0.001, 1.001), net = made([16, 16], relu));
        }
    } as MaskedAutoregressiveAffine;
    masked_autoregressive_tanh: f32 (1e-7, 3e-7), {
        pub struct MaskedAutoregressiveTanh: Vector<4> {
            masked_autoregressive(affine, scale = tanh(2.0), net = made([12, 20], tanh));
        }
    } as MaskedAutoregressiveTanh;
    masked_autoregressive_spline: f32 (3e-6, 6e-7), {
        pub struct MaskedAutoregressiveSpline: Vector<5> {
            masked_autoregressive(spline, net = made([16, 16], relu));
        }
    } as MaskedAutoregressiveSpline;
    inverse_autoregressive_affine: f32 (1e-7, 2e-7), {
        pub struct InverseAutoregressiveAffine: Vector<5> {
            inverse_autoregressive(affine, scale = sigmoid(0.5, 1.0), net = made([16, 16], elu));
        }
    } as InverseAutoregressiveAffine;
}
