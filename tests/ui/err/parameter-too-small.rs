use flow_core::prelude::*;

flow! {
    pub struct A<const D: usize>: Vector<D> {
        affine_coupling(net = mlp([64], relu));
        affine_coupling(net = mlp([64], relu));
    }
}

fn main() {
    let _ = A::<1>::build(&flow_core::Cpu::default(), 0);
}
