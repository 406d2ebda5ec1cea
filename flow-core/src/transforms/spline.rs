use flow_kernels::Splines;

use super::spline_enclosure::Knots;
use super::{features, Bent, Transform};
use crate::lipschitz::Interval;
use crate::{FlowError, LogDet, Result, Scalar};

/// The least width and height of a bin as a share of the whole, and the least slope.
const LEAST: f64 = 1e-3;

/// A monotone rational-quadratic spline on [−bound, bound] and the identity outside (Durkan et al.
/// 2019, "Neural Spline Flows", eq. 4 to 8).
///
/// With `K` bins the parameters are `K` widths, `K` heights and `K − 1` inner slopes, in this order.
/// Widths are `2·bound·(1e-3 + (1 − K·1e-3)·softmax)`, heights likewise, and the knots (x₀, z₀), …,
/// (x_K, z_K) follow from (−bound, −bound) on. The slopes δ at inner knots are `1e-3 + softplus`, at
/// both ends 1. In bin k, of width w, height h and ratio `r = h/w`, with `ξ = (x − xₖ)/w`,
///
/// ```text
/// z     = zₖ + h·(r·ξ² + δₖ·ξ(1 − ξ)) / (r + (δₖ + δₖ₊₁ − 2r)·ξ(1 − ξ))
/// ∂z/∂x = r²·(δₖ₊₁·ξ² + 2r·ξ(1 − ξ) + δₖ·(1 − ξ)²) / (r + (δₖ + δₖ₊₁ − 2r)·ξ(1 − ξ))²
/// ```
///
/// It starts as the identity: widths and heights from 0, slopes from `ln(e^(1 − 1e-3) − 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spline {
    bins: usize,
    bound: f64,
}

impl Spline {
    /// A spline of `bins` bins on [−bound, bound]. Published defaults are 8 and 3.
    pub const fn new(bins: usize, bound: f64) -> Self {
        Self { bins, bound }
    }

    fn splines(&self) -> Splines {
        Splines { bins: self.bins, bound: self.bound, least: LEAST }
    }
}

/// Adds `sign` times the logarithms of slopes to those of their rows.
fn add<E: Scalar>(log_det: &mut [E], logs: &[E], sign: E) {
    let features = features(logs.len(), log_det.len());
    for (row, logs) in log_det.iter_mut().zip(logs.chunks(features)) {
        *row = logs.iter().fold(*row, |all, &log| all + sign * log);
    }
}

/// What belongs to a row, for each of so many numbers.
fn spread<E: Scalar>(rows: &[E], numbers: usize) -> Vec<E> {
    let features = features(numbers, rows.len());
    let mut all = Vec::with_capacity(numbers);
    rows.iter().for_each(|&v| all.resize((all.len() + features).min(numbers), v));
    all
}

impl Transform for Spline {
    const LOG_DET: LogDet = LogDet::Varying;

    fn parameters(&self) -> usize {
        (3 * self.bins).saturating_sub(1)
    }

    fn start(&self, parameter: usize) -> f64 {
        if parameter < 2 * self.bins {
            0.0
        } else {
            // softplus⁻¹(1 − LEAST): all slopes 1.
            (1.0 - LEAST).exp_m1().ln()
        }
    }

    fn check(&self) -> Result<()> {
        let most = (1.0 / LEAST) as usize - 1;
        if !(1..=most).contains(&self.bins) {
            return Err(FlowError::option("bins", self.bins, format!("1 to {most}")));
        }
        if self.bound > 0.0 && self.bound.is_finite() {
            Ok(())
        } else {
            Err(FlowError::option("bound", self.bound, "a finite number above 0"))
        }
    }

    fn forward<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        let mut logs = vec![E::zero(); values.len()];
        self.splines().forward(values, parameters, &mut logs);
        add(log_det, &logs, E::one());
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        let mut logs = vec![E::zero(); values.len()];
        self.splines().inverse(values, parameters, &mut logs);
        add(log_det, &logs, -E::one());
    }

    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let by_logs = spread(log_det, x.len());
        self.splines().forward_vjp(x, parameters, gradient, &by_logs);
    }

    fn inverse_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let by_logs = spread(log_det, x.len());
        self.splines().inverse_vjp(x, parameters, gradient, &by_logs);
    }

    #[cfg(feature = "cuda")]
    fn lower<E: Scalar>(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        steered: crate::cuda::Steered,
    ) -> Result<Vec<flow_cuda::Op>> {
        Ok(self.record(to, steered))
    }

    fn enclose(&self, at: Interval, parameters: &[Interval], backwards: bool) -> Bent {
        if !parameters.iter().all(|v| v.is_bounded()) {
            return Bent::unknown(parameters.len());
        }
        Knots::new(self.bins, self.bound, LEAST, parameters).enclose(at, backwards)
    }
}

#[cfg(feature = "cuda")]
#[path = "spline_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "spline_tests.rs"]
mod tests;
