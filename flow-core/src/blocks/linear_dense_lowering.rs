//! A matrix that is a parameter itself, on a GPU.

use flow_cuda::kernels::inverses::{add_turned, invert, Inverted};

use super::LinearDense;
use crate::blocks::dense::record_by_inverse;
use crate::cuda::Lowering;
use crate::Scalar;

impl LinearDense {
    /// Records how the inverse and the determinant come of the weight, and their gradients' way back.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        let weight = to.parameter(&self.weight);
        let [inverse, log_det, condition] =
            [&self.inverse, &self.log_det, &self.condition].map(|slot| to.derived(slot));
        let into = Inverted { inverse, log_det, condition };
        let op = invert(to.recording(), weight, into);
        to.prepare(op);
        let by_weight = to.parameter_gradient(&self.weight);
        let [by_inverse, by_log_det] =
            [&self.inverse, &self.log_det].map(|slot| to.derived_gradient(slot));
        record_by_inverse(to, by_weight, [inverse, by_inverse], self.shape.features());
        // The gradient by W of log |det W| is W⁻ᵀ.
        to.finish_weights(add_turned(by_weight, inverse, by_log_det));
    }
}
