//! Const parameters and named constants as sizes and counts.

use flow_core::prelude::*;

const FEATURES: usize = 6;
const STEPS: usize = 2;

mod sizes {
    pub(super) const CONTEXT: usize = 3;
}

flow! {
    /// Named constants.
    pub struct Named: Vector<FEATURES> given Vector<sizes::CONTEXT> {
        repeat STEPS {
            affine_coupling(net = mlp([FEATURES, { 2 * FEATURES }], relu));
            affine_coupling(net = mlp([8], relu));
        }
        multiscale 2 {
            spline_coupling(bins = { STEPS + 2 }, net = mlp([8], relu));
        }
    }

    /// Parameters.
    #[base(mixture(3))]
    pub struct Generic<const D: usize, const N: usize>: Vector<D> {
        repeat N {
            affine_coupling(net = mlp([D, 8], relu));
            affine_coupling(net = mlp([8], relu));
        }
        linear(orthogonal);
        multiscale 2 {
            actnorm;
        }
    }
}

#[test]
fn constants() {
    let named = Named::<f64>::build(&crate::cpu(), 1).expect("a flow");
    assert!(named.parameters().any(|parameter| parameter.name == "0.1.1.net.1.weight"));
    let data = crate::normal::<4>(16);
    let mut generic = Generic::<4, 3, f64>::build(&crate::cpu(), 1).expect("a flow");
    generic.initialize(data.clone()).expect("a first batch");
    crate::round_trip(&generic, data, 1e-9);
    assert!(generic.parameters().any(|parameter| parameter.name == "base.means"));
    assert_eq!(generic.parameters().filter(|p| p.name.starts_with("0.2.")).count(), 10);
}
