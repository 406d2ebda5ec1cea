use flow_core::prelude::*;

flow! {
    /// Ten couplings with rational-quadratic splines and linear maps between: a batch is 512 rows.
    pub struct Splines: Vector<64> {
        repeat 5 {
            linear(lu);
            spline_coupling(keep = first, net = mlp([256, 256], relu, zero_init = false));
            linear(lu);
            spline_coupling(keep = second, net = mlp([256, 256], relu, zero_init = false));
        }
    }
}
