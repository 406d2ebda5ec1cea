//! Flows that were really trained, on a ring of noisy points.

use flow_core::prelude::*;

use crate::trial::{judge, Bounded, Row, Tallies};

fn ring(rows: u64) -> Rows<f64> {
    let noise = Noise::seed(9);
    let row = |i| {
        let (a, b) = noise.normal_pair(i);
        let angle = std::f64::consts::TAU * noise.named("angle").uniform(i);
        [1.5 * angle.cos() + 0.1 * a, 1.5 * angle.sin() + 0.1 * b]
    };
    Rows::from_rows((0..rows).map(row)).expect("finite rows")
}

/// Boxes of all sizes, with the weights as they are.
fn check<D: Bounded<f64>>(name: &'static str, flow: &D) {
    let row = Row { name, data: |v| v };
    let mut tallies = Tallies::NONE;
    for seed in 0..90 {
        let width = [0.001, 0.1, 1.0][(seed % 3) as usize];
        judge(row, flow, &|a, b| flow.bounds(a, b), (seed, width), &mut tallies);
    }
    tallies.print(name);
    tallies.expect_bounds(name, 0.5);
}

macro_rules! trained {
    ($($test:ident: { $($source:tt)* })*) => {$(
        #[test]
        fn $test() {
            flow! { struct Row: $($source)* }
            let data = ring(2000);
            let cpu = dfdx::prelude::Cpu::default();
            let mut flow = Row::<f64>::build(&cpu, 0).expect("a flow");
            flow.initialize(data.x::<flow_core::Vector<2>>().expect("rows of two"))
                .expect("a first batch");
            let before = evaluate(&flow, &data).expect("a likelihood").mean;
            Trainer::new(Adam::new(1e-2))
                .batch_size(100)
                .epochs(15)
                .silent()
                .fit(&mut flow, data.clone())
                .expect("a trained flow");
            let after = evaluate(&flow, &data).expect("a likelihood").mean;
            assert!(after > before + 0.1, "{before} became {after}: it did not learn");
            check(concat!("trained ", stringify!($test)), &subject!(flow));
        }
    )*};
}

trained! {
    affine: {
        Vector<2> {
            actnorm;
            repeat 3 {
                affine_coupling(net = mlp([8, 8], swish));
                affine_coupling(net = mlp([8, 8], swish));
            }
        }
    }
    spline: {
        Vector<2> {
            spline_coupling(bins = 4, net = mlp([8], tanh));
            spline_coupling(bins = 4, net = mlp([8], tanh));
        }
    }
    masked: {
        Vector<2> {
            masked_autoregressive(affine, scale = tanh(2.0), net = made([16], tanh));
            permute(reverse);
            masked_autoregressive(affine, scale = tanh(2.0), net = made([16], tanh));
        }
    }
    residual: {
        Vector<2> { actnorm; repeat 3 { residual(lipschitz = 0.9, net = mlp([12], swish)); actnorm; } }
    }
}
