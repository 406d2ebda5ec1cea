//! Linear maps.

use flow_core::prelude::*;

laws! {
    linear_diagonal: { Vector<3> { linear(diagonal); } }
    linear_lu: { Vector<5> { linear(lu); } }
    linear_lu_of_one: { Vector<1> { linear(lu); } }
    linear_orthogonal: { Vector<5> { linear(orthogonal); } }
    linear_orthogonal_of_two: { Vector<2> { linear(orthogonal); } }
}
