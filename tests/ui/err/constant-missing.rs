use flow_core::prelude::*;

flow! {
    pub struct A: Vector<SIZE> given Vector<GIVEN> {
        repeat TIMES {
            linear(lu);
        }
    }
}

fn main() {}
