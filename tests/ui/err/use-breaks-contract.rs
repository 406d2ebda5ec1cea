use flow_core::prelude::*;

flow! {
    pub struct Inner: Vector<4> {
        actnorm;
    }

    #[require(volume_preserving)]
    pub struct Outer: Vector<4> {
        use Inner;
    }
}

fn main() {}
