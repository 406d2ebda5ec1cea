use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        repeat 100_000 {
            actnorm;
            repeat 99_999 {
                linear(lu);
            }
        }
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
