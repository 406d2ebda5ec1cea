use flow_core::prelude::*;

flow! {
    /// Ten residual blocks of the plane with exact log-determinants: a batch is 500 rows.
    ///
    /// The certified radius of the inverse is at most 1e-5 of a row's length, or 1e-5.
    pub struct Residual: Vector<2> {
        repeat 10 {
            residual(
                lipschitz = 0.9,
                net = mlp([128, 128, 128], swish, zero_init = false),
                tolerance = 0.00001
            );
        }
    }
}
