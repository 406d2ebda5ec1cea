use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        affine_coupling(net = mlp(relu, [64]));
        affine_coupling(mlp([64], relu));
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
