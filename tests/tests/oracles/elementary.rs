//! Normalisations and linear maps.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::Free;

use crate::{columns, compare, flow_of, places, repeated, sums, transposed, Rows, ROWS};

/// Zeros, one for each row, on the tape of `x`.
fn nothing(x: Rows) -> (Rows, crate::Column) {
    let z = x.with_empty_tape();
    (x, sums(z * 0.0))
}

#[test]
fn actnorm_is_a_scale_and_a_shift() {
    compare(Free(flow_of!(Vector<5> { actnorm; })), |weights, x, _| {
        let log_scale = weights.vector("0.log_scale");
        let sum = log_scale.with_empty_tape().reshape_like(&(1, 5));
        let z = x * repeated(log_scale.exp(), ROWS) + repeated(weights.vector("0.shift"), ROWS);
        (z, repeated(sums(sum), ROWS).reshape_like(&(ROWS,)))
    });
}

#[test]
fn permutations_pick_columns() {
    compare(Free(flow_of!(Vector<5> { permute(reverse); permute(roll(2)); })), |_, x, _| {
        let reversed = columns(x, (0..5).rev());
        nothing(columns(reversed, (0..5).map(|i| (i + 2) % 5)))
    });
}

#[test]
fn the_lu_block_is_a_product_of_triangles() {
    let flow = flow_of!(Vector<4> { linear(lu); });
    let sign = flow.buffers().find(|b| b.name == "0.sign").expect("a buffer").values.to_vec();
    compare(Free(flow), |weights, x, _| {
        let triangle = |keep: fn(usize, usize) -> bool| {
            places((4, 4), (0..16).map(|i| (i / 4, i % 4)).filter(move |&(i, j)| keep(i, j)))
        };
        let identity = triangle(|i, j| i == j);
        let lower = weights.matrix("0.lower", 4, 4) * triangle(|i, j| i > j) + identity.clone();
        let sign = Cpu::default().tensor_from_vec(sign.clone(), (4,));
        let log_diagonal = weights.vector("0.log_diagonal");
        let sum = log_diagonal.with_empty_tape().reshape_like(&(1, 4));
        let diagonal = repeated(log_diagonal.exp() * sign, 4) * identity;
        let upper = weights.matrix("0.upper", 4, 4) * triangle(|i, j| i < j) + diagonal;
        let z = x.matmul(transposed(lower.matmul(upper)));
        (z, repeated(sums(sum), ROWS).reshape_like(&(ROWS,)))
    });
}
