use flow_core::prelude::*;

const FEATURES: usize = 7;

flow! {
    pub struct A: Vector<FEATURES> {
        multiscale 2 {
            actnorm;
        }
    }
}

fn main() {}
