//! A flow's passes on plain rows, where a row that fails does not stop the others.

use rayon::prelude::*;

use super::svd;
use crate::engine::{Direction, Machine};
use crate::{
    Architecture, Context, Event, FlowError, Invertible, Memory, NormalizingFlow, Result, Rows,
    Scalar, View,
};

/// Numbers in one batch, so that the activations of images fit in memory.
const BATCH_NUMBERS: usize = 1 << 18;
const BATCH_ROWS: usize = 4096;

/// Numbers in the Jacobians of one batch.
const JACOBIAN_NUMBERS: usize = 1 << 22;

/// A flow and the contexts of the rows under study.
pub(super) struct Probe<A: Architecture<E>, E: Scalar> {
    machine: Machine<A, E>,
    /// One context for each row under study; nothing where the flow is unconditional.
    context: Vec<E>,
    rows: usize,
    memory: Memory,
}

/// What a batch was sent to. A row that a block refused, or that was not finite before, is NaN.
pub(super) struct Sent<E> {
    pub(super) values: Vec<E>,
    pub(super) log_det: Vec<E>,
    /// The first error of a block, and at which of the rows.
    pub(super) failure: Option<(usize, FlowError)>,
}

/// The probe of a flow or view for these rows, which must be of its width, in both directions.
pub(super) fn probe<F>(
    flow: &F,
    data: &Rows<F::Scalar>,
) -> Result<Probe<F::Architecture, F::Scalar>>
where
    F: NormalizingFlow + ?Sized,
    F::Architecture: Invertible,
{
    let () = View::<F::Architecture, F::Scalar, F::Tape>::HAS_INVERSE;
    forward_probe(flow, data)
}

/// As [`probe`], of a flow that may have no inverse, so that it may only be sent forward.
pub(super) fn forward_probe<F>(
    flow: &F,
    data: &Rows<F::Scalar>,
) -> Result<Probe<F::Architecture, F::Scalar>>
where
    F: NormalizingFlow + ?Sized,
{
    let expected = <F::Architecture as Architecture<F::Scalar>>::Event::SHAPE.size();
    if data.width() != expected {
        return Err(FlowError::Length { what: "a row".into(), found: data.width(), expected });
    }
    if data.context_width() != 0 {
        return Err(FlowError::option(
            "the context of the rows",
            format_args!("{} numbers a row", data.context_width()),
            "none\nhelp: give it to the flow: flow.given(context)",
        ));
    }
    let view = flow.view()?;
    let memory = match <F::Architecture as Architecture<F::Scalar>>::Event::SHAPE.sides() {
        // The hidden layers of images are many times the size of a sample.
        Some(_) => Memory::Recomputed,
        None => Memory::Stored,
    };
    let (context, rows) = (view.context(data.len())?, data.len());
    Ok(Probe { machine: view.machine(), context, rows, memory })
}

impl<A: Architecture<E>, E: Scalar> Probe<A, E> {
    /// The same flow and contexts in `f64`.
    pub(super) fn widened(&self) -> Result<Probe<A::Double, f64>> {
        let machine = self.machine.widened()?;
        let context = widened(&self.context);
        Ok(Probe { machine, context, rows: self.rows, memory: self.memory })
    }

    /// Numbers a row.
    pub(super) fn size(&self) -> usize {
        A::Event::SHAPE.size()
    }

    pub(super) fn machine(&self) -> &Machine<A, E> {
        &self.machine
    }

    /// How many rows of Jacobians fit in one batch.
    pub(super) fn batch(&self) -> usize {
        (BATCH_NUMBERS / self.size()).clamp(16, BATCH_ROWS)
    }

    /// The contexts of some of the rows under study.
    pub(super) fn contexts(&self, of: &[usize]) -> Vec<E> {
        let width = A::Context::SIZE;
        let rows = of.iter().map(|i| i % self.rows * width);
        rows.flat_map(|from| &self.context[from..from + width]).copied().collect()
    }

    /// Sends rows through the flow. `of` says whose context each row has.
    pub(super) fn send(&self, direction: Direction, x: &[E], of: &[usize]) -> Result<Sent<E>> {
        let size = self.size();
        let mut sent = Sent {
            values: vec![E::nan(); x.len()],
            log_det: vec![E::nan(); of.len()],
            failure: None,
        };
        let finite: Vec<usize> = (0..of.len())
            .filter(|i| x[i * size..(i + 1) * size].iter().all(|v| v.is_finite()))
            .collect();
        for part in finite.chunks(self.batch()) {
            self.send_some(direction, x, of, part, &mut sent)?;
        }
        Ok(sent)
    }

    /// Sends the rows `some` of a batch, by halves where a block refuses one of them.
    fn send_some(
        &self,
        direction: Direction,
        x: &[E],
        of: &[usize],
        some: &[usize],
        sent: &mut Sent<E>,
    ) -> Result<()> {
        let size = self.size();
        let mut batch: Vec<E> =
            some.iter().flat_map(|i| &x[i * size..(i + 1) * size]).copied().collect();
        let whose: Vec<usize> = some.iter().map(|&i| of[i]).collect();
        match self.machine.run(direction, &mut batch, &self.contexts(&whose), None) {
            Ok((log_det, _)) => {
                for ((&i, row), log_det) in some.iter().zip(batch.chunks_exact(size)).zip(log_det) {
                    sent.values[i * size..(i + 1) * size].copy_from_slice(row);
                    sent.log_det[i] = log_det;
                }
                Ok(())
            }
            Err(FlowError::Block { .. }) if some.len() > 1 => {
                let (left, right) = some.split_at(some.len() / 2);
                self.send_some(direction, x, of, left, sent)?;
                self.send_some(direction, x, of, right, sent)
            }
            Err(error @ FlowError::Block { .. }) => {
                sent.failure.get_or_insert((some[0], error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The products of each row's cotangent with the Jacobian there, in place of the cotangents.
    /// A row that a block refuses becomes NaN.
    pub(super) fn vjp(
        &self,
        direction: Direction,
        x: &[E],
        cotangents: &mut [E],
        of: &[usize],
    ) -> Result<()> {
        let size = self.size();
        let count = self.batch();
        let parts = x.chunks(count * size).zip(cotangents.chunks_mut(count * size));
        for ((x, cotangents), of) in parts.zip(of.chunks(count)) {
            self.vjp_of_batch(direction, x, cotangents, of)?;
        }
        Ok(())
    }

    fn vjp_of_batch(
        &self,
        direction: Direction,
        x: &[E],
        cotangents: &mut [E],
        of: &[usize],
    ) -> Result<()> {
        let (size, context) = (self.size(), self.contexts(of));
        let numbers = vec![E::zero(); of.len()];
        let mut out = cotangents.to_vec();
        let ran = self
            .machine
            .run(direction, &mut x.to_vec(), &context, Some(self.memory))
            .and_then(|(_, kept)| {
                let Some(kept) = kept else { return Ok(()) };
                self.machine.vjp_by_input(direction, kept, &mut out, &numbers, &context)
            });
        match ran {
            Ok(()) => {
                cotangents.copy_from_slice(&out);
                Ok(())
            }
            Err(FlowError::Block { .. }) if of.len() > 1 => {
                let half = of.len() / 2;
                let (left, right) = cotangents.split_at_mut(half * size);
                self.vjp_of_batch(direction, &x[..half * size], left, &of[..half])?;
                self.vjp_of_batch(direction, &x[half * size..], right, &of[half..])
            }
            Err(FlowError::Block { .. }) => {
                cotangents.fill(E::nan());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with every row's Jacobian, row-major and in `f64`, and gathers what it returns.
    /// Jacobians of rows that are not finite, or that a block refuses, hold NaN.
    pub(super) fn jacobians<R: Send>(
        &self,
        direction: Direction,
        x: &[E],
        of: &[usize],
        each: impl Fn(&mut [f64]) -> R + Sync + Send,
    ) -> Result<Vec<R>> {
        let size = self.size();
        let together = (JACOBIAN_NUMBERS / (size * size)).clamp(1, self.batch());
        let mut results = Vec::with_capacity(of.len());
        for (x, of) in x.chunks(together * size).zip(of.chunks(together)) {
            let mut jacobians = vec![f64::NAN; of.len() * size * size];
            let finite: Vec<usize> = (0..of.len())
                .filter(|i| x[i * size..(i + 1) * size].iter().all(|v| v.is_finite()))
                .collect();
            self.jacobians_of_some(direction, x, of, &finite, &mut jacobians)?;
            results.par_extend(jacobians.par_chunks_exact_mut(size * size).map(&each));
        }
        Ok(results)
    }

    /// The Jacobians of the rows `some` of a batch, by halves where a block refuses one of them.
    fn jacobians_of_some(
        &self,
        direction: Direction,
        x: &[E],
        of: &[usize],
        some: &[usize],
        jacobians: &mut [f64],
    ) -> Result<()> {
        let size = self.size();
        let points: Vec<E> =
            some.iter().flat_map(|i| &x[i * size..(i + 1) * size]).copied().collect();
        let whose: Vec<usize> = some.iter().map(|&i| of[i]).collect();
        match self.machine.jacobians(direction, &points, &self.contexts(&whose), self.memory) {
            Ok(found) => {
                for (&i, jacobian) in some.iter().zip(found.chunks_exact(size * size)) {
                    jacobians[i * size * size..][..size * size].copy_from_slice(jacobian);
                }
                Ok(())
            }
            Err(FlowError::Block { .. }) if some.len() > 1 => {
                let (left, right) = some.split_at(some.len() / 2);
                self.jacobians_of_some(direction, x, of, left, jacobians)?;
                self.jacobians_of_some(direction, x, of, right, jacobians)
            }
            Err(FlowError::Block { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The same numbers in `f64`.
pub(super) fn widened<E: Scalar>(numbers: &[E]) -> Vec<f64> {
    numbers.iter().map(|v| v.as_f64()).collect()
}

/// The distance of each row to its counterpart; NaN where a number of either is not finite.
pub(super) fn distances<E: Scalar>(a: &[E], b: &[E], size: usize) -> Vec<f64> {
    let rows = a.par_chunks_exact(size).zip(b.par_chunks_exact(size));
    rows.map(|(a, b)| {
        let off: Vec<f64> = a.iter().zip(b).map(|(a, b)| a.as_f64() - b.as_f64()).collect();
        match svd::norm(&off) {
            distance if distance.is_finite() => distance,
            _ => f64::NAN,
        }
    })
    .collect()
}
