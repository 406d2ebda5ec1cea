use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        for _ in 0..4 {
            actnorm;
        }
        ActNorm;
        mix: linear(lu);
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
