use flow_core::prelude::*;

struct Mine;

flow! {
    pub struct A: Vector<4> {
        use Mine;
    }
}

fn main() {}
