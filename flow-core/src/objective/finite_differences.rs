//! Finite differences in both directions.

use super::tape::{shifted, squared_distance, weighted, Loss};
use super::{BatchPass, Objective};
use crate::{Architecture, Event, FlowError, Invertible, Noise, NormalizingFlow, Result, Scalar};

/// How much the flow F and its inverse stretch a short way in a random direction (Behrmann et al.
/// 2021, "Understanding and mitigating exploding inverses in invertible neural networks", section
/// 3.2, equation 6, "bi-directional FD"):
///
/// `mean ‖F(x + ε·v) − F(x)‖²/ε² + mean ‖F⁻¹(z + ε·w) − F⁻¹(z)‖²/ε²` with `z = F(x)`
///
/// over the rows of a batch, where each row has directions v and w of its own, uniform on the unit
/// sphere (the paper draws them from a normal: times d as long in the square). For small ε the first
/// term is on average the squared Frobenius norm of the Jacobian over d, the second that of the
/// inverse's; their sum is at least 2. Gradients go through both directions, and through z.
///
/// `F⁻¹(z)` is not computed: it is x, for any weights, and so is constant. One that would be computed
/// from an exploding inverse would not be x, so that the term also keeps reconstructions near the
/// data.
///
/// It costs a pass in each direction beside the shared one: three times a step of
/// [`Likelihood`](super::Likelihood) alone, where it is due. Once every 10 steps is enough (appendix
/// G). With every sample in a unit's distance of others, the paper's ε = 0.1 is small, and large
/// enough for `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FiniteDifferences {
    epsilon: f64,
}

impl Default for FiniteDifferences {
    /// With ε = 0.1.
    fn default() -> Self {
        Self { epsilon: 0.1 }
    }
}

impl FiniteDifferences {
    /// With ways of length `epsilon`.
    ///
    /// # Errors
    /// An `epsilon` that is not a finite number above 0.
    pub fn new(epsilon: f64) -> Result<Self> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let option = "the epsilon of finite differences";
            return Err(FlowError::option(option, epsilon, "a finite number above 0"));
        }
        Ok(Self { epsilon })
    }

    /// A way of length ε for each row.
    fn ways<E: Scalar>(self, noise: &Noise, rows: usize, size: usize) -> Vec<E> {
        let mut ways = vec![0.0_f64; rows * size];
        noise.fill_normal(0, &mut ways);
        let scaled = ways.chunks_exact(size).flat_map(|way| {
            let length = way.iter().map(|v| v * v).sum::<f64>().sqrt();
            way.iter().map(move |v| E::of(self.epsilon / length * v))
        });
        scaled.collect()
    }
}

impl<A: Architecture<E> + Invertible, E: Scalar> Objective<A, E> for FiniteDifferences {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        let (flow, x, (z, _)) = (pass.flow(), pass.x(), pass.forward()?);
        let rows = A::Event::rows(dfdx::prelude::HasShape::shape(&x));
        let size = A::Event::SHAPE.size();
        let way = |name: &str| self.ways::<E>(&pass.step().noise(name), rows, size);
        let factor = 1.0 / (rows as f64 * self.epsilon * self.epsilon);

        let (image, _) = flow.forward(shifted(x, &way("forward directions"))?)?;
        let there = squared_distance(image, z, factor)?;
        let (z, _) = pass.forward()?;
        let (origin, _) = flow.inverse(shifted(z, &way("inverse directions"))?)?;
        let back = squared_distance(origin, pass.x(), factor)?;
        weighted(vec![(1.0, there), (1.0, back)])
    }
}

#[cfg(test)]
#[path = "finite_differences_tests.rs"]
mod tests;
