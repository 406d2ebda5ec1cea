//! Masked and inverse autoregressive blocks.

use flow_core::prelude::*;

laws! {
    masked_affine_exp: { Vector<5> { masked_autoregressive(affine, net = made([9], tanh)); } }
    masked_affine_tanh: {
        Vector<4> { masked_autoregressive(affine, scale = tanh(1.5), net = made([7, 11], swish)); }
    }
    masked_affine_sigmoid: {
        Vector<3> {
            masked_autoregressive(affine, scale = sigmoid(0.5, 1.0), net = made([6], softplus));
        }
    }
    masked_affine_of_one: { Vector<1> { masked_autoregressive(affine, net = made([3], tanh)); } }
    masked_affine_of_one_given given 2: {
        Vector<1> given Vector<2> { masked_autoregressive(affine, net = made([3, 2], tanh)); }
    }
    masked_affine_of_two: {
        Vector<2> { masked_autoregressive(affine, net = made([4, 5], gelu)); }
    }
    masked_affine_narrow: {
        Vector<7> { masked_autoregressive(affine, scale = tanh(1.0), net = made([3], elu)); }
    }
    masked_affine_given given 3: {
        Vector<4> given Vector<3> {
            masked_autoregressive(affine, scale = tanh(1.0), net = made([9, 6], tanh));
        }
    }
    masked_affine_lipschitz: {
        Vector<4> { masked_autoregressive(affine, net = made([7, 5], tanh, lipschitz = 0.4)); }
    }
    masked_affine_weight_norm: {
        Vector<4> {
            masked_autoregressive(
                affine, scale = tanh(1.0), net = made([7, 6], swish, weight_norm = true)
            );
        }
    }
    masked_spline: {
        Vector<4> { masked_autoregressive(spline(bins = 5), net = made([7], swish)); }
    }
    masked_spline_given given 2: {
        Vector<3> given Vector<2> {
            masked_autoregressive(spline(bins = 3, bound = 2.0), net = made([6, 8], tanh));
        }
    }
    inverse_affine_exp: { Vector<4> { inverse_autoregressive(affine, net = made([7], tanh)); } }
    inverse_affine_sigmoid: {
        Vector<3> {
            inverse_autoregressive(affine, scale = sigmoid(0.5, 1.0), net = made([6, 4], elu));
        }
    }
    inverse_affine_of_one: { Vector<1> { inverse_autoregressive(affine, net = made([3], tanh)); } }
    inverse_affine_given given 2: {
        Vector<5> given Vector<2> {
            inverse_autoregressive(affine, scale = tanh(1.0), net = made([4, 9], swish));
        }
    }
    inverse_spline: {
        Vector<3> { inverse_autoregressive(spline(bins = 4), net = made([8], tanh)); }
    }
    masked_in_turn: {
        Vector<3> {
            repeat 2 {
                masked_autoregressive(affine, scale = tanh(0.5), net = made([6], tanh));
                permute(reverse);
                inverse_autoregressive(affine, scale = tanh(0.5), net = made([6], tanh));
            }
        }
    }
}
