//! The cost of transport.

use dfdx::prelude::HasShape;

use super::tape::{squared_distance, Loss};
use super::{BatchPass, Objective};
use crate::{Architecture, Event, Result, Scalar};

/// How far the flow carries a row, `mean ‖F(x) − x‖²`: the L₂ transport cost (Yang and Karniadakis
/// 2020, "Potential flow generator with L₂ optimal transport regularity for generative models";
/// Onken et al. 2021, "OT-Flow"; applied to a flow of blocks in "Jacobian determinant of normalizing
/// flows", section 6.2).
///
/// Numbers are compared in the order of data and latents, so it makes sense where the flow keeps the
/// shape of its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportCost;

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for TransportCost {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        let (x, (z, _)) = (pass.x(), pass.forward()?);
        let rows = A::Event::rows(x.shape());
        squared_distance(z, x, 1.0 / rows as f64)
    }
}
