//! Normalisations and permutations.

use flow_core::prelude::*;

golden! {
    actnorm_vector: f32 (2e-7, 1e-7), {
        pub struct ActnormVector: Vector<5> { actnorm; }
    } as ActnormVector;
    actnorm_image: f32 (2e-7, 1e-7), {
        pub struct ActnormImage: Image<3, 4, 6> { actnorm; }
    } as ActnormImage;
    permute_reverse: f32 (5e-8, 4e-8), {
        pub struct PermuteReverse: Vector<5> { permute(reverse); }
    } as PermuteReverse;
    permute_roll: f32 (4e-8, 5e-8), {
        pub struct PermuteRoll: Vector<6> { permute(roll(2)); }
    } as PermuteRoll;
    permute_shuffle: f32 (4e-8, 3e-8), {
        pub struct PermuteShuffle: Vector<5> { permute(shuffle(3)); }
    } as PermuteShuffle;
}
