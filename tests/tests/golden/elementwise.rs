//! One function on every number, or on those of each feature.

use flow_core::prelude::*;

golden! {
    spline_activation: f32 (1e-6, 3e-6), {
        pub struct SplineActivation: Vector<4> { spline_activation; }
    } as SplineActivation;
    logit: f32 (3e-7, 2e-7), {
        pub struct Logit: Image<2, 3, 3> { logit(0.05); }
    } as Logit;
}
