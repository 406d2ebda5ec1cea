//! Blocks without an inverse.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::ForwardOnly;

use crate::{columns, compare, flow_of, places, repeated, sums, transposed, Column, Rows, ROWS};

/// A row vector of one number as a column of as many rows as the batch has.
fn down(number: Rows) -> Column {
    number.reshape_like(&(1,)).broadcast_like::<_, Axis<0>>(&(ROWS, 1)).reshape_like(&(ROWS,))
}

/// `log(1 + e^v)`.
fn softplus(v: Rows) -> Rows {
    (v.exp() + 1.0).ln()
}

#[test]
fn planar_adds_a_vector_along_a_plane() {
    compare(ForwardOnly(flow_of!(Vector<3> { planar; })), |weights, x, _| {
        let (u, w) = (weights.matrix("0.u", 1, 3), weights.matrix("0.w", 1, 3));
        let b = weights.matrix("0.b", 1, 1);
        let along = sums(u.with_empty_tape() * w.with_empty_tape()).reshape_like(&(1, 1));
        let square = sums(w.with_empty_tape().square()).reshape_like(&(1, 1));
        let by = (softplus(along.with_empty_tape()) - 1.0 - along) / square;
        let moved = u + by.matmul(w.with_empty_tape());
        let whole = x.with_empty_tape().matmul(transposed(w.with_empty_tape()));
        let t = (whole + repeated(b.reshape_like(&(1,)), ROWS)).tanh();
        let inner = sums(moved.with_empty_tape() * w);
        let slope = t.with_empty_tape().square().negate() + 1.0;
        let stretch = slope * repeated(inner, ROWS) + 1.0;
        (x + t.matmul(moved), sums(stretch.ln()))
    });
}

#[test]
fn radial_moves_away_from_a_center() {
    compare(ForwardOnly(flow_of!(Vector<3> { radial; })), |weights, x, _| {
        let alpha = weights.matrix("0.log_alpha", 1, 1).exp();
        let beta = softplus(weights.matrix("0.beta", 1, 1)) - alpha.with_empty_tape();
        let from_center = x.with_empty_tape() - repeated(weights.vector("0.center"), ROWS);
        let r = sums(from_center.with_empty_tape().square()).sqrt();
        let (alpha, beta) = (down(alpha), down(beta));
        let near = (alpha + r.with_empty_tape()).recip();
        let growth = beta.with_empty_tape() * near.with_empty_tape();
        let spread = growth.with_empty_tape().reshape_like(&(ROWS, 1));
        let each = spread.matmul(places((1, 3), (0..3).map(|j| (0, j))));
        // 1 + βh + βh'r with h' = −h².
        let along = growth.with_empty_tape() + 1.0 - beta * near.square() * r;
        (x + each * from_center, (growth + 1.0).ln() * 2.0 + along.ln())
    });
}

#[test]
fn sylvester_has_a_triangular_hidden_layer() {
    const D: usize = 4;
    const M: usize = 2;
    compare(ForwardOnly(flow_of!(Vector<4> { sylvester(2); })), |weights, x, _| {
        let identity = || places((D, D), (0..D).map(|i| (i, i)));
        let mut q: Option<Rows> = None;
        for k in 0..M {
            let v = weights.matrix("0.reflections", M, D);
            let v = places((1, M), [(0, k)]).retaped::<OwnedTape<f64, Cpu>>().matmul(v);
            let square = sums(v.with_empty_tape().square()).reshape_like(&(1, 1));
            let unit = v.with_empty_tape() / square.matmul(places((1, D), (0..D).map(|j| (0, j))));
            let h = (transposed(v).matmul(unit) * -2.0) + identity();
            q = Some(match q {
                Some(q) => q.matmul(h),
                None => h,
            });
        }
        let q = columns(q.expect("a reflection"), 0..M);
        let triangle = |name: &str| {
            let upper = places((M, M), [(0, 1)]);
            let diagonal = places((M, M), (0..M).map(|i| (i, i)));
            weights.matrix(name, M, M) * upper + weights.matrix(name, M, M).tanh() * diagonal
        };
        let (r, inner) = (triangle("0.outer"), triangle("0.inner"));
        let turned = x.with_empty_tape().matmul(q.with_empty_tape());
        let hidden = turned.matmul(transposed(inner.with_empty_tape()));
        let t = (hidden + repeated(weights.vector("0.b"), ROWS)).tanh();
        let slope = t.with_empty_tape().square().negate() + 1.0;
        let diagonals = r.with_empty_tape() * inner * places((M, M), (0..M).map(|i| (i, i)));
        let stretch = slope * repeated(sums(diagonals), ROWS) + 1.0;
        let z = x + t.matmul(transposed(r)).matmul(transposed(q));
        (z, sums(stretch.ln()))
    });
}
