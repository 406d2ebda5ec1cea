use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        actnorm;
    }

    pub struct A: Vector<3> {
        actnorm;
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
