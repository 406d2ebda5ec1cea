//! Linear maps.

use flow_core::prelude::*;

golden! {
    linear_diagonal: f32 (7e-8, 6e-8), {
        pub struct LinearDiagonal: Vector<3> { linear(diagonal); }
    } as LinearDiagonal;
    linear_lu: f32 (1e-7, 1e-7), {
        pub struct LinearLu: Vector<5> { linear(lu); }
    } as LinearLu;
    linear_lu_positive: f32 (2e-7, 8e-8), {
        pub struct LinearLuPositive: Vector<4> { linear(lu); }
    } as LinearLuPositive;
    linear_orthogonal: f32 (4e-7, 3e-7), {
        pub struct LinearOrthogonal: Vector<5> { linear(orthogonal); }
    } as LinearOrthogonal;
    linear_dense: f32 (2e-7, 6e-8), {
        pub struct LinearDense: Vector<4> { linear(dense); }
    } as LinearDense;
    linear_householder: f32 (1e-6, 2e-7), {
        pub struct LinearHouseholder: Vector<6> { linear(householder(3)); }
    } as LinearHouseholder;
    linear_svd: f32 (8e-7, 5e-7), {
        pub struct LinearSvd: Vector<4> { linear(svd); }
    } as LinearSvd;
}
