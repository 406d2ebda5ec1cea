//! Rows whose bounds have no room: small flows on small boxes, where half of a slope's bound would be
//! too little.

use flow_core::prelude::*;
use flow_tests::Subject;

use crate::trial::{judge, trials, Bounded, Row, Tallies};

/// How much room a row has.
enum Room {
    /// One number, whose amplification is the slope itself.
    Slope,
    /// Amplification to more than twice the size, where an identity beside hides nothing.
    Stretch,
}

fn check<D: Bounded<f64>>(row: Row, mut flow: D, room: &Room) {
    let found = trials(row, &mut flow, (&[0.5, 1.5, 3.0], &[1e-4]), 150);
    found.print(row.name);
    for (way, tally) in [("forward", found.forward), ("inverse", found.inverse)] {
        let (all, stretched) = tally.tightest();
        let tightest = if matches!(room, Room::Slope) { all } else { stretched };
        assert!(
            tightest < 1.5,
            "{} {way}: the tightest bound is {tightest} times too large",
            row.name
        );
    }
}

macro_rules! sharp {
    ($room:ident: $($test:ident $(data $data:ident)? $(only $only:ident)?: { $($source:tt)* })*) => {$(
        #[test]
        fn $test() {
            flow! { struct Sharp: $($source)* }
            let flow = Sharp::<f64>::build(&dfdx::prelude::Cpu::default(), 3).expect("a flow");
            let row = Row { name: concat!("sharp ", stringify!($test)), data: bend!($($data)?) };
            check(row, subject!(flow $(, $only)?), &Room::$room);
        }
    )*};
}

/// Into (0, 1), and short of its ends.
fn unsigned(v: f64) -> f64 {
    0.5 + 0.45 * v.tanh()
}

sharp! {
    Slope:
    tanh: { Vector<1> { tanh; } }
    sigmoid: { Vector<1> { sigmoid; } }
    normal_cdf: { Vector<1> { normal_cdf; } }
    softplus: { Vector<1> { softplus; } }
    logit data unsigned: { Vector<1> { logit(0.01); } }
    leaky_relu: { Vector<1> { leaky_relu(0.3); } }
    scale: { Vector<1> { scale(-0.7); } }
    spline_activation: { Vector<1> { spline_activation(bins = 3, slopes = (0.2, 3.0)); } }
    residual: { Vector<1> { residual(lipschitz = 0.9, net = mlp([1], tanh)); } }
    rk4: { Vector<1> { ode(net = mlp([1], tanh), time = 0.5, solver = rk4(2)); } }
    planar_of_one only forward: { Vector<1> { planar; } }
    radial_of_one only forward: { Vector<1> { radial; } }
}

sharp! {
    Stretch:
    net_relu: { Vector<2> { additive_coupling(net = mlp([1], relu)); } }
    net_leaky_relu: { Vector<2> { additive_coupling(net = mlp([1], leaky_relu)); } }
    net_elu: { Vector<2> { additive_coupling(net = mlp([1], elu)); } }
    net_tanh: { Vector<2> { additive_coupling(net = mlp([1], tanh)); } }
    net_swish: { Vector<2> { additive_coupling(net = mlp([1], swish)); } }
    net_gelu: { Vector<2> { additive_coupling(net = mlp([1], gelu)); } }
    net_softplus: { Vector<2> { additive_coupling(net = mlp([1], softplus)); } }
    net_conv: { Image<2, 1, 1> { additive_coupling(net = conv([1, 1], hidden = 1, tanh)); } }
    net_resnet: { Vector<2> { additive_coupling(net = resnet(blocks = 1, hidden = 1, tanh)); } }
    net_attention: {
        Vector<2> {
            additive_coupling(net = resnet(blocks = 1, hidden = 1, softplus, attention = true));
        }
    }
    affine_exp: { Vector<2> { affine_coupling(net = mlp([1], tanh)); } }
    affine_tanh: { Vector<2> { affine_coupling(scale = tanh(1.5), net = mlp([1], tanh)); } }
    affine_sigmoid: {
        Vector<2> { affine_coupling(scale = sigmoid(0.2, 3.0), net = mlp([1], softplus)); }
    }
    mexican_hat: { Vector<2> { affine_coupling(scale = mexican_hat(1), net = mlp([1], tanh)); } }
    spline: { Vector<2> { spline_coupling(bins = 2, net = mlp([], tanh)); } }
    masked_affine: { Vector<2> { masked_autoregressive(affine, net = made([1], tanh)); } }
    inverse_affine: { Vector<2> { inverse_autoregressive(affine, net = made([1], tanh)); } }
    masked_spline: { Vector<2> { masked_autoregressive(spline(bins = 2), net = made([1], tanh)); } }
    planar only forward: { Vector<2> { planar; } }
    radial only forward: { Vector<2> { radial; } }
    sylvester only forward: { Vector<2> { sylvester(2); } }
}

/// One parameter of a spline at a time follows the net, for the sum over all of them hides each.
#[test]
fn parameters_of_splines() {
    flow! { struct Sharp: Vector<2> { spline_coupling(bins = 2, net = mlp([], tanh)); } }
    let flow = Sharp::<f64>::build(&dfdx::prelude::Cpu::default(), 3).expect("a flow");
    let mut flow = subject!(flow);
    for parameter in 0..5 {
        let row = Row { name: "one parameter of a spline", data: |v| v };
        let mut found = Tallies::NONE;
        for seed in 0..300 {
            let noise = Noise::seed(seed).at(parameter as u64);
            let mut weight = [0.0; 5];
            weight[parameter] = 40.0 * (0.5 + noise.uniform(0));
            let centre = 1.5 * Noise::seed(seed).named(row.name).named("box").normal(0);
            // The net's output is moderate at the box, whatever its steepness.
            let bias: Vec<f64> =
                (0..5).map(|i| noise.normal(1 + i) - weight[i as usize] * centre).collect();
            flow.set("0.net.0.weight", &weight);
            flow.set("0.net.0.bias", &bias);
            judge(row, &flow, &|a, b| flow.bounds(a, b), (seed, 1e-5), &mut found);
        }
        let (_, tightest) = found.forward.tightest();
        println!("parameter {parameter} of a spline: {tightest}");
        assert!(
            tightest < 2.0,
            "parameter {parameter}: the tightest bound is {tightest} times too large"
        );
    }
}
