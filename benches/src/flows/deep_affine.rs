use flow_core::prelude::*;

flow! {
    /// A hundred affine couplings of the plane: a batch is 500 rows.
    pub struct DeepAffine: Vector<2> {
        repeat 50 {
            affine_coupling(keep = first, net = mlp([128, 128, 128, 128], relu, zero_init = false));
            affine_coupling(keep = second, net = mlp([128, 128, 128, 128], relu, zero_init = false));
        }
    }
}
