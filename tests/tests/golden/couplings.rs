//! Couplings on vectors.

use flow_core::prelude::*;

golden! {
    additive_coupling: f32 (8e-8, 2e-7), {
        pub struct AdditiveCoupling: Vector<5> {
            additive_coupling(keep = first, net = mlp([16, 16], tanh));
        }
    } as AdditiveCoupling;
    affine_coupling_exp: f32 (2e-7, 2e-7), {
        pub struct AffineCouplingExp: Vector<5> {
            affine_coupling(keep = first, scale = exp, net = mlp([16, 16], relu));
        }
    } as AffineCouplingExp;
    affine_coupling_tanh: f32 (1e-7, 1e-7), {
        pub struct AffineCouplingTanh: Vector<5> {
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([16], elu));
        }
    } as AffineCouplingTanh;
    affine_coupling_sigmoid: f32 (1e-7, 4e-7), {
        pub struct AffineCouplingSigmoid: Vector<6> {
            affine_coupling(keep = even, scale = sigmoid(0.5, 1.0), net = mlp([16, 16], swish));
        }
    } as AffineCouplingSigmoid;
    affine_coupling_sigmoid_nflows: f32 (1e-7, 3e-7), {
        pub struct AffineCouplingSigmoidNflows: Vector<4> {
            affine_coupling(
                keep = first, scale = sigmoid(0.001, 1.001), net = mlp([16, 16, 16], leaky_relu)
            );
        }
    } as AffineCouplingSigmoidNflows;
    affine_coupling_even_odd_width: f32 (1e-7, 2e-7), {
        pub struct AffineCouplingEvenOddWidth: Vector<7> {
            affine_coupling(keep = even, scale = exp, net = mlp([12, 20], softplus));
        }
    } as AffineCouplingEvenOddWidth;
    affine_coupling_given given 3: f32 (1e-7, 5e-7), {
        pub struct AffineCouplingGiven: Vector<4> given Vector<3> {
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([16, 16], swish));
        }
    } as AffineCouplingGiven;
    spline_coupling: f32 (2e-6, 2e-6), {
        pub struct SplineCoupling: Vector<5> {
            spline_coupling(keep = first, net = mlp([16, 16], relu));
        }
    } as SplineCoupling;
    spline_coupling_bound: f32 (2e-6, 2e-6), {
        pub struct SplineCouplingBound: Vector<6> {
            spline_coupling(keep = odd, bins = 5, bound = 2.0, net = mlp([16, 16], tanh));
        }
    } as SplineCouplingBound;
    spline_coupling_given given 2: f32 (2e-6, 2e-6), {
        pub struct SplineCouplingGiven: Vector<4> given Vector<2> {
            spline_coupling(keep = second, net = mlp([16, 16], elu));
        }
    } as SplineCouplingGiven;
    image_additive_first: f32 (3e-7, 2e-7), {
        pub struct ImageAdditiveFirst: Image<3, 4, 5> {
            additive_coupling(keep = first, net = conv([3, 3], hidden = 8, elu));
        }
    } as ImageAdditiveFirst;
    image_affine_first: f32 (4e-7, 2e-7), {
        pub struct ImageAffineFirst: Image<4, 4, 6> {
            affine_coupling(
                keep = first, scale = sigmoid(0.5, 1.0), net = conv([3, 1, 3], hidden = 8, relu)
            );
        }
    } as ImageAffineFirst;
    image_affine_second: f32 (2e-7, 4e-7), {
        pub struct ImageAffineSecond: Image<3, 5, 4> {
            affine_coupling(
                keep = second, scale = tanh(2.0), net = conv([3, 1, 3], hidden = 8, swish)
            );
        }
    } as ImageAffineSecond;
    image_affine_checker_even: f32 (2e-7, 2e-7), {
        pub struct ImageAffineCheckerEven: Image<3, 4, 5> {
            affine_coupling(
                keep = checker_even, scale = exp, net = conv([3, 1, 3], hidden = 8, relu)
            );
        }
    } as ImageAffineCheckerEven;
    image_spline_second: f32 (8e-7, 2e-6), {
        pub struct ImageSplineSecond: Image<3, 4, 4> {
            spline_coupling(keep = second, net = conv([3, 1, 3], hidden = 8, relu));
        }
    } as ImageSplineSecond;
    affine_coupling_mexican_hat: f32 (1e-7, 2e-7), {
        pub struct AffineCouplingMexicanHat: Vector<7> {
            affine_coupling(keep = odd, scale = mexican_hat(3), net = mlp([16, 16], gelu));
        }
    } as AffineCouplingMexicanHat;
    dual_affine_coupling: f32 (2e-7, 2e-7), {
        pub struct DualAffineCoupling: Vector<5> {
            dual_affine_coupling(scale = tanh(2.0), net = mlp([16, 16], tanh));
        }
    } as DualAffineCoupling;
    dual_affine_coupling_mexican_hat: f32 (3e-7, 4e-7), {
        pub struct DualAffineCouplingMexicanHat: Vector<6> {
            dual_affine_coupling(scale = mexican_hat(4), net = mlp([16, 16], swish));
        }
    } as DualAffineCouplingMexicanHat;
}
