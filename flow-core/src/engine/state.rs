//! The numbers of a flow.

use super::layout::{Buffer, Parameter};

/// Parameters and buffers, each one flat vector under the flow's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Values<E> {
    /// What is trained.
    pub parameters: Vec<E>,
    /// What is saved but not trained.
    pub buffers: Vec<E>,
}

impl<E> Values<E> {
    /// A parameter's numbers.
    pub fn parameter(&self, slot: &Parameter) -> &[E] {
        slot.of(&self.parameters)
    }

    /// A parameter's numbers, to write.
    pub fn parameter_mut(&mut self, slot: &Parameter) -> &mut [E] {
        slot.of_mut(&mut self.parameters)
    }

    /// A buffer's numbers.
    pub fn buffer(&self, slot: &Buffer) -> &[E] {
        slot.of(&self.buffers)
    }

    /// A buffer's numbers, to write.
    pub fn buffer_mut(&mut self, slot: &Buffer) -> &mut [E] {
        slot.of_mut(&mut self.buffers)
    }
}

/// Parameters and buffers, with what the blocks derived from them.
#[derive(Clone, Debug, PartialEq)]
pub struct State<E> {
    /// Parameters and buffers.
    pub values: Values<E>,
    /// What [`Block::prepare`](crate::Block::prepare) computed from them.
    pub derived: Vec<E>,
    /// The transposes of weights, or nothing where they may not be those of the values.
    pub(crate) turned: Vec<E>,
    /// Unique for each content within the process: it changes with the weights.
    pub version: u64,
}
