//! Maximum likelihood.

use super::tape::{mean, Loss};
use super::{BatchPass, Objective};
use crate::{Architecture, Result, Scalar};

/// The mean negative log-likelihood of a batch in nats, as [`Trainer::fit`](crate::Trainer::fit)
/// has it: `−mean(log p(z) + log |det ∂z/∂x|)`.
///
/// At a small weight beside another loss it keeps the inverse from exploding: a direction that a
/// flow contracts costs likelihood (Behrmann et al. 2021, "Understanding and mitigating exploding
/// inverses in invertible neural networks", section 3.2, the normalizing flow objective or NF; it
/// weighs 1e-3 to 1e-5 beside a classifier in appendix G, 1e-8 beside a regression in appendix F).
/// Where the other loss uses the same latents, it costs next to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Likelihood;

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for Likelihood {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        let (z, log_det) = pass.forward()?;
        mean(pass.flow().log_prob_of_latents(z, log_det)?, -1.0)
    }
}
