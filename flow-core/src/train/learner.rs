//! What is trained: a flow by its likelihood.

use std::ops::Range;

use dfdx::prelude::Cpu;

use super::evaluate::evaluate;
use super::Step;
use crate::engine::Watch;
use crate::{
    Architecture, Context, Entry, Event, Flow, FlowError, Memory, Result, Rows, Scalar, Values,
};

/// Parameters with a loss.
pub(super) trait Learner<E: Scalar> {
    /// What it is called in errors.
    fn name(&self) -> String;

    /// Names, shapes and places of parameters and buffers.
    fn entries(&self) -> &[Entry];

    /// The parameters as they are now.
    fn parameters(&self) -> &[E];

    /// A copy of parameters and buffers.
    fn values(&mut self) -> Result<Values<E>>;

    /// Replaces parameters, and buffers where they are not empty.
    fn set(&mut self, parameters: &[E], buffers: &[E]) -> Result<()>;

    /// The parts of the parameters that optimisers may change.
    fn trainable(&self) -> &[Range<usize>];

    /// An error where it is known before a run that the loss cannot take such rows.
    fn takes(&self, _: &Rows<E>) -> Result<()> {
        Ok(())
    }

    /// The mean loss of a batch in a step, and its gradient by all parameters.
    fn gradient(&mut self, batch: &Rows<E>, step: &Step, gradient: &mut Vec<E>) -> Result<f64>;

    /// What the guards of its flows saw, a flow each.
    fn watches(&self) -> impl Iterator<Item = &Watch>;

    /// Changes the parameters, and brings them back into their domain.
    fn step(&mut self, change: impl FnOnce(&mut [E], &[Range<usize>])) -> Result<()>;

    /// The mean loss of rows.
    fn loss(&mut self, rows: &Rows<E>) -> Result<f64>;

    /// Where the first number that is not finite appeared on this batch.
    fn origin(&self, batch: &Rows<E>, step: &Step) -> String;
}

/// An error where rows are not what the flow takes.
pub(crate) fn fits<A: Architecture<E>, E: Scalar>(rows: &Rows<E>) -> Result<()> {
    let (found, expected) = (rows.width(), A::Event::SHAPE.size());
    if found != expected {
        return Err(FlowError::Length { what: "a row of the data".into(), found, expected });
    }
    let (found, expected) = (rows.context_width(), A::Context::SIZE);
    if found == 0 && expected > 0 {
        return Err(FlowError::MissingContext { flow: A::NAME.into(), expected });
    }
    if found != expected {
        return Err(FlowError::Length { what: "a row of the context".into(), found, expected });
    }
    Ok(())
}

/// A flow, trained to make the data likely.
pub(super) struct Likelihood<'f, A: Architecture<E>, E: Scalar> {
    flow: &'f mut Flow<A, E, Cpu>,
    memory: Memory,
    trainable: Vec<Range<usize>>,
    x: Vec<E>,
}

impl<'f, A: Architecture<E>, E: Scalar> Likelihood<'f, A, E> {
    pub(super) fn new(flow: &'f mut Flow<A, E, Cpu>, memory: Memory) -> Self {
        let trainable = flow.trainable().to_vec();
        Self { flow, memory, trainable, x: Vec::new() }
    }
}

impl<A: Architecture<E>, E: Scalar> Learner<E> for Likelihood<'_, A, E> {
    fn name(&self) -> String {
        A::NAME.into()
    }

    fn entries(&self) -> &[Entry] {
        &self.flow.layout().entries
    }

    fn parameters(&self) -> &[E] {
        &self.flow.machine().state().values.parameters
    }

    fn values(&mut self) -> Result<Values<E>> {
        Ok(self.flow.machine().state().values.clone())
    }

    fn set(&mut self, parameters: &[E], buffers: &[E]) -> Result<()> {
        self.flow.machine_mut().change(|values| {
            values.parameters.copy_from_slice(parameters);
            if !buffers.is_empty() {
                values.buffers.copy_from_slice(buffers);
            }
            Ok(())
        })
    }

    fn trainable(&self) -> &[Range<usize>] {
        &self.trainable
    }

    fn takes(&self, rows: &Rows<E>) -> Result<()> {
        fits::<A, E>(rows)
    }

    fn gradient(&mut self, batch: &Rows<E>, step: &Step, gradient: &mut Vec<E>) -> Result<f64> {
        fits::<A, E>(batch)?;
        self.x.clear();
        self.x.extend_from_slice(batch.values());
        let machine = self.flow.machine().drawing(step.of_blocks().clone());
        machine.nll(self.memory, &mut self.x, batch.context_values(), gradient)
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        std::iter::once(&**self.flow.machine().watch())
    }

    fn step(&mut self, change: impl FnOnce(&mut [E], &[Range<usize>])) -> Result<()> {
        let trainable = &self.trainable;
        self.flow.machine_mut().step(|parameters| change(parameters, trainable))
    }

    fn loss(&mut self, rows: &Rows<E>) -> Result<f64> {
        evaluate(self.flow, rows).map(|found| -found.mean)
    }

    fn origin(&self, batch: &Rows<E>, step: &Step) -> String {
        let mut x = batch.values().to_vec();
        let machine = self.flow.machine().drawing(step.of_blocks().clone());
        match machine.first_non_finite(&mut x, batch.context_values()) {
            Some(path) => {
                format!("the first block with an output that is not finite is the one at {path}")
            }
            None => "every block's output is finite, so a row lies outside the support of the \
                     base, or a log-determinant or gradient overflows"
                .into(),
        }
    }
}
