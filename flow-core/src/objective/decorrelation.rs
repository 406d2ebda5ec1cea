//! Decorrelated latents.

use super::{BatchPass, Loss, Objective};
use crate::stability::decorrelate;
use crate::{Architecture, Result, Scalar};

/// [`decorrelate`] of a batch's latents, as an objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decorrelation;

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for Decorrelation {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        decorrelate(pass.forward()?.0)
    }
}
