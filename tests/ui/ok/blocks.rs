//! Every block that runs.

use flow_core::prelude::*;

flow! {
    /// Every block of vectors.
    pub struct Blocks: Vector<5> {
        standardize;
        actnorm;
        permute(reverse);
        permute(roll(2));
        permute(shuffle(7));
        linear(lu);
        linear(orthogonal);
        linear(diagonal);
        linear(dense);
        linear(svd);
        linear(householder(2));
        additive_coupling(net = mlp([8], relu));
        affine_coupling(scale = tanh(2.0), net = mlp([8, 8], swish, zero_init = false));
        affine_coupling(keep = even, scale = sigmoid(0.5, 1.0, shift = -1.0), net = mlp([], gelu));
        spline_coupling(bins = 4, bound = 2.0, net = mlp([8], elu, lipschitz = 3.0));
        additive_coupling(keep = odd, net = mlp([8], leaky_relu));
        affine_coupling(keep = first, net = mlp([8], zero_init = true, tanh));
        affine_coupling(keep = second, scale = exp, net = mlp([8], softplus));
        // Its bound is e, which clippy knows as a constant.
        ode(net = mlp([4], tanh, lipschitz = 1.0), solver = rk4(20));
    }

    /// What runs on images.
    pub struct Pixels: Image<3, 2, 4> {
        standardize;
        actnorm;
        permute(roll(1));
        squeeze(2);
        unsqueeze(2);
        haar;
        unsqueeze(2);
        conv1x1(lu);
        conv1x1(dense);
        conv1x1(orthogonal);
        invertible_conv(kernel = 2, kappa = 2.0);
        flatten;
    }
}

#[test]
fn blocks() {
    let data = crate::normal::<5>(16);
    let mut flow = Blocks::<f64>::build(&crate::cpu(), 1).expect("a flow");
    flow.initialize(data.clone()).expect("a first batch");
    crate::round_trip(&flow, data, 1e-6);
}

#[test]
fn facts_of_the_catalog_are_those_of_the_runtime() {
    use flow_core::{Architecture, Block};
    let flow = Pixels::<f32>::build(&crate::cpu(), 1).expect("a flow");
    let items = <PixelsBlocks<f32> as Architecture<f32>>::ITEMS;
    let texts: Vec<&str> = items.iter().map(|item| item.text).collect();
    let (first, last) = (&texts[..3], &texts[10..]);
    assert_eq!(first, ["standardize", "actnorm", "permute(roll(1))"]);
    assert_eq!(last, ["invertible_conv(kernel = 2, kappa = 2.0)", "flatten"]);
    let facts = items.iter().fold(flow_core::Facts::ISOMETRY, |all, item| all.then(item.facts));
    assert_eq!(Block::<f32>::facts(flow.blocks()), facts);
}
