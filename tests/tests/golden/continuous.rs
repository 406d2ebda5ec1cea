//! Continuous blocks.

use flow_core::prelude::*;

golden! {
    ode_rk4: f32 (2e-7, 6e-7), {
        pub struct OdeRk4: Vector<3> {
            ode(net = mlp([16, 16], tanh), time = 1.0, solver = rk4(20), trace = exact);
        }
    } as OdeRk4;
}
