use flow_core::prelude::*;

flow! {
    pub struct A: Vector<2> {
        affine_coupling(net = mlp([64], relu));
        permute(reverse);
        affine_coupling(net = mlp([64], relu));
    }
}

fn main() {}
