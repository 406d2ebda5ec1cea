//! Linear maps.

use flow_core::prelude::*;

laws! {
    linear_diagonal: { Vector<3> { linear(diagonal); } }
    linear_lu: { Vector<5> { linear(lu); } }
    linear_lu_of_one: { Vector<1> { linear(lu); } }
    linear_orthogonal: { Vector<5> { linear(orthogonal); } }
    linear_orthogonal_of_two: { Vector<2> { linear(orthogonal); } }
    linear_dense: { Vector<5> { linear(dense); } }
    linear_dense_of_one: { Vector<1> { linear(dense); } }
    linear_householder: { Vector<5> { linear(householder(3)); } }
    linear_householder_of_one: { Vector<1> { linear(householder(1)); } }
    linear_householder_of_more_than_features: { Vector<2> { linear(householder(5)); } }
    linear_svd: { Vector<5> { linear(svd); } }
    linear_svd_of_one: { Vector<1> { linear(svd); } }
    linear_forms: { Vector<3> { linear(dense); linear(svd); linear(householder(2)); } }
}
