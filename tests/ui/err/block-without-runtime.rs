use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        residual(lipschitz = 0.9, net = mlp([64], elu));
    }
}

fn main() {
    // Uses of a flow with errors are no errors of their own.
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
