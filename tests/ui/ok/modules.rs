//! Nets written with dfdx, in place of ours.

use dfdx::prelude::{Linear, Tanh};
use flow_core::prelude::*;

const WIDE: usize = 3;

type Free = (Linear<2, 8>, Tanh, Linear<8, 6>);
type Given = (Linear<5, 8>, Tanh, Linear<8, 2>);

flow! {
    /// Two numbers in, three features of two parameters out.
    pub struct Modules: Vector<5> {
        affine_coupling(keep = first, net = use Free);
        affine_coupling(keep = second, net = mlp([8], tanh));
    }

    /// Three features pass, and two numbers of context.
    pub struct ModulesGiven: Vector<{ 2 * WIDE - 1 }> given Vector<2> {
        additive_coupling(keep = even, net = use Given);
        additive_coupling(keep = odd, net = mlp([8], tanh));
    }
}

#[test]
fn modules() {
    let flow = Modules::<f64>::build(&crate::cpu(), 1).expect("a flow");
    crate::round_trip(&flow, crate::normal::<5>(16), 1e-9);
    let given = ModulesGiven::<f32>::build(&crate::cpu(), 1).expect("a flow");
    assert!(given.parameters().any(|parameter| parameter.name == "0.net.0.weight"));
}
