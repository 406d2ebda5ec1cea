//! Blocks together.

use flow_core::prelude::*;

laws! {
    splines_in_turn: {
        Vector<3> {
            spline_coupling(bins = 3, net = mlp([6], swish));
            spline_coupling(bins = 3, net = mlp([6], swish));
        }
    }
    repeated: {
        Vector<5> {
            repeat 3 {
                actnorm;
                linear(lu);
                affine_coupling(scale = tanh(1.0), net = mlp([6], swish));
                permute(shuffle(4));
            }
        }
    }
    repeated_given given 2: {
        Vector<3> given Vector<2> {
            repeat 2 {
                affine_coupling(scale = tanh(0.5), net = mlp([6], swish));
                additive_coupling(net = mlp([6], tanh));
            }
        }
    }
    multiscale_vector: {
        Vector<8> {
            multiscale 3 {
                linear(orthogonal);
                affine_coupling(scale = tanh(1.0), net = mlp([6], swish));
            }
        }
    }
    multiscale_three_quarters: {
        Vector<8> {
            multiscale 2 (keep = 3/4) {
                linear(orthogonal);
                affine_coupling(scale = tanh(0.5), net = mlp([6], swish));
            }
        }
    }
    multiscale_odd: { Vector<9> { multiscale 3 (keep = 2/3) { linear(svd); actnorm; } } }
    // Bounds below 1 of levels that part of the row does not see.
    multiscale_shrinking: {
        Vector<8> { scale(0.75); multiscale 3 { scale(0.5); linear(orthogonal); } scale(0.5); }
    }
    multiscale_stretching: { Vector<8> { multiscale 3 { scale(4.0); linear(orthogonal); } } }
    isometry: { Vector<5> { permute(roll(2)); linear(orthogonal); permute(reverse); } }
}
