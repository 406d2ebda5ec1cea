//! Couplings on vectors.

use flow_core::prelude::*;

laws! {
    additive_first: { Vector<5> { additive_coupling(keep = first, net = mlp([7], tanh)); } }
    additive_second: { Vector<3> { additive_coupling(keep = second, net = mlp([7, 5], elu)); } }
    additive_given given 2: {
        Vector<3> given Vector<2> { additive_coupling(keep = even, net = mlp([7], swish)); }
    }
    additive_lipschitz: {
        Vector<5> { additive_coupling(keep = first, net = mlp([9, 6], tanh, lipschitz = 0.7)); }
    }
    affine_exp: { Vector<5> { affine_coupling(keep = first, net = mlp([7], swish)); } }
    affine_tanh: {
        Vector<4> { affine_coupling(keep = even, scale = tanh(1.5), net = mlp([7], gelu)); }
    }
    affine_sigmoid: {
        Vector<2> {
            affine_coupling(keep = odd, scale = sigmoid(0.5, 1.0), net = mlp([7], softplus));
        }
    }
    affine_sigmoid_shifted: {
        Vector<3> {
            affine_coupling(scale = sigmoid(0.1, 2.0, shift = -0.5), net = mlp([7], softplus));
        }
    }
    affine_given given 3: {
        Vector<5> given Vector<3> { affine_coupling(keep = second, net = mlp([7, 6], tanh)); }
    }
    spline: { Vector<5> { spline_coupling(keep = first, net = mlp([7], swish)); } }
    spline_narrow: {
        Vector<3> { spline_coupling(keep = odd, bins = 3, bound = 0.8, net = mlp([7], tanh)); }
    }
    spline_given given 2: {
        Vector<4> given Vector<2> { spline_coupling(keep = second, bins = 5, net = mlp([7], elu)); }
    }

    on_images_additive: {
        Image<3, 2, 3> {
            additive_coupling(keep = first, net = conv([3], hidden = 4, tanh, lipschitz = 0.8));
        }
    }
    on_images_affine: {
        Image<3, 3, 2> {
            affine_coupling(keep = second, scale = tanh(1.0), net = conv([3, 1, 3], hidden = 5, swish));
        }
    }
    on_images_affine_given given 2: {
        Image<2, 2, 2> given Vector<2> {
            affine_coupling(scale = sigmoid(0.5, 1.0), net = conv([1, 3], hidden = 4, elu));
        }
    }
    on_images_spline: {
        Image<2, 2, 3> {
            spline_coupling(keep = first, bins = 3, net = conv([3], hidden = 4, swish));
        }
    }
    on_images_checker_even: {
        Image<2, 3, 3> {
            affine_coupling(
                keep = checker_even, scale = tanh(1.0), net = conv([3, 3], hidden = 4, tanh)
            );
        }
    }
    on_images_checker_odd_given given 1: {
        Image<1, 2, 3> given Vector<1> {
            affine_coupling(
                keep = checker_odd, scale = tanh(1.0), net = conv([3, 3], hidden = 4, softplus)
            );
        }
    }

    affine_mexican_hat: {
        Vector<5> {
            affine_coupling(keep = first, scale = mexican_hat(3), net = mlp([7], swish));
        }
    }
    affine_mexican_hat_on_images: {
        Image<3, 2, 2> {
            affine_coupling(
                keep = checker_even,
                scale = mexican_hat(2, beta = 0.7),
                net = conv([3], hidden = 4, tanh),
            );
        }
    }
    dual: { Vector<5> { dual_affine_coupling(scale = tanh(1.0), net = mlp([7], swish)); } }
    dual_of_two: { Vector<2> { dual_affine_coupling(net = mlp([7], tanh)); } }
    dual_given given 2: {
        Vector<3> given Vector<2> {
            dual_affine_coupling(scale = mexican_hat(2, beta = 0.8), net = mlp([6], elu));
        }
    }
    dual_on_images: {
        Image<3, 2, 3> {
            dual_affine_coupling(scale = mexican_hat(2), net = conv([3, 1], hidden = 4, swish));
        }
    }
}
