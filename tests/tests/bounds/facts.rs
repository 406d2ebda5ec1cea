//! The compiler's bounds against the run-time ones, block by block.

use dfdx::prelude::Cpu;
use flow_core::lipschitz::{Kind, Region};
use flow_core::prelude::*;
use flow_core::{Architecture, Facts, Flow, Item};

use flow_tests::Stored;

/// What the compiler says of one block, what the block says of itself, and what the bounds of the flow
/// say at random weights.
fn agree<A: Architecture<f64, Context = flow_core::Unconditional>>(mut flow: Flow<A, f64, Cpu>) {
    let items: &[Item] = flow.items();
    let [Item { text, facts: derived, .. }] = items else { panic!("{items:?} is not one block") };
    let own = Stored::facts(&flow);
    let at = |facts: &Facts| [facts.forward, facts.inverse];
    for (compiler, block) in at(derived).into_iter().zip(at(&own)) {
        let same = compiler == block || (compiler / block - 1.0).abs() < 1e-12;
        assert!(same, "{text}: {compiler} in the compiler, {block} in the block");
    }
    let starts = Stored::parameters(&flow);
    for seed in 0..12 {
        let scale = [0.0, 0.3, 3.0, 30.0][seed as usize % 4];
        for (i, (name, start)) in starts.iter().enumerate() {
            let mut values = vec![0.0; start.len()];
            Noise::seed(seed).at(i as u64).fill_normal(0, &mut values);
            values.iter_mut().zip(start).for_each(|(v, start)| *v = start + scale * *v);
            if name.ends_with("extent") {
                values.iter_mut().for_each(|v| *v = v.abs() + 0.01);
            }
            flow.set(name, &values).expect("a name of this flow");
        }
        let bounds = flow.bilipschitz(&Region::everything()).expect("bounds");
        let found = [bounds.forward, bounds.inverse];
        for (found, bound) in found.into_iter().zip(at(derived)) {
            // Rounding upwards may exceed it by a little.
            assert!(found.log <= bound.ln() + 1e-12, "{text}: e^{} at weights, {bound}", found.log);
            let same = found.log == bound.ln() || (found.log - bound.ln()).abs() < 1e-12;
            let by_architecture = bounds.forward.kind == Kind::Architectural;
            assert!(!by_architecture || same, "{text}: e^{} is not {bound}", found.log);
        }
    }
}

macro_rules! blocks {
    ($($shape:ident<$($size:literal),+> $block:ident $(($($arguments:tt)*))?;)*) => {
        /// The name of each block with its comparison.
        fn all() -> Vec<(&'static str, fn())> {
            vec![$((stringify!($block), || {
                flow! { struct Row: $shape<$($size),+> { $block $(($($arguments)*))?; } }
                agree((*Row::<f64>::build(&Cpu::default(), 3).expect("a flow")).clone());
            })),*]
        }
    };
}

blocks! {
    Vector<3> standardize;
    Vector<3> actnorm;
    Vector<3> permute(reverse);
    Vector<3> permute(roll(1));
    Vector<3> permute(shuffle(4));
    Vector<3> linear(diagonal);
    Vector<3> linear(lu);
    Vector<3> linear(dense);
    Vector<3> linear(orthogonal);
    Vector<3> linear(householder(2));
    Vector<3> linear(svd);
    Image<3, 1, 2> conv1x1(lu);
    Image<3, 1, 2> conv1x1(dense);
    Image<3, 1, 2> conv1x1(orthogonal);
    Image<1, 2, 2> invertible_conv(kernel = 2);
    Vector<4> additive_coupling(net = mlp([5], swish));
    Vector<4> additive_coupling(net = mlp([5], swish, lipschitz = 0.7));
    Vector<4> additive_coupling(net = mlp([5], relu, lipschitz = 1.3, weight_norm = true));
    Vector<4> additive_coupling(net = resnet(blocks = 1, hidden = 4, gelu));
    Vector<4> additive_coupling(net = resnet(blocks = 1, hidden = 4, gelu, lipschitz = 0.9));
    Vector<4> additive_coupling(net = resnet(blocks = 1, hidden = 4, elu, attention = true));
    Image<2, 2, 3> additive_coupling(net = conv([3, 1], hidden = 3, tanh, lipschitz = 0.8));
    Image<2, 2, 2> additive_coupling(
        keep = checker_even, net = conv([3], hidden = 3, tanh, lipschitz = 0.8)
    );
    Vector<4> affine_coupling(net = mlp([5], swish));
    Vector<4> affine_coupling(scale = tanh(1.0), net = mlp([5], swish, lipschitz = 0.5));
    Vector<4> affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([5], swish));
    Vector<4> affine_coupling(scale = mexican_hat(2), net = mlp([5], swish));
    Vector<4> spline_coupling(net = mlp([5], swish, lipschitz = 0.5));
    Vector<4> dual_affine_coupling(scale = tanh(1.0), net = mlp([5], swish));
    Vector<3> masked_autoregressive(affine, net = made([5], tanh, lipschitz = 0.5));
    Vector<3> masked_autoregressive(spline, net = made([5], tanh));
    Vector<3> inverse_autoregressive(affine, scale = tanh(1.0), net = made([5], tanh));
    Vector<3> inverse_autoregressive(spline, net = made([5], tanh));
    Vector<3> residual(lipschitz = 0.8, net = mlp([5], swish));
    Vector<3> residual(lipschitz = 0.3, net = resnet(blocks = 1, hidden = 4, tanh));
    Image<1, 2, 2> residual(lipschitz = 0.9, net = conv([3, 1], hidden = 3, elu));
    Vector<3> ode(net = mlp([5], tanh), time = 0.5, solver = rk4(2));
    Vector<3> ode(net = mlp([5], tanh, lipschitz = 0.7), time = 1.5, solver = rk4(3));
    Vector<3> ode(net = mlp([5], tanh, lipschitz = 0.7), time = 0.5, solver = dopri5(1e-3));
    Vector<3> ode(net = mlp([5], tanh), solver = dopri5(1e-3));
    Image<1, 2, 4> squeeze(2);
    Image<4, 1, 2> unsqueeze(2);
    Image<1, 2, 4> haar;
    Image<1, 2, 4> flatten;
    Vector<3> spline_activation;
    Vector<3> spline_activation(bins = 3, slopes = (0.5, 2.0));
    Vector<3> spline_activation(bins = 3, slopes = (0.1, 0.5));
    Vector<3> tanh;
    Vector<3> sigmoid;
    Vector<3> logit;
    Vector<3> logit(0.05);
    Vector<3> normal_cdf;
    Vector<3> leaky_relu;
    Vector<3> leaky_relu(2.5);
    Vector<3> softplus;
    Vector<3> scale(-1.0);
    Vector<3> scale(0.3);
    Vector<3> planar;
    Vector<3> radial;
    Vector<3> sylvester(2);
}

#[test]
fn the_compiler_and_the_blocks_have_the_same_bounds() {
    let all = all();
    all.iter().for_each(|(_, agree)| agree());
    let mut names: Vec<_> = all.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    assert_eq!(names.len(), 29, "{names:?} are not the blocks of the language");
}
