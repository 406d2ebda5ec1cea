//! Blocks without an inverse.

use flow_core::prelude::*;

forward_laws! {
    planar: { Vector<3> { planar; } }
    planar_of_one: { Vector<1> { planar; } }
    radial: { Vector<4> { radial; } }
    radial_of_one: { Vector<1> { radial; } }
    sylvester: { Vector<5> { sylvester(2); } }
    sylvester_of_full_rank: { Vector<3> { sylvester(rank = 3); } }
    sylvester_of_one: { Vector<1> { sylvester(1); } }
    several: { Vector<3> { actnorm; repeat 2 { planar; radial; sylvester(2); } } }
}
