use super::{features, Bent, Transform};
use crate::backend::cpu::elementwise::gates;
use crate::lipschitz::Interval;
use crate::{FlowError, LogDet, Result, Scalar};

/// The positive factor `g(s)` of an affine map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// `exp(s)`.
    Exp,
    /// `exp(limit·tanh(s/limit))`: between `exp(-limit)` and `exp(limit)`.
    Tanh {
        /// The largest logarithm of the factor, above 0.
        limit: f64,
    },
    /// `low + (high − low)·σ(s + shift)`: between `low` and `high`.
    Sigmoid {
        /// The least factor, at least 0.
        low: f64,
        /// The largest factor, above `low`.
        high: f64,
        /// Added to `s`: 2 in the published Glow, so that a net of zeros starts near `high`.
        shift: f64,
    },
}

/// `z = x·g(s) + t`, with the parameters (s, t).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    scale: Scale,
}

impl Affine {
    /// The affine map with that scale function.
    pub const fn new(scale: Scale) -> Self {
        Self { scale }
    }

    /// Calls `job` with a function from `s` to `g`, `log g` and `d log g/ds`: the scale function
    /// is chosen outside its loops.
    fn with_scale<E: Scalar, J: Job<E>>(&self, job: J) {
        match self.scale {
            Scale::Exp => job.run(|s| (s.exp(), s, E::one())),
            Scale::Tanh { limit } => {
                let (limit, inverse) = (E::of(limit), E::of(1.0 / limit));
                job.run(move |s| {
                    let bent = (s * inverse).tanh();
                    ((limit * bent).exp(), limit * bent, E::one() - bent * bent)
                });
            }
            Scale::Sigmoid { low, high, shift } => {
                let (low, range, shift) = (E::of(low), E::of(high - low), E::of(shift));
                job.run(move |s| {
                    let (up, down) = gates(s + shift);
                    let g = low + range * up;
                    (g, g.ln(), range * up * down / g)
                });
            }
        }
    }
}

impl Affine {
    /// Every factor g(s) on an interval, and every g'(s) there.
    fn enclose_scale(&self, s: Interval) -> (Interval, Interval) {
        let point = Interval::point;
        match self.scale {
            Scale::Exp => {
                let g = s.exp();
                (g, g)
            }
            Scale::Tanh { limit } => {
                let bent = (s / point(limit)).tanh();
                let g = (point(limit) * bent).exp();
                (g, g * (point(1.0) - bent.square()))
            }
            Scale::Sigmoid { low, high, shift } => {
                let v = s + point(shift);
                let range = point(high) - point(low);
                let (up, down) = (v.sigmoid(), (-v).sigmoid());
                let g = point(low) + range * up;
                (Interval::new(g.low.max(low), g.high), range * (up * down))
            }
        }
    }
}

/// A loop over rows that is compiled for each scale function.
trait Job<E> {
    fn run(self, scale: impl Fn(E) -> (E, E, E));
}

struct Apply<'a, E> {
    inverse: bool,
    values: &'a mut [E],
    parameters: &'a mut [E],
    log_det: &'a mut [E],
}

impl<E: Scalar> Job<E> for Apply<'_, E> {
    fn run(self, scale: impl Fn(E) -> (E, E, E)) {
        let features = features(self.values.len(), self.log_det.len());
        let rows = self
            .values
            .chunks_exact_mut(features)
            .zip(self.parameters.chunks_exact_mut(2 * features));
        for ((row, parameters), log_det) in rows.zip(self.log_det) {
            let mut sum = E::zero();
            for (v, theta) in row.iter_mut().zip(parameters.chunks_exact_mut(2)) {
                let (g, log_g, slope) = scale(theta[0]);
                *v = if self.inverse { (*v - theta[1]) / g } else { *v * g + theta[1] };
                sum += log_g;
                // All that the products need.
                theta.copy_from_slice(&[g, slope]);
            }
            *log_det = if self.inverse { *log_det - sum } else { *log_det + sum };
        }
    }
}

impl Transform for Affine {
    const LOG_DET: LogDet = LogDet::Varying;

    fn parameters(&self) -> usize {
        2
    }

    fn check(&self) -> Result<()> {
        let (option, found, expected, good) = match self.scale {
            Scale::Exp => return Ok(()),
            Scale::Tanh { limit } => (
                "limit of tanh",
                format!("{limit}"),
                "a finite number above 0",
                limit > 0.0 && limit.is_finite(),
            ),
            Scale::Sigmoid { low, high, shift } => (
                "sigmoid(low, high, shift)",
                format!("({low}, {high}, {shift})"),
                "0 <= low < high, and a finite shift",
                low >= 0.0 && low < high && high.is_finite() && shift.is_finite(),
            ),
        };
        if good {
            Ok(())
        } else {
            Err(FlowError::option(option, found, expected))
        }
    }

    fn forward<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        self.with_scale(Apply { inverse: false, values, parameters, log_det });
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        self.with_scale(Apply { inverse: true, values, parameters, log_det });
    }

    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        let features = features(x.len(), log_det.len());
        let each = x.iter().zip(parameters.chunks_exact_mut(2)).zip(gradient).enumerate();
        for (i, ((&x, theta), by_z)) in each {
            let (g, slope) = (theta[0], theta[1]);
            theta[0] = (*by_z * x * g + log_det[i / features]) * slope;
            theta[1] = *by_z;
            *by_z *= g;
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
        let each = x.iter().zip(parameters.chunks_exact_mut(2)).zip(gradient).enumerate();
        for (i, ((&x, theta), by_x)) in each {
            let (g, slope) = (theta[0], theta[1]);
            theta[0] = -(*by_x * x + log_det[i / features]) * slope;
            *by_x /= g;
            theta[1] = -*by_x;
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
        let (g, steepness) = self.enclose_scale(parameters[0]);
        let value = if backwards { (at - parameters[1]) / g } else { at * g + parameters[1] };
        let x = if backwards { value } else { at };
        Bent { value, slope: g, by_parameters: vec![x * steepness, Interval::point(1.0)] }
    }
}

#[cfg(feature = "cuda")]
#[path = "affine_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::super::testing::check_transform;
    use super::*;

    const SCALES: [Scale; 4] = [
        Scale::Exp,
        Scale::Tanh { limit: 2.0 },
        Scale::Sigmoid { low: 0.5, high: 1.0, shift: 2.0 },
        Scale::Sigmoid { low: 0.0, high: 3.0, shift: 0.0 },
    ];

    #[test]
    fn obeys_the_laws() {
        for scale in SCALES {
            check_transform(&Affine::new(scale), 5.0);
        }
    }

    #[test]
    fn bounded_scales_keep_their_bounds() {
        for (scale, least, most) in [
            (Scale::Tanh { limit: 2.0 }, (-2f64).exp(), 2f64.exp()),
            (Scale::Sigmoid { low: 0.5, high: 1.0, shift: 2.0 }, 0.5, 1.0),
        ] {
            for s in [-1e30, -3.0, 0.0, 3.0, 1e30] {
                let (mut x, mut log_det) = ([1.0], [0.0]);
                Affine::new(scale).forward(&mut x, &mut [s, 0.0], &mut log_det);
                assert!((least..=most).contains(&x[0]), "{scale:?} of {s} is {}", x[0]);
                assert!((log_det[0] - x[0].ln()).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn bad_options_are_errors() {
        for scale in [
            Scale::Tanh { limit: 0.0 },
            Scale::Tanh { limit: f64::NAN },
            Scale::Sigmoid { low: 1.0, high: 1.0, shift: 2.0 },
            Scale::Sigmoid { low: -0.1, high: 1.0, shift: 2.0 },
        ] {
            assert!(Affine::new(scale).check().is_err(), "{scale:?}");
        }
        assert!(SCALES.iter().all(|&scale| Affine::new(scale).check().is_ok()));
    }
}
