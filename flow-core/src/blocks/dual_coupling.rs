use super::{Coupling, Split};
use crate::engine::{Builder, Pass, Setup, State, Values};
use crate::lipschitz::{Amplification, Probe};
use crate::nets::{Conditioner, LastLayer};
use crate::transforms::Transform;
use crate::{Block, Facts, Result, Scalar, Shape};

/// Two couplings that together transform every feature: with x₁ the features 0..h, h = ⌊d/2⌋, and x₂
/// the rest, `y₁ = f(x₁; x₂)`, then `y₂ = f(x₂; y₁)` (paper "Jacobian determinant of normalizing
/// flows", equation 14; `GLOWCouplingBlock` of FrEIA).
///
/// Parameters stand under `first.`, whose net reads x₂, and `second.`, whose net reads y₁; each is a
/// [`Coupling`], and the log-determinant is the sum of both.
#[derive(Clone, Debug)]
pub struct DualCoupling<M, N, T> {
    first: Coupling<M, T>,
    second: Coupling<N, T>,
}

impl<M, N, T: Transform + Clone> DualCoupling<M, N, T> {
    /// Two couplings whose nets `first` and `second` make, as in [`Coupling::new`].
    ///
    /// # Errors
    /// As [`Coupling::new`]: there must be two features.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        transform: T,
        first: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<M>,
        second: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self>
    where
        M: Conditioner<E>,
        N: Conditioner<E>,
    {
        let again = transform.clone();
        Ok(Self {
            first: builder.block("first", |b| {
                Coupling::new(b, shape, context, Split::Second, transform, first)
            })?,
            second: builder.block("second", |b| {
                Coupling::new(b, shape, context, Split::First, again, second)
            })?,
        })
    }
}

impl<E, M, N, T> Block<E> for DualCoupling<M, N, T>
where
    E: Scalar,
    M: Conditioner<E>,
    N: Conditioner<E>,
    T: Transform,
{
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.forward(&self.first, x, log_det)?;
        pass.forward(&self.second, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.inverse(&self.second, z, log_det)?;
        pass.inverse(&self.first, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        pass.forward_vjp(&self.second, gradient, log_det)?;
        pass.forward_vjp(&self.first, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        pass.inverse_vjp(&self.first, gradient, log_det)?;
        pass.inverse_vjp(&self.second, gradient, log_det)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.first.prepare(values, derived)?;
        self.second.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.first.finish(state, derived_gradient, gradient)?;
        self.second.finish(state, derived_gradient, gradient)
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        setup.initialize(&self.first, x)?;
        setup.initialize(&self.second, x)
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if probe.backwards() {
            let second = probe.visit(&self.second)?;
            return Ok(second.then(probe.visit(&self.first)?));
        }
        let first = probe.visit(&self.first)?;
        Ok(first.then(probe.visit(&self.second)?))
    }

    fn facts(&self) -> Facts {
        Block::<E>::facts(&self.first).then(Block::<E>::facts(&self.second))
    }
}
