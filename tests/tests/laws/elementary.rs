//! Normalisations and permutations.

use flow_core::prelude::*;

laws! {
    standardize: { Vector<5> { standardize; } }
    actnorm: { Vector<5> { actnorm; } }
    actnorm_of_one: { Vector<1> { actnorm; } }
    actnorm_on_images: { Image<3, 2, 3> { actnorm; } }
    permute_reverse: { Vector<5> { permute(reverse); } }
    permute_roll: { Vector<7> { permute(roll(3)); } }
    permute_shuffle: { Vector<7> { permute(shuffle(9)); } }
}
