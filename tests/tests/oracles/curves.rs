//! Maps of one number.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::Free;

use crate::couplings::Knots;
use crate::{columns, compare, flow_of, places, repeated, sums, Rows};

#[test]
fn curves_are_their_functions() {
    compare(Free(flow_of!(Vector<3> { tanh; })), |_, x, _| {
        let z = x.tanh();
        let slope = z.with_empty_tape().square() * -1.0 + 1.0;
        (z, sums(slope.ln()))
    });
    compare(Free(flow_of!(Vector<3> { sigmoid; })), |_, x, _| {
        let z = x.sigmoid();
        let rest = z.with_empty_tape() * -1.0 + 1.0;
        let slope = z.with_empty_tape() * rest;
        (z, sums(slope.ln()))
    });
    compare(Free(flow_of!(Vector<3> { softplus; })), |_, x, _| {
        let slope = x.with_empty_tape().sigmoid();
        ((x.exp() + 1.0).ln(), sums(slope.ln()))
    });
    compare(Free(flow_of!(Vector<3> { leaky_relu(0.2); scale(-3.0); })), |_, x, _| {
        let slopes: Vec<f64> =
            x.as_vec().into_iter().map(|v| if v > 0.0 { -3.0 } else { -0.6 }).collect();
        let slopes = Cpu::default().tensor_from_vec(slopes, *x.shape());
        let zeros: Rows = x.with_empty_tape() * 0.0;
        (x * slopes.clone(), sums(zeros + slopes.abs().ln()))
    });
}

#[test]
fn a_logit_undoes_a_sigmoid() {
    // Behind a sigmoid, so that its inputs lie in (0, 1).
    compare(Free(flow_of!(Vector<3> { sigmoid; logit(0.1); })), |_, x, _| {
        let y = x.sigmoid();
        let p = y.with_empty_tape() * 0.8 + 0.1;
        let q = p.with_empty_tape() * -1.0 + 1.0;
        let slope = (p.with_empty_tape() * q.with_empty_tape()).recip() * 0.8;
        let first = y.with_empty_tape() * (y * -1.0 + 1.0);
        (p.ln() - q.ln(), sums(first.ln() + slope.ln()))
    });
}

#[test]
fn a_spline_activation_bends_between_its_knots_and_goes_on_straight() {
    let flow =
        flow_of!(Vector<1> { scale(3.0); spline_activation(bins = 3, slopes = (0.2, 1.4)); });
    compare(Free(flow), |weights, x, _| {
        // Scaled, so that some numbers lie outside the knots.
        let x = x * 3.0;
        let rows = x.shape().0;
        let of = |name: &str| weights.matrix(name, 1, 4);
        let limited = |name: &str| of(name).sigmoid() * 1.2 + 0.2;
        let shares = of("1.widths").softmax::<Axis<1>>();
        let rises = limited("1.heights") * shares.with_empty_tape();
        let up_to = places((4, 4), (0..16).map(|i| (i / 4, i % 4)).filter(|(i, j)| i <= j));
        let extent = |columns: usize| {
            weights
                .matrix("1.extent", 1, 1)
                .matmul(places((1, columns), (0..columns).map(|j| (0, j))))
        };
        let knots_x = (shares.matmul(up_to.clone()) * 2.0 - 1.0) * extent(4);
        let sums_y = rises.matmul(up_to);
        let total = columns(sums_y.with_empty_tape(), [3; 4].into_iter());
        let knots_y = (sums_y * 2.0 - total) * extent(4);
        let slopes = limited("1.slopes");
        let each = |m: &Rows, from: usize, len: usize| {
            let part = columns(m.with_empty_tape(), from..from + len);
            repeated(part.reshape_like(&(len,)), rows)
        };
        // Which bin or tail each number lies in: 0 is the left tail, 4 the right one.
        let (edges, numbers) = (knots_x.as_vec(), x.as_vec());
        let place = |v: f64| edges.iter().filter(|&&edge| v >= edge).count();
        let mask = |wanted: &[usize]| {
            let one =
                |(row, k): (usize, usize)| f64::from(u8::from(place(numbers[row]) == wanted[k]));
            let all = (0..rows).flat_map(|row| (0..wanted.len()).map(move |k| (row, k)));
            Cpu::default().tensor_from_vec(all.map(one).collect(), (rows, wanted.len()))
        };
        let bins = Knots {
            from_x: each(&knots_x, 0, 3),
            width: each(&knots_x, 1, 3) - each(&knots_x, 0, 3),
            from_y: each(&knots_y, 0, 3),
            height: each(&knots_y, 1, 3) - each(&knots_y, 0, 3),
            first: each(&slopes, 0, 3),
            last: each(&slopes, 1, 3),
        };
        let (inside, log_slope) = bins.bend(&x, mask(&[1, 2, 3]));
        let tail = |knot: usize, wanted: usize| {
            let (from, to) = (each(&knots_x, knot, 1), each(&knots_y, knot, 1));
            let slope = each(&slopes, knot, 1);
            let line = to + (x.with_empty_tape() - from) * slope.with_empty_tape();
            (line * mask(&[wanted]), slope.ln() * mask(&[wanted]))
        };
        let ((left, one), (right, two)) = (tail(0, 0), tail(3, 4));
        // Numbers of all three kinds, or the test would say less than its name.
        assert!([0, 4].iter().any(|&k| numbers.iter().any(|&v| place(v) == k)));
        // What carries the tapes of knots and slopes on, at no weight.
        let rest = (repeated((knots_x + knots_y + slopes).reshape_like(&(4,)), rows)) * 0.0;
        (
            inside + left + right,
            sums(log_slope + one + two) + sums(rest) + sums(x * 0.0) + 3.0_f64.ln(),
        )
    });
}
