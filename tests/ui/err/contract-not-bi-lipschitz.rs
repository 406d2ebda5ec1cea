use flow_core::prelude::*;

flow! {
    #[require(bi_lipschitz)]
    pub struct A: Vector<4> {
        affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([64], relu, lipschitz = 1.0));
    }
}

fn main() {
    // Uses of a flow with errors are no errors of their own.
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
