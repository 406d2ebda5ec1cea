//! What transforms share as kernels for a GPU.

use flow_cuda::kernels::rows::{add_row_sums, Sum};
use flow_cuda::Slot;

use crate::cuda::Lowering;
use crate::Scalar;

/// Where a transform of `count` numbers in all rows writes the logarithms of its slopes: with one
/// number a row, to the log-determinants themselves.
pub(crate) fn logs<E: Scalar>(to: &mut Lowering<E>, count: usize) -> Slot {
    if count == to.rows() {
        to.log_det()
    } else {
        to.scratch(count)
    }
}

/// Adds the logarithms to their rows' log-determinants.
pub(crate) fn sum_logs<E: Scalar>(to: &mut Lowering<E>, logs: Slot) {
    if logs != to.log_det() {
        let sum = Sum { square: false, factor: 1.0, constant: 0.0 };
        to.record(add_row_sums(to.log_det(), logs, to.rows(), sum));
    }
}
