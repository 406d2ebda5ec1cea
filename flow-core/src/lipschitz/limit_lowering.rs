//! Weights that are used scaled down, on a GPU.

use flow_cuda::kernels::norms::{self, Measured, Normed, Norms, Spread};
use flow_cuda::Slot;

use super::{Limit, Part};
use crate::cuda::Lowering;
use crate::lipschitz::convolution;
use crate::lipschitz::norm::{squarings, Map, SINGLE};
use crate::Scalar;

impl Limit {
    /// Whether there are kernels for it: none for weights without numbers.
    pub(crate) fn has_kernels(&self) -> bool {
        self.weights.iter().all(|weight| weight.map.len() > 0)
    }

    /// Records how the weights `numbers` are scaled. Returns where the gradients by them are while
    /// gradients are carried back.
    pub(crate) fn lower<E: Scalar>(&self, to: &mut Lowering<E>, numbers: &[Slot]) -> Vec<Slot> {
        let measured =
            self.weights.iter().zip(numbers).map(|(w, &numbers)| measured(w.map, numbers));
        let norms = Norms::new(to.recording(), measured.collect());
        to.prepare_all(norms.record());
        let limit = self.lowered(E::epsilon().as_f64());
        let factor = to.derived(&self.factor);
        let each = self.weights.iter();
        let into: Vec<[Slot; 2]> =
            each.map(|weight| [&weight.scaled, &weight.direction].map(|d| to.derived(d))).collect();
        let ops = norms.scale(to.recording(), &limit, factor, &into);
        to.prepare_all(ops);

        let spread = |to: &mut Lowering<E>, i: usize| Spread {
            numbers: numbers[i],
            by_used: to.derived_gradient(&self.weights[i].scaled),
            direction: into[i][1],
            by_numbers: to.scratch(numbers[i].len),
        };
        let all: Vec<Spread> = (0..numbers.len()).map(|i| spread(to, i)).collect();
        let ops = limit.spread(to.recording(), factor, &all);
        to.finish_all(ops);
        all.into_iter().map(|spread| spread.by_numbers).collect()
    }

    fn lowered(&self, epsilon: f64) -> norms::Limit {
        let part = |part: &Part| match part {
            Part::Layer { weight, gain } => {
                norms::Part { weights: vec![*weight], gain: *gain, skips: false }
            }
            Part::Skip { weights, gain } => {
                norms::Part { weights: weights.clone(), gain: *gain, skips: true }
            }
        };
        norms::Limit {
            constant: self.constant,
            slack: self.slack(epsilon),
            parts: self.parts.iter().map(part).collect(),
        }
    }
}

/// What a norm is searched of.
fn measured(map: Map, numbers: Slot) -> Measured {
    if map.window.kernel > 1 {
        return Measured::Convolution(convolution::lowered(map, numbers));
    }
    let (rows, columns) = (map.outputs, map.inputs);
    let squarings = squarings(rows.min(columns)) as usize;
    Measured::Matrix(Normed { numbers, rows, columns, squarings, double: map.len() > SINGLE })
}
