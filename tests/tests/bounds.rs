//! Certified bounds are never violated: random flows of all kinds, weights of several scales,
//! random boxes, and points in them.
//!
//! Rows name a flow each. Every row is tried in f64 with weights around its start, and in f32 with
//! weights from denormal ones to almost overflowing ones, whose certified bounds are compared with
//! what the same weights show in f64.

use flow_core::prelude::*;

macro_rules! subject {
    ($flow:ident) => {
        flow_tests::Free((*$flow).clone())
    };
    ($flow:ident, $context:literal) => {
        flow_tests::Conditioned::<_, _, $context>((*$flow).clone())
    };
    ($flow:ident, forward) => {
        flow_tests::ForwardOnly((*$flow).clone())
    };
}

macro_rules! bend {
    () => {
        |v| v
    };
    ($bend:ident) => {
        $bend
    };
}

/// Rows of flows: `given n` names the size of a context, `data f` what bends normal numbers into the
/// domain, `forward` a flow without an inverse.
macro_rules! sound {
    ($($test:ident $(given $context:literal)? $(data $data:ident)? $(only $only:ident)?:
       { $($source:tt)* })*) => {$(
        #[test]
        fn $test() {
            flow! { struct Row: $($source)* }
            let cpu = dfdx::prelude::Cpu::default();
            let single = Row::<f32>::build(&cpu, 3).expect("a flow");
            let double = Row::<f64>::build(&cpu, 3).expect("a flow");
            let row = crate::trial::Row { name: stringify!($test), data: bend!($($data)?) };
            crate::trial::check(
                row,
                subject!(single $(, $context)? $(, $only)?),
                subject!(double $(, $context)? $(, $only)?),
            );
        }
    )*};
}

#[path = "bounds/blocks.rs"]
mod blocks;
#[path = "bounds/facts.rs"]
mod facts;
#[path = "bounds/sharp.rs"]
mod sharp;
#[path = "bounds/trained.rs"]
mod trained;
#[path = "bounds/trial.rs"]
mod trial;
#[path = "bounds/whole.rs"]
mod whole;

sound! {
    elementary: { Vector<4> { standardize; actnorm; permute(shuffle(2)); linear(diagonal); } }
    curves: {
        Vector<3> { leaky_relu(0.2); scale(-0.7); actnorm; normal_cdf; logit; leaky_relu(1.5); }
    }
    there_and_back: { Vector<3> { sigmoid; logit; linear(lu); } }
    linear_lu: { Vector<4> { linear(lu); permute(roll(1)); linear(lu); } }
    linear_dense: { Vector<3> { linear(dense); } }
    orthogonal: {
        Vector<4> {
            linear(orthogonal);
            affine_coupling(scale = tanh(1.0), net = mlp([4], tanh));
            linear(householder(2));
            affine_coupling(net = mlp([4], swish));
            linear(orthogonal);
        }
    }
    linear_svd: {
        Vector<4> {
            linear(svd);
            affine_coupling(scale = tanh(1.0), net = mlp([4], tanh));
            linear(svd);
        }
    }
    images: { Image<2, 2, 2> { squeeze(2); conv1x1(lu); unsqueeze(2); haar; actnorm; flatten; } }
    strided: { Image<1, 4, 2> { invertible_conv(kernel = 2); } }
    levels: { Vector<8> { multiscale 3 { linear(lu); actnorm; } } }
    additive: {
        Vector<4> {
            additive_coupling(net = mlp([6, 5], swish));
            additive_coupling(net = mlp([6], gelu));
        }
    }
    additive_on_images: {
        Image<2, 3, 2> {
            additive_coupling(net = conv([3, 1, 3], hidden = 3, elu));
            permute(reverse);
            additive_coupling(keep = checker_even, net = conv([3], hidden = 3, relu));
            additive_coupling(keep = checker_odd, net = conv([3], hidden = 3, relu));
        }
    }
    affine: {
        Vector<4> {
            affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([6], swish));
            actnorm;
            affine_coupling(scale = tanh(1.0), net = mlp([6], tanh));
            affine_coupling(net = mlp([4], softplus));
        }
    }
    mexican_hat: {
        Vector<4> {
            affine_coupling(scale = mexican_hat(3), net = mlp([4], swish));
            affine_coupling(scale = mexican_hat(2, beta = 0.7), net = mlp([4], tanh));
        }
    }
    affine_on_images: {
        Image<2, 2, 2> {
            affine_coupling(scale = sigmoid(0.5, 1.0), net = conv([3, 1], hidden = 3, leaky_relu));
            conv1x1(lu);
            affine_coupling(keep = checker_odd, scale = tanh(0.5), net = conv([3], hidden = 3, tanh));
        }
    }
    spline: {
        Vector<4> {
            spline_coupling(bins = 4, net = mlp([4], swish));
            spline_coupling(bins = 3, bound = 1.5, net = mlp([4], tanh));
        }
    }
    dual: { Vector<5> { dual_affine_coupling(scale = tanh(1.0), net = mlp([6], swish)); } }
    residual: {
        Vector<3> {
            residual(lipschitz = 0.8, net = mlp([6], swish));
            residual(lipschitz = 0.5, net = mlp([6], elu));
        }
    }
    residual_on_images: {
        Image<1, 2, 3> { residual(lipschitz = 0.7, net = conv([3, 1], hidden = 3, softplus)); }
    }
}
