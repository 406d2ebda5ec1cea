//! What the parameters of every block are called, with their shapes: those of
//! `flow_core::reference`. Files of weights depend on them.

use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Role};

flow! {
    #[base(mixture(3))]
    struct Vectors: Vector<5> given Vector<2> {
        'standardize: standardize;
        'actnorm: actnorm;
        'reverse: permute(reverse);
        'shuffle: permute(shuffle(1));
        'diagonal: linear(diagonal);
        'lu: linear(lu);
        'orthogonal: linear(orthogonal);
        'householder: linear(householder(2));
        'svd: linear(svd);
        'dense: linear(dense);
        'additive: additive_coupling(keep = first, net = mlp([7], relu));
        'hats: affine_coupling(keep = even, scale = mexican_hat(2), net = mlp([], relu));
        'spline: spline_coupling(
            keep = second, bins = 3, net = resnet(blocks = 1, hidden = 8, relu, attention = true)
        );
        'dual: dual_affine_coupling(net = mlp([4], tanh, weight_norm = true));
        'masked: masked_autoregressive(affine, net = made([6], relu));
        'inverse: inverse_autoregressive(spline(bins = 2), net = made([6], relu));
        'residual: residual(lipschitz = 0.9, net = mlp([4], tanh));
        'ode: ode(net = mlp([4], tanh));
        'activation: spline_activation(bins = 4);
        'planar: planar;
        'radial: radial;
        'sylvester: sylvester(rank = 3);
    }

    struct Images: Image<2, 4, 4> {
        'lu: conv1x1(lu);
        'dense: conv1x1(dense);
        'orthogonal: conv1x1(orthogonal);
        affine_coupling(
            keep = checker_even, scale = mexican_hat(3), net = conv([3, 1], hidden = 4, relu)
        );
        additive_coupling(keep = first, net = resnet(blocks = 1, hidden = 4, relu));
        repeat 2 {
            actnorm;
        }
        multiscale 2 {
            invertible_conv(kernel = 2);
        }
    }
}

const VECTORS: &str = "
standardize.mean [5] buffer
standardize.std [5] buffer
actnorm.log_scale [5]
actnorm.shift [5]
actnorm.initialized [1] buffer
shuffle.permutation [5] buffer
diagonal.log_scale [5]
lu.lower [5, 5]
lu.upper [5, 5]
lu.log_diagonal [5]
lu.sign [5] buffer
lu.permutation [5] buffer
orthogonal.reflections [5, 5]
householder.reflections [2, 5]
svd.left [5, 5]
svd.log_singular [5]
svd.right [5, 5]
dense.weight [5, 5]
additive.net.0.weight [7, 4]
additive.net.0.bias [7]
additive.net.1.weight [3, 7]
additive.net.1.bias [3]
hats.w [2, 2]
hats.b [2, 2]
hats.net.0.weight [4, 5]
hats.net.0.bias [4]
spline.net.initial.weight [8, 5]
spline.net.initial.bias [8]
spline.net.0.0.weight [8, 8]
spline.net.0.0.bias [8]
spline.net.0.1.weight [8, 8]
spline.net.0.1.bias [8]
spline.net.0.attention.0.weight [2, 8]
spline.net.0.attention.0.bias [2]
spline.net.0.attention.1.weight [8, 2]
spline.net.0.attention.1.bias [8]
spline.net.final.weight [16, 8]
spline.net.final.bias [16]
dual.first.net.0.weight_g [4]
dual.first.net.0.weight_v [4, 5]
dual.first.net.0.bias [4]
dual.first.net.1.weight_g [4]
dual.first.net.1.weight_v [4, 4]
dual.first.net.1.bias [4]
dual.second.net.0.weight_g [4]
dual.second.net.0.weight_v [4, 4]
dual.second.net.0.bias [4]
dual.second.net.1.weight_g [6]
dual.second.net.1.weight_v [6, 4]
dual.second.net.1.bias [6]
masked.net.0.weight [6, 7]
masked.net.0.bias [6]
masked.net.1.weight [10, 6]
masked.net.1.bias [10]
inverse.net.0.weight [6, 7]
inverse.net.0.bias [6]
inverse.net.1.weight [25, 6]
inverse.net.1.bias [25]
residual.net.0.weight [4, 7]
residual.net.0.bias [4]
residual.net.1.weight [5, 4]
residual.net.1.bias [5]
ode.net.0.weight [4, 8]
ode.net.0.bias [4]
ode.net.1.weight [5, 4]
ode.net.1.bias [5]
activation.widths [5, 5]
activation.heights [5, 5]
activation.slopes [5, 5]
activation.extent [5]
planar.u [5]
planar.w [5]
planar.b [1]
radial.center [5]
radial.log_alpha [1]
radial.beta [1]
sylvester.reflections [3, 5]
sylvester.outer [3, 3]
sylvester.inner [3, 3]
sylvester.b [3]
base.weights [3]
base.means [3, 5]
base.log_scales [3, 5]
";

const IMAGES: &str = "
lu.lower [2, 2]
lu.upper [2, 2]
lu.log_diagonal [2]
lu.sign [2] buffer
lu.permutation [2] buffer
dense.weight [2, 2]
orthogonal.reflections [2, 2]
3.w [2, 3]
3.b [2, 3]
3.net.0.weight [4, 2, 3, 3]
3.net.0.bias [4]
3.net.1.weight [4, 4, 1, 1]
3.net.1.bias [4]
4.net.initial.weight [4, 1, 1, 1]
4.net.initial.bias [4]
4.net.0.0.weight [4, 4, 3, 3]
4.net.0.0.bias [4]
4.net.0.1.weight [4, 4, 3, 3]
4.net.0.1.bias [4]
4.net.final.weight [1, 4, 1, 1]
4.net.final.bias [1]
5.0.0.log_scale [2]
5.0.0.shift [2]
5.0.0.initialized [1] buffer
5.1.0.log_scale [2]
5.1.0.shift [2]
5.1.0.initialized [1] buffer
6.0.0.weight [8, 8]
6.1.0.weight [16, 16]
";

fn check<A: Architecture<f64>>(flow: &flow_core::Flow<A, f64>, expected: &str) {
    let lines = flow.layout().entries.iter().map(|entry| {
        let buffer = if entry.role == Role::Parameter { "" } else { " buffer" };
        format!("{} {:?}{buffer}", entry.name, entry.shape)
    });
    let (found, expected): (Vec<String>, Vec<&str>) =
        (lines.collect(), expected.trim().lines().collect());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn parameters_of_vectors_are_called_as_the_reference_says() {
    check(&Vectors::<f64>::build(&Cpu::default(), 0).unwrap(), VECTORS);
}

#[test]
fn parameters_of_images_are_called_as_the_reference_says() {
    check(&Images::<f64>::build(&Cpu::default(), 0).unwrap(), IMAGES);
}
