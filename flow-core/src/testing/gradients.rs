//! The law of products: gradients of every kind against central differences.

use super::{apply, normal};
use crate::engine::{Direction, Machine};
use crate::sums::dot;
use crate::{Architecture, Memory};

/// All gradients of a direction, of which the block keeps what `memory` says.
pub(super) fn gradients<A: Architecture<f64>>(
    machine: &mut Machine<A, f64>,
    direction: Direction,
    memory: Memory,
    x: &[f64],
    context: &[f64],
    d: usize,
) {
    let rows = x.len() / d;
    let cotangent = normal(x.len(), 8);
    let by_number = normal(rows, 9);
    let loss = |machine: &Machine<A, f64>, x: &[f64], context: &[f64]| -> f64 {
        let (y, numbers) = apply(machine, direction, x, context);
        dot(&y, &cotangent) + dot(&numbers, &by_number)
    };
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let mut by_x = cotangent.clone();
    let totals = machine.vjp(direction, kept.unwrap(), &mut by_x, &by_number, context).unwrap();

    // To the bit the same where nobody asks for gradients of parameters.
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let mut alone = cotangent.clone();
    machine.vjp_by_input(direction, kept.unwrap(), &mut alone, &by_number, context).unwrap();
    let bits = |by: &[f64]| by.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&alone), bits(&by_x), "{direction:?}, {memory:?}: by the input alone");

    if memory.guard().is_none() {
        jacobians(machine, direction, memory, x, context, &cotangent);
    }

    // A second, shorter step where the first disagrees: it may have crossed a kink, such as that of
    // a spline's log-slope at a knot.
    let close = |what: &str, i: usize, got: f64, at: &mut dyn FnMut(f64) -> f64| {
        let [long, short] = [1e-5, 1e-7].map(|step| (at(step) - at(-step)) / (2.0 * step));
        assert!(
            [long, short].iter().any(|want| (got - want).abs() < 2e-6 * (1.0 + want.abs())),
            "{direction:?}, {memory:?}: gradient by {what}[{i}] is {got}, numerically {long} or {short}"
        );
    };
    let some = |len: usize| (0..len).step_by(len.div_ceil(25).max(1));
    for i in some(x.len()) {
        close("x", i, by_x[i], &mut |by| {
            let mut moved = x.to_vec();
            moved[i] += by;
            loss(machine, &moved, context)
        });
    }
    for i in some(context.len()) {
        close("context", i, totals.context[i], &mut |by| {
            let mut moved = context.to_vec();
            moved[i] += by;
            loss(machine, x, &moved)
        });
    }
    for i in some(totals.parameters.len()) {
        close("parameters", i, totals.parameters[i], &mut |by| {
            let mut moved = machine.clone();
            moved.step(|parameters| parameters[i] += by).unwrap();
            loss(&moved, x, context)
        });
    }
}

/// Jacobians from one pass hold the products of passes of their own.
fn jacobians<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    memory: Memory,
    x: &[f64],
    context: &[f64],
    cotangent: &[f64],
) {
    let d = <A::Event as crate::Event>::SHAPE.size();
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let (mut products, none) = (cotangent.to_vec(), vec![0.0; x.len() / d]);
    machine.vjp_by_input(direction, kept.unwrap(), &mut products, &none, context).unwrap();
    // All unit cotangents at once, some at once, one after the other.
    for enough in [1, x.len() / 2, x.len()] {
        let found = machine.jacobians_on(enough, direction, x, context, memory).unwrap();
        assert_eq!(found.len(), x.len() * d);
        for (row, jacobian) in found.chunks_exact(d * d).enumerate() {
            for j in 0..d {
                let by_outputs = jacobian.chunks_exact(d).zip(&cotangent[row * d..]);
                let (got, size) = by_outputs.fold((0.0, 0.0), |(sum, size), (by, c)| {
                    (sum + by[j] * c, size + f64::abs(by[j] * c))
                });
                let want = products[row * d + j];
                assert!(
                    (got - want).abs() <= 1e-12 * (1.0 + size),
                    "{direction:?}, {memory:?}, {enough}: Jacobian of row {row} gives {got}, not {want}"
                );
            }
        }
    }
}
