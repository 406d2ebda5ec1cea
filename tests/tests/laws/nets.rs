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
    resnet: {
        Vector<5> {
            affine_coupling(scale = tanh(1.0), net = resnet(blocks = 2, hidden = 6, swish));
        }
    }
    resnet_of_one_block: {
        Vector<2> {
            additive_coupling(net = resnet(blocks = 1, hidden = 1, tanh, zero_init = false));
        }
    }
    resnet_given_context given 3: {
        Vector<3> given Vector<3> {
            spline_coupling(net = resnet(blocks = 1, hidden = 4, swish));
        }
    }
    resnet_lipschitz: {
        Vector<4> {
            additive_coupling(
                net = resnet(blocks = 2, hidden = 5, gelu, weight_norm = true, lipschitz = 0.8)
            );
        }
    }
    resnet_attention: {
        Vector<4> {
            affine_coupling(
                scale = tanh(1.0),
                net = resnet(blocks = 1, hidden = 9, swish, attention = true, weight_norm = true)
            );
        }
    }
    resnet_image: {
        Image<3, 3, 2> {
            affine_coupling(scale = tanh(1.0), net = resnet(blocks = 2, hidden = 4, swish));
        }
    }
    resnet_image_given_context given 2: {
        Image<2, 1, 3> given Vector<2> {
            additive_coupling(
                keep = checker_even,
                net = resnet(blocks = 1, hidden = 4, elu, weight_norm = true)
            );
        }
    }
    resnet_image_lipschitz: {
        Image<2, 3, 3> {
            additive_coupling(net = resnet(blocks = 1, hidden = 3, softplus, lipschitz = 0.6));
        }
    }
    resnet_image_attention: {
        Image<2, 2, 3> {
            affine_coupling(
                scale = tanh(1.0),
                net = resnet(blocks = 2, hidden = 5, tanh, attention = true)
            );
        }
    }
}
