//! The law of what blocks say of boxes.

use super::{Given, Make, Single};
use crate::engine::{Direction, Machine};
use crate::lipschitz::{Cell, Interval, Probe};
use crate::{Block, Noise};

/// What a block says of its values and Jacobians on a box holds for points of it and for what lies
/// between any two of them.
pub(super) fn mean_values<M: Make<D, C>, const D: usize, const C: usize>(
    machine: &Machine<Single<M, D, C>, f64>,
    direction: Direction,
    centres: &[f64],
) where
    (): Given<C>,
{
    let (backwards, point) = (direction == Direction::Inverse, Noise::seed(12));
    let cases = centres.chunks_exact(D).flat_map(|row| [1e-3, 0.1, 1.0].map(|half| (row, half)));
    for (case, (row, half)) in cases.enumerate() {
        let sides = row.iter().map(|v| Interval::new(v - half, v + half)).collect::<Vec<_>>();
        let cell = Cell::around(sides.clone());
        let leaves = &machine.layout().leaves;
        let mut probe = Probe::new(machine.state(), leaves, backwards, sides, Vec::new());
        let Some(map) = machine.blocks().0.mean_value(&mut probe, &cell).unwrap() else { return };
        let mut x = cell.centre.clone();
        for i in 0..6 * D {
            let share = (2.0 * point.at(case as u64).uniform(i as u64) - 0.5).clamp(0.0, 1.0);
            x.push(row[i % D] + half * (2.0 * share - 1.0));
        }
        let mut y = x.clone();
        let ran = machine.run(direction, &mut y, &[], None);
        // Beyond what the block takes.
        if ran.is_err() || !y.iter().all(|v| v.is_finite()) {
            continue;
        }
        let within = |interval: Interval, v: f64| {
            let wide = interval.widened(1e-9) + Interval::new(-1e-9, 1e-9);
            assert!(wide.contains(v), "{direction:?}, box of {half}: {v} is outside {interval:?}");
        };
        map.centre.iter().zip(&y).for_each(|(&held, &v)| within(held, v));
        for (a, b) in (0..7).flat_map(|a| (0..a).map(move |b| (a, b))) {
            for i in 0..D {
                let terms = (0..D).map(|j| {
                    let apart = Interval::point(x[a * D + j]) - Interval::point(x[b * D + j]);
                    map.jacobian.entry(i, j) * apart
                });
                let held = terms.fold(Interval::ZERO, |sum, term| sum + term);
                within(held, y[a * D + i] - y[b * D + i]);
            }
        }
    }
}
