use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        affine_coupling(keep = first net = mlp([64], relu));
        affine_coupling(keep = second, net: mlp([64], relu));
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
