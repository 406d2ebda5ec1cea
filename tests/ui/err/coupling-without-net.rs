use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        affine_coupling(scale = tanh(2.0));
    }
}

fn main() {
    // Uses of a flow with errors are no errors of their own.
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
