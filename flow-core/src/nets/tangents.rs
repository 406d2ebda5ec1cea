//! What the layers of a net make of a box, with the Jacobian by the net's inputs.

use super::activation::Activation;
use super::layer::Layer;
use super::weights::Weights;
use crate::engine::State;
use crate::lipschitz::{Cell, Interval, IntervalMatrix, MeanValue};
use crate::Scalar;

/// Values of a layer on a cell of inputs.
///
/// A layer's values on the box are those at the centre and what the Jacobian makes of the distance
/// from there, so that what two units share cancels in the next layer: their width is right to first
/// order in the box's, where that of interval arithmetic grows with every layer.
#[derive(Clone, Debug)]
pub(crate) struct Tangents {
    /// `x − c`, as a row.
    offsets: IntervalMatrix,
    /// The values at the centre, then the derivatives by each input, as rows.
    rows: IntervalMatrix,
}

impl Tangents {
    /// The inputs themselves.
    pub(crate) fn of(cell: &Cell) -> Self {
        let d = cell.centre.len();
        let mut rows = cell.centre.clone();
        rows.extend_from_slice(IntervalMatrix::identity(d).middles());
        Self { offsets: cell.offsets().t(), rows: IntervalMatrix::point(d + 1, d, rows) }
    }

    /// Through a layer.
    pub(crate) fn layer<E: Scalar>(&mut self, layer: &Layer, weights: &Weights, state: &State<E>) {
        self.rows = layer.carry(state, weights, &self.rows);
        let values = (0..self.rows.columns()).map(|j| self.rows.entry(0, j));
        let biased = values.zip(layer.bias_at(state)).map(|(v, b)| v + Interval::point(b));
        let biased: Vec<Interval> = biased.collect();
        self.rows.set_row(0, &biased);
    }

    /// Through an activation.
    pub(crate) fn bend(&mut self, activation: Activation) {
        let (count, width) = (self.rows.rows(), self.rows.columns());
        let by_input: Vec<usize> = (1..count).collect();
        let all: Vec<usize> = (0..width).collect();
        let jacobian = self.rows.taken(&by_input, &all);
        let moved = self.offsets.times(&jacobian);
        let (mut values, mut slopes) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for j in 0..width {
            let centre = self.rows.entry(0, j);
            values.push(activation.enclose(centre).0);
            slopes.push(activation.slopes(centre + moved.entry(0, j)));
        }
        self.rows.scale_columns(&slopes);
        self.rows.set_row(0, &values);
    }

    /// With others of the same inputs added.
    pub(crate) fn add(&mut self, others: &Self) {
        self.rows = self.rows.plus(&others.rows);
    }

    /// The net's outputs.
    pub(crate) fn finish(self) -> MeanValue {
        let centre = (0..self.rows.columns()).map(|j| self.rows.entry(0, j)).collect();
        let by_input: Vec<usize> = (1..self.rows.rows()).collect();
        let all: Vec<usize> = (0..self.rows.columns()).collect();
        MeanValue { centre, jacobian: self.rows.taken(&by_input, &all).t() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An activation on values that are known to an interval even at the centre: what it makes of
    /// every value there lies in its row, and its slopes make every difference.
    #[test]
    fn activations_hold_what_any_values_become() {
        use Activation::*;
        for activation in [Relu, Elu, LeakyRelu, Tanh, Swish, Gelu, Softplus] {
            let exact = |v: f64| activation.enclose(Interval::point(v)).0;
            for (centre, by) in [(-1.3, 0.7), (0.0, 2.0), (0.4, -1.0), (2.4, 0.3)] {
                let (value, slope) =
                    (Interval::new(centre - 0.2, centre + 0.1), Interval::new(by, by + 0.5));
                let mut at = Tangents {
                    offsets: IntervalMatrix::column(&[Interval::new(-0.5, 1.0)]).t(),
                    rows: IntervalMatrix::from_intervals(2, 1, &[value, slope]),
                };
                at.bend(activation);
                let (found, slopes) = (at.rows.entry(0, 0), at.rows.entry(1, 0));
                for v in [value.low, centre, value.high] {
                    let here = exact(v);
                    assert!(found.low <= here.low && here.high <= found.high, "{activation:?}");
                    for (offset, slope) in [(-0.5, by), (1.0, by + 0.5), (1.0, by), (0.1, by + 0.2)]
                    {
                        let moved = exact(v + offset * slope) - here;
                        let held = slopes * Interval::point(offset) + Interval::new(-1e-12, 1e-12);
                        assert!(
                            held.low <= moved.high && moved.low <= held.high,
                            "{activation:?} at {v}: {moved:?} is not in {held:?}"
                        );
                    }
                }
            }
        }
    }
}
