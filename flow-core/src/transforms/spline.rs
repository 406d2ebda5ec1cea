use super::rational_quadratic::Bin;
use super::spline_enclosure::Knots;
use super::{features, Bent, Transform};
use crate::lipschitz::Interval;
use crate::{FlowError, LogDet, Result, Scalar};

/// The least width and height of a bin as a share of the whole, and the least slope.
const LEAST: f64 = 1e-3;

/// Slopes whose logarithms are taken together.
const SIDE_BY_SIDE: usize = 64;

/// A monotone rational-quadratic spline on [−bound, bound] and the identity outside (Durkan et al.
/// 2019, "Neural Spline Flows", eq. 4 to 8).
///
/// With `K` bins the parameters are `K` widths, `K` heights and `K − 1` inner slopes. Widths are
/// `2·bound·(1e-3 + (1 − K·1e-3)·softmax)`, heights likewise, slopes `1e-3 + softplus`, and 1 at
/// both ends.
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

    /// Widths and heights are `floor + stretch · share`.
    fn sizes<E: Scalar>(&self) -> (E, E) {
        let whole = 2.0 * self.bound;
        (E::of(whole * LEAST), E::of(whole * (1.0 - self.bins as f64 * LEAST)))
    }

    /// Whether the spline bends there. NaN counts as outside, and so passes unchanged.
    fn covers<E: Scalar>(&self, v: E) -> bool {
        let bound = E::of(self.bound);
        v > -bound && v < bound
    }

    /// The bin of `v` along the widths, or along the heights.
    fn bin<E: Scalar>(&self, v: E, parameters: &[E], along_heights: bool) -> (usize, Bin<E>) {
        let (floor, stretch) = self.sizes::<E>();
        let (widths, rest) = parameters.split_at(self.bins);
        let (heights, slopes) = rest.split_at(self.bins);
        let (searched, other) = if along_heights { (heights, widths) } else { (widths, heights) };
        let (mut start, mut other_start) = (-E::of(self.bound), -E::of(self.bound));
        let mut index = 0;
        while index + 1 < self.bins {
            let end = start + floor + stretch * searched[index];
            if v < end {
                break;
            }
            start = end;
            other_start = other_start + floor + stretch * other[index];
            index += 1;
        }
        let slope = |knot: usize| match knot.checked_sub(1).and_then(|inner| slopes.get(inner)) {
            Some(&above) => E::of(LEAST) + above,
            None => E::one(),
        };
        let (left, bottom) =
            if along_heights { (other_start, start) } else { (start, other_start) };
        let bin = Bin {
            left,
            bottom,
            width: floor + stretch * widths[index],
            height: floor + stretch * heights[index],
            slopes: (slope(index), slope(index + 1)),
        };
        (index, bin)
    }

    /// Changes each value by `each`, which gives the slope with it, and adds `sign` times the logarithms
    /// of the slopes.
    fn apply<E: Scalar>(
        &self,
        values: &mut [E],
        parameters: &mut [E],
        log_det: &mut [E],
        sign: E,
        each: impl Fn(E, &[E]) -> (E, E),
    ) {
        let (count, features) = (self.parameters(), features(values.len(), log_det.len()));
        // Logits become shares, and the slopes' numbers what they add to the least one.
        flow_kernels::softmax_and_softplus(parameters, count, 2, self.bins);
        let parts = values.chunks_mut(SIDE_BY_SIDE).zip(parameters.chunks(SIDE_BY_SIDE * count));
        for (part, (values, parameters)) in parts.enumerate() {
            let mut slopes = [E::one(); SIDE_BY_SIDE];
            let slopes = &mut slopes[..values.len()];
            let all = values.iter_mut().zip(&mut *slopes).zip(parameters.chunks_exact(count));
            for ((v, slope), theta) in all {
                if self.covers(*v) {
                    (*v, *slope) = each(*v, theta);
                }
            }
            flow_kernels::ln(slopes);
            for (k, &log_slope) in slopes.iter().enumerate() {
                let row = (part * SIDE_BY_SIDE + k) / features;
                log_det[row] += sign * log_slope;
            }
        }
    }

    /// Replaces the parameters of one feature by the gradient by them, where `cotangents` gives
    /// those of `f` and `log f'` from `f'` and `∂ log f'/∂x`. Returns the cotangent of `f` and the
    /// gradient by `x`.
    fn product<E: Scalar>(
        &self,
        x: E,
        parameters: &mut [E],
        cotangents: impl FnOnce(E, E) -> (E, E),
    ) -> (E, E) {
        let one = E::one();
        if !self.covers(x) {
            parameters.fill(E::zero());
            let (by_f, _) = cotangents(one, E::zero());
            return (by_f, by_f);
        }
        let (index, bin) = self.bin(x, parameters, false);
        let by = bin.product(x, cotangents);
        let (widths, others) = parameters.split_at_mut(self.bins);
        let (heights, slopes) = others.split_at_mut(self.bins);
        let (_, stretch) = self.sizes::<E>();
        softmax_product(widths, index, stretch, -by.x, by.width);
        softmax_product(heights, index, stretch, by.value, by.height);
        for (inner, above) in slopes.iter_mut().enumerate() {
            let by_slope = if inner + 1 == index {
                by.slopes.0
            } else if inner == index {
                by.slopes.1
            } else {
                *above = E::zero();
                continue;
            };
            // The slope of ln(1 + e^v) is 1 − e^−ln(1 + e^v).
            *above = by_slope * -(-*above).exp_m1();
        }
        (by.value, by.x)
    }
}

/// Turns softmax shares into the gradient by their logits, where the loss depends on the sizes
/// `stretch · share` of the bins before `index` by `before` each, and on that of `index` by `own`.
fn softmax_product<E: Scalar>(shares: &mut [E], index: usize, stretch: E, before: E, own: E) {
    let mean = shares[..index].iter().copied().sum::<E>() * before + shares[index] * own;
    for (i, share) in shares.iter_mut().enumerate() {
        let by_size = match i.cmp(&index) {
            std::cmp::Ordering::Less => before,
            std::cmp::Ordering::Equal => own,
            std::cmp::Ordering::Greater => E::zero(),
        };
        *share = *share * stretch * (by_size - mean);
    }
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
        let forward = |v, theta: &[E]| self.bin(v, theta, false).1.forward(v);
        self.apply(values, parameters, log_det, E::one(), forward);
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        let inverse = |v, theta: &[E]| self.bin(v, theta, true).1.inverse(v);
        self.apply(values, parameters, log_det, -E::one(), inverse);
    }

    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let features = features(x.len(), log_det.len());
        let each = x.iter().zip(parameters.chunks_exact_mut(self.parameters())).zip(gradient);
        for (i, ((&x, theta), by_z)) in each.enumerate() {
            let by_log = log_det[i / features];
            let (_, by_x) = self.product(x, theta, |_, _| (*by_z, by_log));
            *by_z = by_x;
        }
    }

    fn inverse_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let features = features(x.len(), log_det.len());
        let each = x.iter().zip(parameters.chunks_exact_mut(self.parameters())).zip(gradient);
        for (i, ((&x, theta), by_x)) in each.enumerate() {
            let by_log = log_det[i / features];
            let (by_f, _) = self.product(x, theta, |slope, log_slope_by_x| {
                ((by_log * log_slope_by_x - *by_x) / slope, -by_log)
            });
            *by_x = -by_f;
        }
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
