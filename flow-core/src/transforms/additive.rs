use super::{Bent, Transform};
use crate::lipschitz::Interval;
use crate::{LogDet, Scalar};

/// `z = x + t`, with the parameter (t) and the log-slope 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additive;

impl Additive {
    /// The translation.
    pub const fn new() -> Self {
        Self
    }
}

impl Transform for Additive {
    const LOG_DET: LogDet = LogDet::Zero;

    fn parameters(&self) -> usize {
        1
    }

    fn forward<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], _: &mut [E]) {
        for (v, &t) in values.iter_mut().zip(&*parameters) {
            *v += t;
        }
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], _: &mut [E]) {
        for (v, &t) in values.iter_mut().zip(&*parameters) {
            *v -= t;
        }
    }

    fn forward_vjp<E: Scalar>(&self, _: &[E], parameters: &mut [E], gradient: &mut [E], _: &[E]) {
        parameters.copy_from_slice(gradient);
    }

    fn inverse_vjp<E: Scalar>(&self, _: &[E], parameters: &mut [E], gradient: &mut [E], _: &[E]) {
        for (by_t, &g) in parameters.iter_mut().zip(&*gradient) {
            *by_t = -g;
        }
    }

    #[cfg(feature = "cuda")]
    fn lower<E: Scalar>(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        steered: crate::cuda::Steered,
    ) -> crate::Result<Vec<flow_cuda::Op>> {
        use flow_cuda::kernels::affine::{additive, additive_product};
        use flow_cuda::kernels::rows::Rows;
        let crate::cuda::Steered { moved, x, gradient, parameters, by_parameters } = steered;
        to.record(additive(moved, x, parameters));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let by_parameters = Rows::new(by_parameters, parameters.width);
        Ok(vec![additive_product(moved, gradient, by_parameters)])
    }

    fn enclose(&self, at: Interval, parameters: &[Interval], backwards: bool) -> Bent {
        let value = if backwards { at - parameters[0] } else { at + parameters[0] };
        Bent { value, slope: Interval::point(1.0), by_parameters: vec![Interval::point(1.0)] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_transform;
    use super::*;

    #[test]
    fn obeys_the_laws() {
        check_transform(&Additive::new(), 5.0);
    }
}
