//! A masked net as kernels for a GPU, degree by degree, as latent to data needs it.
//!
//! As on the CPU everything is stored unit by unit, `units × rows`: what a degree sees in a layer is
//! one run of numbers, and opening it is one product for each layer.

use std::ops::Range;

use flow_cuda::kernels::product::{add_into, add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{accumulate, add_row_sums, fill, Rows, Sum};
use flow_cuda::{Op, Slot};

use super::{Level, Made};
use crate::cuda::Lowering;
use crate::Scalar;

/// The numbers of one evaluation on a device, `units × rows`.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    rows: usize,
    /// The inputs, then layer after layer, each sorted by degree.
    pub(crate) units: Slot,
    /// Slopes of the hidden ones, where a product follows.
    slopes: Option<Slot>,
    /// The output, `features · each × rows`.
    pub(crate) parameters: Slot,
    /// Each layer's bias in the order of its units.
    biases: Vec<Slot>,
}

impl Opened {
    /// Units of a layer, or of several.
    fn part(&self, slot: Slot, units: Range<usize>) -> Slot {
        slot.part(units.start * self.rows, units.len() * self.rows)
    }
}

impl Made {
    /// The place of the first feature among all units.
    pub(crate) fn first_feature(&self) -> usize {
        self.context
    }

    /// Makes room for an evaluation; the inputs are for the caller to write.
    pub(crate) fn record_start<E: Scalar>(&self, to: &mut Lowering<E>) -> Opened {
        let rows = to.rows();
        let (last, hidden) = self.split();
        let (inputs, all) = (self.context + self.features, last.above_start());
        let units = to.keep(all * rows);
        let slopes = (to.keeping() && !hidden.is_empty()).then(|| to.keep((all - inputs) * rows));
        let parameters = to.keep(self.width() * rows);
        let biases = self.levels.iter().map(|level| self.sorted_bias(to, level)).collect();
        Opened { rows, units, slopes, parameters, biases }
    }

    /// Records the units of a degree and the output of the feature of that index: all features before
    /// it must have their values.
    pub(crate) fn record_open<E: Scalar>(&self, to: &mut Lowering<E>, at: &Opened, degree: usize) {
        let (rows, inputs) = (at.rows, self.context + self.features);
        let (_, hidden) = self.split();
        for (i, level) in self.levels.iter().enumerate() {
            let seen = level.below.below(degree + 1);
            let opened = level.above.of(&(degree..degree + 1));
            let last = i == hidden.len();
            if opened.is_empty() {
                continue;
            }
            let start = level.above_start();
            let (out, slopes) = if last {
                (at.part(at.parameters, opened.clone()), None)
            } else {
                let slopes = at.slopes.map(|slopes| {
                    at.part(slopes, start - inputs + opened.start..start - inputs + opened.end)
                });
                (at.part(at.units, start + opened.start..start + opened.end), slopes)
            };
            let below = level.below_start..level.below_start + seen.len();
            let below = Matrix::new(at.part(at.units, below), seen.len(), rows);
            let weight = self.matrix(to, level).part(opened.clone(), seen);
            let function = if last { Function::Identity } else { self.activation.lowered() };
            let bias = at.biases[i].part(opened.start, opened.len());
            let epilogue = Epilogue {
                bias_by_row: Some(bias),
                function: Some(function),
                slopes,
                ..Epilogue::default()
            };
            to.record(product(out, weight, below, epilogue));
        }
    }

    /// Numbers of all units, those of the output included.
    fn all_units(&self) -> usize {
        self.split().0.above_start() + self.width()
    }

    /// Room for the gradients by all units.
    pub(crate) fn by_units<E: Scalar>(&self, to: &mut Lowering<E>) -> Slot {
        to.scratch(self.all_units() * to.rows())
    }

    /// The gradients by the output, behind those by the other units.
    pub(crate) fn by_parameters(&self, at: &Opened, by: Slot) -> Slot {
        at.part(by, self.split().0.above_start()..self.all_units())
    }

    /// The kernels that carry gradients on to the units of a degree: the feature of that index must
    /// have its product, and higher degrees be closed.
    pub(crate) fn record_close<E: Scalar>(
        &self,
        to: &Lowering<E>,
        at: &Opened,
        by: Slot,
        degree: usize,
    ) -> Vec<Op> {
        let (rows, inputs) = (at.rows, self.context + self.features);
        let mut ops = Vec::new();
        for (i, level) in self.levels.iter().enumerate().rev() {
            let closed = level.below.of(&(degree..degree + 1));
            let seeing = level.above.from(degree);
            if closed.is_empty() {
                continue;
            }
            let start = level.above_start();
            let above = at.part(by, start + seeing.start..start + seeing.end);
            let places = level.below_start + closed.start..level.below_start + closed.end;
            let below = at.part(by, places.clone());
            let weight = self.matrix(to, level).part(seeing.clone(), closed).t();
            let above = Matrix::new(above, seeing.len(), rows);
            if i == 0 {
                ops.push(add_into(below, weight, above));
                continue;
            }
            let factor =
                at.slopes.map(|slopes| at.part(slopes, places.start - inputs..places.end - inputs));
            ops.push(product(below, weight, above, Epilogue { factor, ..Epilogue::default() }));
        }
        ops
    }

    /// The kernels that add the gradients by weights and biases: all degrees must be closed.
    pub(crate) fn record_gradients<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        at: &Opened,
        by: Slot,
    ) -> Vec<Op> {
        let rows = at.rows;
        let mut ops = Vec::new();
        for level in &self.levels {
            let (start, width) = (level.above_start(), level.above.len());
            let above = at.part(by, start..start + width);
            let below = at.part(at.units, level.below_start..level.below_start + level.below.len());
            let by_weight = self.weights.lowered_gradient(to, level.layer.weight());
            let (left, right) =
                (Matrix::new(above, width, rows), Matrix::new(below, level.below.len(), rows));
            ops.extend(add_product(to.recording(), by_weight, left, right.t()));
            ops.extend(self.sums_by_unit(to, level, above));
        }
        ops
    }

    fn sums_by_unit<E: Scalar>(&self, to: &mut Lowering<E>, level: &Level, above: Slot) -> Vec<Op> {
        let width = level.above.len();
        let sums = to.scratch(width);
        let sum = Sum { square: false, factor: 1.0, constant: 0.0 };
        let by_bias = to.parameter_gradient(level.layer.bias_slot());
        let order = level.above.order().iter();
        let pairs: Vec<_> = order.enumerate().map(|(at, &unit)| (unit, vec![at])).collect();
        let (into, from) = (Rows::new(by_bias, width), Rows::new(sums, width));
        let back = accumulate(to.recording(), 1, into, from, &pairs);
        vec![fill(sums, 0.0), add_row_sums(sums, above, width, sum), back]
    }
}
