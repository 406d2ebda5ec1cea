//! Weights that are used scaled down, so that a net keeps a Lipschitz constant.

use super::norm::norm_and_direction;
use crate::engine::{Builder, Derived, Parameter, State, Values};
use crate::{FlowError, Result, Scalar};

/// Keeps P = gain · ∏‖Wᵢ‖ at or below a constant c: where it is more, each of the n weights is used
/// times `f = (c/P)^(1/n)`.
///
/// The norms are certified upper bounds `b`, and the gradient is that of the same bounds: with Gᵢ
/// the loss's gradient by the used weight f·Wᵢ, the one by Wᵢ is
/// `f·Gᵢ − (f/n)·(Σⱼ⟨Gⱼ, Wⱼ⟩)·∂ log bᵢ/∂Wᵢ`.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    constant: f64,
    gain: f64,
    /// Holds f.
    factor: Derived,
    weights: Vec<Weight>,
}

#[derive(Clone, Debug)]
struct Weight {
    parameter: Parameter,
    rows: usize,
    columns: usize,
    /// Holds f·W.
    used: Derived,
    /// Holds ∂ log b/∂W.
    direction: Derived,
}

impl Limit {
    /// A limit on the weights with those numbers of rows and columns, in a net whose other parts
    /// have the constant `gain`.
    pub(crate) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        constant: f64,
        gain: f64,
        weights: impl IntoIterator<Item = (Parameter, usize, usize)>,
    ) -> Result<Self> {
        if !(constant > 0.0 && constant.is_finite()) {
            return Err(FlowError::option("lipschitz", constant, "a finite number above 0"));
        }
        let weights = weights.into_iter().map(|(parameter, rows, columns)| Weight {
            rows,
            columns,
            used: builder.derived(parameter.len()),
            direction: builder.derived(parameter.len()),
            parameter,
        });
        let weights = weights.collect();
        Ok(Self { constant, gain, factor: builder.derived(1), weights })
    }

    /// The constant that is kept.
    pub(crate) fn constant(&self) -> f64 {
        self.constant
    }

    /// Where the weight of that index lies as it is used.
    pub(crate) fn used(&self, index: usize) -> &Derived {
        &self.weights[index].used
    }

    /// Computes the weights as they are used.
    pub(crate) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        let mut product = self.gain;
        for weight in &self.weights {
            let numbers = values.parameter(&weight.parameter);
            let (bound, direction) = norm_and_direction(numbers, weight.rows, weight.columns);
            product *= bound;
            for (v, by) in weight.direction.of_mut(derived).iter_mut().zip(direction) {
                *v = E::of(by);
            }
        }
        let factor = self.factor(product, E::epsilon().as_f64());
        self.factor.of_mut(derived)[0] = E::of(factor);
        for weight in &self.weights {
            let numbers = values.parameter(&weight.parameter);
            for (v, &w) in weight.used.of_mut(derived).iter_mut().zip(numbers) {
                *v = w * E::of(factor);
            }
        }
    }

    /// `(c/P)^(1/n)`, a little less for what rounding of the used weights may add: a share ε/2 to
    /// each entry and so, through the Frobenius norm, at most √rank · ε/2 to the norm.
    fn factor(&self, product: f64, epsilon: f64) -> f64 {
        if product <= self.constant {
            return 1.0;
        }
        let side = self.weights.iter().map(|w| w.rows.min(w.columns)).max().unwrap_or(1);
        let slack = epsilon * (4.0 + (side as f64).sqrt());
        (self.constant / product).powf(1.0 / self.weights.len() as f64) * (1.0 - slack)
    }

    /// Carries the gradient by the used weights on to the parameters.
    pub(crate) fn finish<E: Scalar>(
        &self,
        state: &State<E>,
        derived_gradient: &[E],
        gradient: &mut [E],
    ) {
        let factor = self.factor.of(&state.derived)[0];
        let active = factor < E::one();
        let mut along = 0.0;
        if active {
            for weight in &self.weights {
                let numbers = state.values.parameter(&weight.parameter);
                let by_used = weight.used.of(derived_gradient);
                along +=
                    by_used.iter().zip(numbers).map(|(g, w)| g.as_f64() * w.as_f64()).sum::<f64>();
            }
        }
        let along = E::of(along / self.weights.len() as f64);
        for weight in &self.weights {
            let by_used = weight.used.of(derived_gradient);
            let direction = weight.direction.of(&state.derived);
            let by_weight = weight.parameter.of_mut(gradient);
            for ((g, &by_used), &direction) in by_weight.iter_mut().zip(by_used).zip(direction) {
                *g += if active { factor * (by_used - along * direction) } else { by_used };
            }
        }
    }
}
