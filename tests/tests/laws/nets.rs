//! Conditioners, in a coupling each.

use flow_core::prelude::*;

laws! {
    mlp_relu: { Vector<4> { affine_coupling(scale = tanh(1.0), net = mlp([9, 8], relu)); } }
    mlp_leaky_relu: {
        Vector<4> { affine_coupling(scale = tanh(1.0), net = mlp([9, 8], leaky_relu)); }
    }
    mlp_without_hidden_layers: { Vector<4> { additive_coupling(net = mlp([], tanh)); } }
}
