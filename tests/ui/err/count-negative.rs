use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        repeat -2 {
            actnorm;
        }
    }
}

fn main() {
    // Uses of a flow with errors are no errors of their own.
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
