//! Blocks on images.

use flow_core::prelude::*;

golden! {
    conv1x1_lu: f32 (2e-7, 2e-7), {
        pub struct Conv1x1Lu: Image<3, 4, 5> { conv1x1(lu); }
    } as Conv1x1Lu;
    conv1x1_dense: f32 (3e-7, 1e-7), {
        pub struct Conv1x1Dense: Image<4, 3, 5> { conv1x1(dense); }
    } as Conv1x1Dense;
    squeeze: f32 (5e-8, 4e-8), {
        pub struct Squeeze: Image<3, 4, 6> { squeeze(2); }
    } as Squeeze;
    haar: f32 (3e-7, 7e-8), {
        pub struct Haar: Image<3, 4, 6> { haar; }
    } as Haar;
    invertible_conv: f32 (4e-7, 2e-7), {
        pub struct InvertibleConv: Image<2, 4, 6> { invertible_conv(kernel = 2); }
    } as InvertibleConv;
}
