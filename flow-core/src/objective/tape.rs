//! The few operations on dfdx's tape that objectives are made of.

use dfdx::prelude::{
    Cpu, Gradients, HasErr, HasShape, Merge, OwnedTape, PutTape, Rank0, Shape, Tape, Tensor,
    TensorFromVec,
};

use crate::engine::{adds_to, ordered};
use crate::{Result, Scalar};

/// A loss with its tape.
pub type Loss<E> = Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>;

type Taped<S, E> = Tensor<S, E, Cpu, OwnedTape<E, Cpu>>;

/// A number whose gradient `backward` carries on.
pub(super) fn scalar<E: Scalar>(
    value: E,
    mut tape: OwnedTape<E, Cpu>,
    backward: impl FnOnce(&mut Gradients<E, Cpu>, E) -> Result<(), <Cpu as HasErr>::Err> + 'static,
) -> Result<Loss<E>> {
    let loss: Tensor<Rank0, E, Cpu> = Cpu::default().try_tensor_from_vec(vec![value], ())?;
    let by_loss = loss.ghost();
    tape.add_backward_op(move |gradients| {
        let by = E::slice(gradients.get_or_alloc_mut(&by_loss)?)[0];
        backward(gradients, by)
    });
    Ok(loss.put_tape(tape))
}

/// `Σ weight·term`.
pub(super) fn weighted<E: Scalar>(terms: Vec<(f64, Loss<E>)>) -> Result<Loss<E>> {
    let (mut value, mut tape) = (E::zero(), OwnedTape::default());
    let mut parts = Vec::with_capacity(terms.len());
    for (weight, term) in terms {
        let (numbers, its) = numbers(term)?;
        value += E::of(weight) * numbers.values[0];
        tape = tape.merge(its);
        parts.push((E::of(weight), numbers.add));
    }
    scalar(value, tape, move |gradients, by| {
        parts.iter().try_for_each(|(weight, add)| add(gradients, &[*weight * by]))
    })
}

/// The mean of the numbers, times a factor.
pub(super) fn mean<S: Shape, E: Scalar>(x: Taped<S, E>, factor: f64) -> Result<Loss<E>> {
    let (x, tape) = numbers(x)?;
    let factor = E::of(factor / x.values.len() as f64);
    let sum = x.values.iter().copied().sum::<E>();
    scalar(factor * sum, tape, move |gradients, by| {
        (x.add)(gradients, &vec![factor * by; x.values.len()])
    })
}

/// `factor·Σ (a − b)²`, number by number in the order of their shapes.
pub(super) fn squared_distance<S: Shape, Other: Shape, E: Scalar>(
    a: Taped<S, E>,
    b: Taped<Other, E>,
    factor: f64,
) -> Result<Loss<E>> {
    let ((a, tape), (b, other)) = (numbers(a)?, numbers(b)?);
    let (mut apart, factor) = (a.values, E::of(factor));
    apart.iter_mut().zip(&b.values).for_each(|(a, &b)| *a -= b);
    let sum = apart.iter().map(|&v| v * v).sum::<E>();
    scalar(factor * sum, tape.merge(other), move |gradients, by| {
        let slope = E::of(2.0) * factor * by;
        apart.iter_mut().for_each(|v| *v *= slope);
        (a.add)(gradients, &apart)?;
        apart.iter_mut().for_each(|v| *v = -*v);
        (b.add)(gradients, &apart)
    })
}

/// `x + by`.
pub(super) fn shifted<S: Shape, E: Scalar>(x: Taped<S, E>, by: &[E]) -> Result<Taped<S, E>> {
    let shape = *x.shape();
    let (Numbers { mut values, add }, mut tape) = numbers(x)?;
    values.iter_mut().zip(by).for_each(|(v, &by)| *v += by);
    let moved = Cpu::default().try_tensor_from_vec(values, shape)?;
    let by_moved = moved.ghost();
    tape.add_backward_op(move |gradients| {
        let by = E::slice(gradients.get_or_alloc_mut(&by_moved)?).to_vec();
        add(gradients, &by)
    });
    Ok(moved.put_tape(tape))
}

/// What an operation needs of an input.
struct Numbers<E: Scalar> {
    values: Vec<E>,
    add: crate::engine::AddGradient<E>,
}

fn numbers<S: Shape, E: Scalar>(x: Taped<S, E>) -> Result<(Numbers<E>, OwnedTape<E, Cpu>)> {
    let (x, tape) = ordered(x)?;
    let mut values = vec![E::zero(); x.shape().num_elements()];
    x.copy_into(&mut values);
    Ok((Numbers { values, add: adds_to(&x) }, tape))
}
