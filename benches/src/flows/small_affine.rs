use flow_core::prelude::*;

flow! {
    /// Eight small affine couplings of the plane: a batch is 256 rows.
    pub struct SmallAffine: Vector<2> {
        repeat 4 {
            affine_coupling(keep = first, net = mlp([64, 64], relu, zero_init = false));
            affine_coupling(keep = second, net = mlp([64, 64], relu, zero_init = false));
        }
    }
}
