//! Penalties on the weights alone.

use dfdx::prelude::OwnedTape;

use super::tape::{scalar, Loss};
use super::{BatchPass, Objective};
use crate::{Architecture, Result, Scalar};

/// The squares of the mean log stretch of each block whose log-determinant does not depend on its
/// input: `Σ (log |det W|/d)²` over `linear(…)`, `conv1x1(…)`, `invertible_conv`, `actnorm` and their
/// kin, where a sample has d numbers.
///
/// Maximum likelihood makes the log-determinants of such blocks grow without need, those of early
/// blocks most, for others to shrink what they stretched ("Jacobian determinant of normalizing
/// flows", section 2 and figure 2). The penalty draws each to preserve volume. It depends on no data,
/// and costs no pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDeterminantPenalty;

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for LogDeterminantPenalty {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        of_weights(pass, pass.flow().flow().log_determinants_and_slopes()?)
    }
}

/// `ln b_F + ln b_G`, where b_F and b_G are the certified bounds everywhere of how much the flow and
/// its inverse can amplify a change: the products of those of its blocks, as
/// [`Flow::bilipschitz`](crate::Flow::bilipschitz) computes them on everything (Behrmann et al. 2021,
/// "Understanding and mitigating exploding inverses in invertible neural networks", table 3). The
/// condition number is at most its exponential, at every point.
///
/// The gradient is that of the bounds themselves, by Gram iteration; at weights where a bound has a
/// kink, that of one side. Where a bound of the architecture is the lower one, nothing pulls.
///
/// It needs a flow whose blocks all have a bound everywhere, with a derivative: linear maps,
/// `actnorm`, `standardize`, maps of one number, additive couplings and residual blocks with `mlp`,
/// `conv` or `resnet` (without attention), and blocks that keep distances. Affine and spline couplings
/// have no bound (theorem 2 there); `spline_activation` and `ode` have one without a derivative where
/// the weights' bound is below that of the architecture. In a multi-scale flow a part that is factored out counts as
/// if it went on through the later blocks.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::lipschitz::Region;
/// use flow_core::objective::{BoundPenalty, Likelihood, Objectives};
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Smooth: Vector<2> {
///         additive_coupling(net = mlp([8], tanh));
///         linear(lu);
///         additive_coupling(net = mlp([8], tanh));
///     }
/// }
///
/// let mut flow = Smooth::<f64>::build(&Cpu::default(), 0)?;
/// let data = Rows::from_rows((0..64).map(|i| [0.1 * f64::from(i), (0.2 * f64::from(i)).sin()]))?;
/// let objectives = Objectives::new().plus(1.0, Likelihood).plus(10.0, BoundPenalty);
/// Trainer::new(Adam::new(1e-2)).steps(50).silent().fit_objectives(&mut flow, &data, &objectives)?;
/// assert!(flow.bilipschitz(&Region::everything())?.bi_lipschitz() < 2.0);
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundPenalty;

impl<A: Architecture<E>, E: Scalar> Objective<A, E> for BoundPenalty {
    fn loss(&self, pass: &BatchPass<'_, A, E>) -> Result<Loss<E>> {
        of_weights(pass, pass.flow().flow().bound_and_slopes()?)
    }
}

/// A loss of the weights, from its value and its gradient by all of them.
fn of_weights<A: Architecture<E>, E: Scalar>(
    pass: &BatchPass<'_, A, E>,
    (value, gradient): (f64, Vec<E>),
) -> Result<Loss<E>> {
    let add = pass.flow().flow().adds_to_weights();
    scalar(E::of(value), OwnedTape::default(), move |gradients, by| {
        let mut gradient = gradient;
        gradient.iter_mut().for_each(|g| *g *= by);
        add(gradients, &gradient)
    })
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
