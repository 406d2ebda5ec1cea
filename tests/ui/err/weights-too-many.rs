use flow_core::prelude::*;

flow! {
    pub struct A: Vector<4> {
        affine_coupling(net = mlp([100_000, 100_000], relu));
        linear(lu);
        spline_coupling(bins = 5000, net = mlp([64], relu));
        sylvester(rank = 5);
    }
}

fn main() {
    let flow = A::<f32>::build(&flow_core::Cpu::default(), 0).unwrap();
    assert!(flow.parameter_count() > 0);
}
