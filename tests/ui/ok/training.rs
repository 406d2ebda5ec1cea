//! A flow under dfdx's own optimiser.

use dfdx::optim::{Optimizer, Sgd, SgdConfig};
use dfdx::prelude::*;
use flow_core::prelude::*;

flow! {
    /// Trained.
    pub struct Trained: Vector<3> {
        affine_coupling(net = mlp([8], tanh));
        affine_coupling(net = mlp([8], tanh));
        linear(diagonal);
    }

    /// Given a context.
    pub struct Given: Vector<2> given Vector<3> {
        affine_coupling(net = mlp([8], tanh, zero_init = false));
        affine_coupling(net = mlp([8], tanh, zero_init = false));
    }
}

#[test]
fn the_optimiser_reaches_the_weights() {
    let data = crate::normal::<3>(32);
    let mut flow = Trained::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let mut optimizer = Sgd::new(&flow, SgdConfig { lr: 0.05, ..SgdConfig::default() });
    let loss = |flow: &Trained<f64>| {
        let tape = Gradients::leaky();
        flow.log_prob(data.clone().trace(tape)).expect("a pass").mean().negate()
    };
    let before = loss(&flow).array();
    for _ in 0..20 {
        let gradients = loss(&flow).backward();
        optimizer.update(&mut flow, &gradients).expect("a step");
    }
    let after = loss(&flow).array();
    assert!(after < before, "{after} after {before}");
}

#[test]
fn a_context_changes_the_density() {
    let flow = Given::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let x = crate::normal::<2>(5);
    let density = |by: f64| {
        let context = crate::normal::<3>(5) * by;
        flow.given(context).log_prob(x.clone()).expect("a pass").as_vec()
    };
    assert_ne!(density(1.0), density(2.0));
}
