//! Blocks on images.

use flow_core::prelude::*;

laws! {
    squeeze: { Image<3, 2, 4> { squeeze(2); } }
    squeeze_by_three: { Image<1, 3, 6> { squeeze(3); } }
    unsqueeze: { Image<8, 1, 3> { unsqueeze(2); } }
    squeeze_and_back: { Image<5, 2, 2> { squeeze(2); permute(reverse); unsqueeze(2); } }
    haar: { Image<3, 2, 4> { haar; } }
    haar_of_one: { Image<1, 2, 2> { haar; } }
    flatten: { Image<3, 2, 3> { flatten; } }
    flatten_in_the_middle: { Image<3, 1, 2> { actnorm; flatten; linear(lu); } }
    conv1x1_lu: { Image<3, 2, 3> { conv1x1(lu); } }
    conv1x1_lu_of_one: { Image<1, 3, 2> { conv1x1(lu); } }
    conv1x1_dense: { Image<3, 2, 3> { conv1x1(dense); } }
    conv1x1_dense_of_one: { Image<1, 1, 5> { conv1x1(dense); } }
    conv1x1_orthogonal: { Image<5, 1, 3> { conv1x1(orthogonal); } }
    invertible_conv: { Image<1, 2, 4> { invertible_conv(kernel = 2); } }
    invertible_conv_scaled: { Image<1, 3, 3> { invertible_conv(kernel = 3, kappa = 1.5); } }
    multiscale_odd: { Image<5, 1, 2> { multiscale 2 (keep = 3/5) { actnorm; conv1x1(lu); } } }
    multiscale_quarter: {
        Image<1, 4, 4> { multiscale 2 (keep = 1/4) { squeeze(2); conv1x1(dense); actnorm; } }
    }
    multiscale_three_quarters: {
        Image<1, 4, 4> { multiscale 2 (keep = 3/4) { haar; conv1x1(orthogonal); actnorm; } }
    }
    multiscale_to_vectors: {
        Image<3, 2, 2> { squeeze(2); multiscale 2 (keep = 1/3) { actnorm; } linear(svd); }
    }
    glow: {
        Image<1, 4, 4> {
            multiscale 2 {
                squeeze(2);
                actnorm;
                conv1x1(orthogonal);
                affine_coupling(scale = tanh(0.3), net = conv([3], hidden = 3, swish));
            }
        }
    }
    image_to_vector_given given 2: {
        Image<3, 2, 2> given Vector<2> {
            haar;
            additive_coupling(net = conv([1], hidden = 3, tanh));
            flatten;
            affine_coupling(scale = tanh(0.5), net = mlp([4], tanh));
        }
    }
}
