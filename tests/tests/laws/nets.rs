//! Conditioners, in a coupling each.

use flow_core::prelude::*;

laws! {
    mlp_relu: { Vector<4> { affine_coupling(scale = tanh(1.0), net = mlp([9, 8], relu)); } }
    mlp_leaky_relu: {
        Vector<4> { affine_coupling(scale = tanh(1.0), net = mlp([9, 8], leaky_relu)); }
    }
    mlp_without_hidden_layers: { Vector<4> { additive_coupling(net = mlp([], tanh)); } }
    mlp_weight_norm: {
        Vector<4> {
            affine_coupling(scale = tanh(1.0), net = mlp([6, 5], swish, weight_norm = true));
        }
    }
    mlp_weight_norm_lipschitz: {
        Vector<4> {
            additive_coupling(net = mlp([6], tanh, weight_norm = true, lipschitz = 0.6));
        }
    }
    conv_weight_norm: {
        Image<2, 3, 2> {
            affine_coupling(
                scale = tanh(1.0), net = conv([3, 1, 3], hidden = 4, gelu, weight_norm = true)
            );
        }
    }
    conv_large_kernel: {
        Image<2, 1, 3> { additive_coupling(net = conv([5], hidden = 4, relu)); }
    }
}
