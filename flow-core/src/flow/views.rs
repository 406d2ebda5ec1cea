//! Views of a flow, and its first batch.

use dfdx::prelude::{Const, Cpu, Dim, Tape, Tensor};

use super::Flow;
use crate::engine::{read, split, Given};
use crate::{Architecture, Context, Event, Memory, Noise, Result, Scalar, Vector, View};

impl<A: Architecture<E>, E: Scalar> Flow<A, E, Cpu> {
    /// A view conditioned on a context: one row for all, or one for each row of data. A context
    /// with a tape gets gradients; one without rows, or with NaN or an infinity, is an error of the
    /// view's passes.
    pub fn given<const C: usize, M: Dim, T: Tape<E, Cpu>>(
        &self,
        context: Tensor<(M, Const<C>), E, Cpu, T>,
    ) -> View<'_, A, E, T>
    where
        A: Architecture<E, Context = Vector<C>>,
    {
        View::new(self).given(context)
    }

    /// A view whose passes keep what `memory` says for their gradients.
    pub fn memory(&self, memory: Memory) -> View<'_, A, E> {
        View::new(self).memory(memory)
    }

    /// A view whose blocks draw the random numbers they need from `noise`.
    pub fn noise(&self, noise: &mut Noise) -> View<'_, A, E> {
        View::new(self).noise(noise)
    }

    /// A view whose samples spread `temperature` times as far in the base distribution.
    pub fn temperature(&self, temperature: f64) -> View<'_, A, E> {
        View::new(self).temperature(temperature)
    }

    /// Sets data-dependent parameters (`standardize`, `actnorm`) from a first batch: each block
    /// from its own input.
    ///
    /// # Errors
    /// A batch without rows, or with NaN or an infinity; a conditional flow, which wants
    /// [`initialize_given`](Self::initialize_given).
    pub fn initialize<N: Dim, T>(
        &mut self,
        x: Tensor<<A::Event as Event>::Batch<N>, E, Cpu, T>,
    ) -> Result<()> {
        let x = read(split(x).0, "batch", A::Event::SHAPE.size())?;
        self.initialize_from(x, &Given::none())
    }

    /// [`initialize`](Self::initialize) of a conditional flow.
    ///
    /// # Errors
    /// As [`initialize`](Self::initialize), or a context of another number of rows.
    pub fn initialize_given<const C: usize, N: Dim, M: Dim, T>(
        &mut self,
        x: Tensor<<A::Event as Event>::Batch<N>, E, Cpu, T>,
        context: Tensor<(M, Const<C>), E, Cpu>,
    ) -> Result<()>
    where
        A: Architecture<E, Context = Vector<C>>,
    {
        let x = read(split(x).0, "batch", A::Event::SHAPE.size())?;
        let rows = read(context, "context", C)?;
        self.initialize_from(x, &Given { rows: rows.into(), width: C, gradient: None })
    }

    pub(crate) fn initialize_from(&mut self, mut x: Vec<E>, given: &Given<E>) -> Result<()> {
        let rows = x.len() / A::Event::SHAPE.size();
        let context = given.spread(A::NAME, A::Context::SIZE, rows)?;
        self.machine.initialize(&mut x, &context, rows)?;
        self.show();
        Ok(())
    }
}
