//! Views of a flow, and its first batch.

use dfdx::prelude::{Const, Cpu, Dim, Tape, Tensor};

use super::Flow;
use crate::engine::{read, split, Given};
use crate::train::{fits, Rows};
use crate::{Architecture, Context, Event, FlowError, Memory, Noise, Result, Scalar, Vector, View};

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

    /// [`initialize`](Self::initialize) on rows as a [`Trainer`](crate::Trainer) takes them, with
    /// their context where the flow is given one.
    ///
    /// ```
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Scaled: Vector<2> given Vector<1> {
    ///         standardize;
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// let rows = Rows::from_rows([[1.0, 20.0], [3.0, 60.0]])?.given(vec![0.0, 1.0], 1)?;
    /// let mut flow = Scaled::<f32>::build(&Cpu::default(), 0)?;
    /// flow.initialize_on(&rows)?;
    /// let mean = flow.buffers().find(|buffer| buffer.name == "0.mean").expect("a mean");
    /// assert_eq!(mean.values, [2.0, 40.0]);
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// No rows, or rows or contexts of another width than the flow's.
    pub fn initialize_on(&mut self, rows: &Rows<E>) -> Result<()> {
        if rows.is_empty() {
            return Err(FlowError::EmptyBatch { what: "data".into() });
        }
        fits::<A, E>(rows)?;
        let x = rows.values().to_vec();
        let context = rows.context_values();
        let (rows, width) = (context.to_vec().into(), rows.context_width());
        self.initialize_from(x, &Given { rows, width, gradient: None })
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

#[cfg(test)]
mod tests {
    use dfdx::prelude::{TensorFrom, TensorFromVec};

    use super::*;
    use crate::prelude::*;

    flow! {
        struct Steered: Vector<2> given Vector<1> {
            affine_coupling(net = mlp([4], tanh, zero_init = false));
            affine_coupling(net = mlp([4], tanh, zero_init = false));
            actnorm;
        }
        struct Free: Vector<2> { actnorm; }
    }

    #[test]
    fn rows_initialize_as_their_tensors_do() {
        let cpu = Cpu::default();
        let (x, context) = (vec![0.5, -1.0, 2.0, 0.25, 1.5, 3.0], vec![0.1, 0.7, -0.4]);
        let rows = Rows::new(x.clone(), 2).unwrap().given(context.clone(), 1).unwrap();
        let [mut a, mut b] = [0; 2].map(|seed| Steered::<f64>::build(&cpu, seed).unwrap());
        a.initialize_on(&rows).unwrap();
        let context = cpu.tensor_from_vec(context, (3, Const::<1>));
        b.initialize_given(cpu.tensor_from_vec(x.clone(), (3, Const::<2>)), context).unwrap();
        for (a, b) in a.parameters().zip(b.parameters()) {
            assert_eq!(a.values, b.values, "{}", a.name);
        }
        let start = Steered::<f64>::build(&cpu, 0).unwrap();
        assert!(a.parameters().zip(start.parameters()).any(|(a, b)| a.values != b.values));
    }

    #[test]
    fn rows_that_do_not_fit_initialize_nothing() {
        let mut flow = Free::<f32>::build(&Cpu::default(), 0).unwrap();
        let pairs = || Rows::new(vec![1.0_f32, 2.0, 3.0, 4.0], 2).unwrap();
        for (rows, want) in [
            (Rows::new(vec![1.0; 3], 3).unwrap(), "a row of the data has 3 numbers, expected 2"),
            (
                pairs().given(vec![1.0], 1).unwrap(),
                "a row of the context has 1 numbers, expected 0",
            ),
            (Rows::default(), "the data has no rows"),
        ] {
            let error = flow.initialize_on(&rows).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
        let mut steered = Steered::<f32>::build(&Cpu::default(), 0).unwrap();
        let error = steered.initialize_on(&pairs()).unwrap_err().to_string();
        assert!(error.contains("given a context of 1 numbers a row"), "{error}");
        let first = Cpu::default().tensor([[1.0, 2.0], [3.0, 4.0]]);
        assert!(flow.log_prob(first.clone()).is_err());
        flow.initialize_on(&pairs()).unwrap();
        assert!(flow.log_prob(first).is_ok());
    }
}
