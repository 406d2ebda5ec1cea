//! Maps of one number.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::Free;

use crate::{compare, flow_of, sums, Rows};

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
