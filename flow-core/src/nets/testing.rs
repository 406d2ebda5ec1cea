//! Runs a net by itself, for unit tests.

use super::Conditioner;
use crate::engine::{Gradients, Pass, State, Workspace};
use crate::{Memory, Scalar};

/// The net's output on some rows.
pub(crate) fn evaluate<E: Scalar>(
    net: &impl Conditioner<E>,
    state: &State<E>,
    rows: usize,
    input: &[E],
) -> Vec<E> {
    let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
    let mut pass = Pass::new(rows, state, &[], &mut workspace, &mut none);
    let mut output = vec![E::nan(); rows * net.outputs()];
    net.forward(&mut pass, input, &mut output).unwrap();
    output
}

/// The gradients of `Σ output · cotangent` by the input and by the parameters.
pub(crate) fn product<E: Scalar>(
    net: &impl Conditioner<E>,
    state: &State<E>,
    rows: usize,
    input: &[E],
    cotangent: &[E],
) -> (Vec<E>, Vec<E>) {
    let mut workspace = Workspace::default();
    let mut gradients = Gradients::zeros(state, 0);
    let mut pass =
        Pass::new(rows, state, &[], &mut workspace, &mut gradients).keeping(Memory::Stored);
    let mut output = vec![E::nan(); rows * net.outputs()];
    net.forward(&mut pass, input, &mut output).unwrap();
    let mut by_input = vec![E::nan(); input.len()];
    net.vjp(&mut pass, &mut cotangent.to_vec(), &mut by_input).unwrap();
    let (by_parameters, derived) = gradients.whole();
    net.finish(state, derived, by_parameters).unwrap();
    (by_input, by_parameters.clone())
}
