//! The weight matrices of a net on a GPU.

use flow_cuda::kernels::rows::{add_repeated, gather, Rows};
use flow_cuda::kernels::weights::Normalised;
use flow_cuda::{Slot, Table};

use super::{Weight, Weights};
use crate::cuda::Lowering;
use crate::Scalar;

impl Weights {
    /// Where a weight lies as its layer uses it.
    pub(crate) fn lowered<E: Scalar>(&self, to: &Lowering<E>, index: usize) -> Slot {
        match &self.limit {
            Some(limit) => to.derived(limit.scaled(index)),
            None => self.list[index].shaped(to),
        }
    }

    /// Where the gradient by that is added.
    pub(crate) fn lowered_gradient<E: Scalar>(&self, to: &Lowering<E>, index: usize) -> Slot {
        match (&self.limit, &self.list[index].shaped) {
            (Some(limit), _) => to.derived_gradient(limit.scaled(index)),
            (None, Some(shaped)) => to.derived_gradient(shaped),
            (None, None) => to.parameter_gradient(&self.list[index].parameter),
        }
    }

    /// Records how the matrices come of what is trained, and their gradients' way back. Weights
    /// without numbers have no norms there.
    pub(crate) fn lower_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        if self.limit.as_ref().is_some_and(|limit| !limit.has_kernels()) {
            return to.weights_on_cpu();
        }
        let moves: Vec<Option<[Table; 2]>> = self.list.iter().map(|w| w.moves(to)).collect();
        for (weight, moves) in self.list.iter().zip(&moves) {
            weight.lower_shape(to, *moves);
        }
        let limited = self.limit.as_ref().map(|limit| {
            let numbers: Vec<Slot> = self.list.iter().map(|weight| weight.shaped(to)).collect();
            limit.lower(to, &numbers)
        });
        for (i, (weight, moves)) in self.list.iter().zip(moves).enumerate() {
            match (&limited, &weight.shaped) {
                (Some(by_shaped), _) => weight.lower_finish(to, moves, by_shaped[i]),
                (None, Some(shaped)) => {
                    let by_shaped = to.derived_gradient(shaped);
                    weight.lower_finish(to, moves, by_shaped);
                }
                (None, None) => {}
            }
        }
    }
}

impl Weight {
    /// Where the matrix lies before it is scaled.
    fn shaped<E: Scalar>(&self, to: &Lowering<E>) -> Slot {
        match &self.shaped {
            Some(shaped) => to.derived(shaped),
            None => to.parameter(&self.parameter),
        }
    }

    /// Where each entry of the parameter stands in the matrix, and the other way around; −1 for none.
    fn moves<E: Scalar>(&self, to: &mut Lowering<E>) -> Option<[Table; 2]> {
        let len = self.shaped.as_ref()?.len();
        let (mut there, mut from) = (vec![-1; len], vec![-1; len]);
        for (i, there) in there.iter_mut().enumerate().filter(|&(i, _)| self.kept(i)) {
            let place = self.place(i / self.columns(), i % self.columns());
            (from[place], *there) = (i as isize, place as isize);
        }
        Some([to.recording().table(there), to.recording().table(from)])
    }

    fn normalised<E: Scalar>(
        &self,
        to: &Lowering<E>,
        [there, from]: [Table; 2],
    ) -> Option<Normalised> {
        let (directions, lengths) = (to.parameter(&self.parameter), self.length.as_ref()?);
        Some(Normalised { directions, lengths: to.parameter(lengths), there, from })
    }

    /// Records how the matrix comes of the parameters: a gather, and the rows' lengths.
    fn lower_shape<E: Scalar>(&self, to: &mut Lowering<E>, moves: Option<[Table; 2]>) {
        let Some(moves) = moves else { return };
        let matrix = self.shaped(to);
        if let Some(normalised) = self.normalised(to, moves) {
            let ops = normalised.weight(to.recording(), matrix);
            return to.prepare_all(ops);
        }
        let rows = |slot: Slot| Rows::new(slot, slot.len);
        let parameter = to.parameter(&self.parameter);
        let none = Rows::new(Slot::NONE, 0);
        to.prepare(gather(1, rows(parameter), none, moves[1], matrix));
    }

    /// Records the way back of the gradient by the matrix.
    fn lower_finish<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        moves: Option<[Table; 2]>,
        by_matrix: Slot,
    ) {
        let by_parameter = to.parameter_gradient(&self.parameter);
        let Some(moves) = moves else {
            return to.finish_weights(add_repeated(by_parameter, by_matrix, 1.0));
        };
        if let (Some(normalised), Some(length)) = (self.normalised(to, moves), &self.length) {
            let by = [by_parameter, to.parameter_gradient(length)];
            let ops = normalised.finish(to.recording(), by_matrix, by);
            return to.finish_all(ops);
        }
        let moved = to.scratch(by_parameter.len);
        let rows = Rows::new(by_matrix, by_matrix.len);
        let none = Rows::new(Slot::NONE, 0);
        to.finish_weights(gather(1, rows, none, moves[0], moved));
        to.finish_weights(add_repeated(by_parameter, moved, 1.0));
    }
}
