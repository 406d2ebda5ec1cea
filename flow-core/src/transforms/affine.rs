use flow_kernels::Factor;

use super::{features, Bent, Transform};
use crate::lipschitz::Interval;
use crate::{FlowError, LogDet, Result, Scalar};

/// Numbers whose factors are taken together.
const TOGETHER: usize = 64;

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
        /// Added to `s`: 2 in the published Glow, so that a net of zeros starts near `high`, at
        /// `low + 0.8808·(high − low)`.
        shift: f64,
    },
}

/// `z = x·g(s) + t`, with the parameters (s, t) and the log-slope `ln g(s)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    scale: Scale,
}

impl Affine {
    /// The affine map with that scale function.
    pub const fn new(scale: Scale) -> Self {
        Self { scale }
    }

    fn factor<E: Scalar>(&self) -> Factor<E> {
        match self.scale {
            Scale::Exp => Factor::Exp,
            Scale::Tanh { limit } => Factor::Tanh { limit: E::of(limit) },
            Scale::Sigmoid { low, high, shift } => {
                let (low, range, shift) = (E::of(low), E::of(high - low), E::of(shift));
                Factor::Sigmoid { low, range, shift }
            }
        }
    }

    /// Maps each value by `each` from its factor and shift, leaves factors and their slopes in
    /// `parameters`, which is all that the products need, and adds `sign` times the logarithms.
    fn apply<E: Scalar>(
        &self,
        values: &mut [E],
        parameters: &mut [E],
        log_det: &mut [E],
        sign: E,
        each: impl Fn(E, E, E) -> E,
    ) {
        let features = features(values.len(), log_det.len());
        let (mut row, mut left) = (0, features);
        let parts = values.chunks_mut(TOGETHER).zip(parameters.chunks_mut(2 * TOGETHER));
        for (values, parameters) in parts {
            let mut buffers = [[E::zero(); TOGETHER]; 3];
            let [g, logs, slopes] = buffers.each_mut().map(|all| &mut all[..values.len()]);
            let (pairs, _) = parameters.as_chunks_mut::<2>();
            g.iter_mut().zip(&*pairs).for_each(|(g, [s, _])| *g = *s);
            flow_kernels::factors(self.factor(), g, logs, slopes);
            for (((v, pair), &mut g), &mut slope) in values.iter_mut().zip(pairs).zip(g).zip(slopes)
            {
                *v = each(*v, g, pair[1]);
                *pair = [g, slope];
            }
            for &mut log in logs {
                log_det[row] += sign * log;
                left -= 1;
                if left == 0 {
                    (row, left) = (row + 1, features);
                }
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

/// Calls `each` with a number, its pair of parameters, its gradient, and what its row has in `log_det`.
fn products<E: Scalar>(
    x: &[E],
    parameters: &mut [E],
    gradient: &mut [E],
    log_det: &[E],
    each: impl Fn(E, &mut [E; 2], &mut E, E),
) {
    let features = features(x.len(), log_det.len());
    let (pairs, _) = parameters.as_chunks_mut::<2>();
    let rows =
        x.chunks(features).zip(pairs.chunks_mut(features)).zip(gradient.chunks_mut(features));
    for (((x, pairs), gradient), &by_log) in rows.zip(log_det) {
        for ((&x, theta), by) in x.iter().zip(pairs).zip(gradient) {
            each(x, theta, by, by_log);
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
        self.apply(values, parameters, log_det, E::one(), |v, g, t| v * g + t);
    }

    fn inverse<E: Scalar>(&self, values: &mut [E], parameters: &mut [E], log_det: &mut [E]) {
        self.apply(values, parameters, log_det, -E::one(), |v, g, t| (v - t) / g);
    }

    fn forward_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        products(x, parameters, gradient, log_det, |x, theta, by_z, by_log| {
            let [g, slope] = *theta;
            *theta = [(*by_z * x * g + by_log) * slope, *by_z];
            *by_z *= g;
        });
    }

    fn inverse_vjp<E: Scalar>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        log_det: &[E],
    ) {
        products(x, parameters, gradient, log_det, |x, theta, by_x, by_log| {
            let [g, slope] = *theta;
            theta[0] = -(*by_x * x + by_log) * slope;
            *by_x /= g;
            theta[1] = -*by_x;
        });
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
