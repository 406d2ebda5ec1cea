//! Weights that are used scaled down, so that a net keeps a Lipschitz constant.

use rayon::prelude::*;

use super::norm::{self, Map};
use crate::engine::{Builder, Derived, State};
use crate::{FlowError, Result, Scalar};

/// A factor of a net's Lipschitz constant.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// `gain·‖W‖` of the weight with that index, of a layer that everything passes.
    Layer { weight: usize, gain: f64 },
    /// `1 + gain·∏‖Wᵢ‖`, of layers with a way past them.
    Skip { weights: Vec<usize>, gain: f64 },
}

/// Keeps P, the product of all parts, at or below a constant c: where it is more, each of the n
/// weights that everything passes is used times `f = (c/P)^(1/n)`.
///
/// The norms are certified upper bounds b, and the gradient is that of the same bounds. With Gᵢ the
/// loss's gradient by the used weight and Eᵢ = ∂ log P/∂ log bᵢ (1 for a layer that everything
/// passes), the one by Wᵢ is `f·Gᵢ − (f/n)·(Σⱼ⟨Gⱼ, Wⱼ⟩)·Eᵢ·∂ log bᵢ/∂Wᵢ`, where the sum is over the
/// n weights, and f is 1 in the first term for the others.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    constant: f64,
    parts: Vec<Part>,
    weights: Vec<Weight>,
    /// Holds f.
    factor: Derived,
}

/// The norms of a net with so large a weight are worth a thread each.
const WORTH_A_THREAD: usize = 2048;

#[derive(Clone, Debug)]
struct Weight {
    map: Map,
    /// Holds f·W, or W.
    scaled: Derived,
    /// Holds E·∂ log b/∂W.
    direction: Derived,
}

impl Limit {
    /// A limit on the weights that act like `maps`, each of which stands in one part.
    pub(crate) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        constant: f64,
        parts: Vec<Part>,
        maps: Vec<Map>,
    ) -> Result<Self> {
        if !(constant > 0.0 && constant.is_finite()) {
            return Err(FlowError::option("lipschitz", constant, "a finite number above 0"));
        }
        let weights = maps.into_iter().map(|map| Weight {
            scaled: builder.derived(map.len()),
            direction: builder.derived(map.len()),
            map,
        });
        let weights = weights.collect();
        Ok(Self { constant, parts, weights, factor: builder.derived(1) })
    }

    /// The constant that is kept.
    pub(crate) fn constant(&self) -> f64 {
        self.constant
    }

    /// Where the weight of that index lies as it is used.
    pub(crate) fn scaled(&self, index: usize) -> &Derived {
        &self.weights[index].scaled
    }

    /// The weights that everything passes.
    fn passed(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Layer { weight, .. } => Some(*weight),
            Part::Skip { .. } => None,
        })
    }

    /// Computes the weights as they are used.
    pub(crate) fn prepare<E: Scalar>(&self, numbers: &[Vec<E>], derived: &mut [E]) {
        if self.is_kept(numbers) {
            self.factor.of_mut(derived)[0] = E::one();
            for (weight, numbers) in self.weights.iter().zip(numbers) {
                weight.scaled.of_mut(derived).copy_from_slice(numbers);
            }
            return;
        }
        let norm =
            |(weight, numbers): (&Weight, &Vec<E>)| norm::norm_and_direction(numbers, weight.map);
        let (bounds, directions): (Vec<f64>, Vec<Vec<f64>>) =
            if numbers.iter().any(|numbers| numbers.len() > WORTH_A_THREAD) {
                self.weights.par_iter().zip(numbers).map(norm).unzip()
            } else {
                self.weights.iter().zip(numbers).map(norm).unzip()
            };
        let factor = self.factor(self.product(&bounds), E::epsilon().as_f64());
        self.factor.of_mut(derived)[0] = E::of(factor);
        for (i, weight) in self.weights.iter().enumerate() {
            let (elasticity, factor) = self.role(i, &bounds, factor);
            let direction = weight.direction.of_mut(derived).iter_mut();
            direction.zip(&directions[i]).for_each(|(v, by)| *v = E::of(elasticity * by));
            let scaled = weight.scaled.of_mut(derived).iter_mut();
            scaled.zip(&numbers[i]).for_each(|(v, &w)| *v = E::of(w.as_f64() * factor));
        }
    }

    /// Whether rough bounds tell that nothing needs to be scaled: for convolutions they are much
    /// cheaper, and mostly enough while a last layer is near its start at zero.
    fn is_kept<E: Scalar>(&self, numbers: &[Vec<E>]) -> bool {
        if self.weights.iter().all(|weight| weight.map.window.kernel == 1) {
            return false;
        }
        let found = self.weights.iter().zip(numbers);
        let bounds = found.map(|(weight, numbers)| norm::rough(numbers, weight.map));
        self.factor(self.product(&bounds.collect::<Vec<_>>()), 0.0) == 1.0
    }

    /// P.
    fn product(&self, bounds: &[f64]) -> f64 {
        let part = |part: &Part| match part {
            Part::Layer { weight, gain } => gain * bounds[*weight],
            Part::Skip { weights, gain } => {
                1.0 + weights.iter().map(|&i| bounds[i]).product::<f64>() * gain
            }
        };
        self.parts.iter().map(part).product()
    }

    /// Eᵢ, and the factor at which the weight is used.
    fn role(&self, index: usize, bounds: &[f64], factor: f64) -> (f64, f64) {
        let skip = self.parts.iter().find_map(|part| match part {
            Part::Skip { weights, gain } if weights.contains(&index) => Some((weights, gain)),
            _ => None,
        });
        let Some((weights, gain)) = skip else { return (1.0, factor) };
        let inner = weights.iter().map(|&i| bounds[i]).product::<f64>() * gain;
        (inner / (1.0 + inner), 1.0)
    }

    /// `(c/P)^(1/n)`, a little less for what rounding of the used weights may add: a share ε/2 to
    /// each entry, and so at most [`spread`](Map::spread)·ε/2 to the norm.
    fn factor(&self, product: f64, epsilon: f64) -> f64 {
        // The few operations that P is made of.
        let product = product * (1.0 + 4.0 * f64::EPSILON * (1 + self.weights.len()) as f64);
        if product <= self.constant {
            return 1.0;
        }
        let root = (self.constant / product).powf(1.0 / self.passed().count() as f64);
        root * (1.0 - self.slack(epsilon))
    }

    /// By what share the factor is less for that.
    fn slack(&self, epsilon: f64) -> f64 {
        let spread = self.passed().map(|i| self.weights[i].map.spread()).fold(0.0, f64::max);
        epsilon * (4.0 + spread)
    }

    /// The gradients by the weights `numbers`, from those by the used ones.
    pub(crate) fn finish<E: Scalar>(
        &self,
        numbers: &[Vec<E>],
        state: &State<E>,
        derived_gradient: &[E],
    ) -> Vec<Vec<E>> {
        let factor = self.factor.of(&state.derived)[0];
        let passed: Vec<usize> = self.passed().collect();
        let active = factor < E::one();
        let mut along = 0.0;
        for &i in passed.iter().filter(|_| active) {
            let by_used = self.weights[i].scaled.of(derived_gradient);
            along +=
                by_used.iter().zip(&numbers[i]).map(|(g, w)| g.as_f64() * w.as_f64()).sum::<f64>();
        }
        let along = factor * E::of(along / passed.len() as f64);
        let each = self.weights.iter().enumerate().map(|(i, weight)| {
            let own = if passed.contains(&i) { factor } else { E::one() };
            let by_used = weight.scaled.of(derived_gradient);
            let direction = weight.direction.of(&state.derived);
            let both = by_used.iter().zip(direction);
            both.map(|(&g, &by)| if active { own * g - along * by } else { g }).collect()
        });
        each.collect()
    }
}

#[cfg(feature = "cuda")]
#[path = "limit_lowering.rs"]
mod lowering;
