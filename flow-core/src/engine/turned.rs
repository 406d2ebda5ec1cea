//! Matrices that are also kept transposed.
//!
//! A net multiplies rows with the transpose of each weight, group by group and pass by pass. The
//! matrix product would transpose it again each time; here it is done once for each change of the
//! weights.

use std::ops::Range;

use flow_kernels::transpose;
use rayon::prelude::*;

use super::layout::{Derived, Parameter};
use super::state::{State, Values};
use crate::Scalar;

/// A matrix that is also kept transposed, and where the transpose lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    source: Source,
    sizes: [usize; 2],
    taps: usize,
    range: Range<usize>,
}

/// Where a matrix lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Parameter(Parameter),
    Derived(Derived),
}

impl Source {
    /// Its numbers.
    pub(crate) fn of<'a, E>(&self, values: &'a Values<E>, derived: &'a [E]) -> &'a [E] {
        match self {
            Self::Parameter(slot) => values.parameter(slot),
            Self::Derived(slot) => slot.of(derived),
        }
    }
}

impl Turned {
    /// A matrix of `rows` times `taps · columns` numbers, whose transpose starts at `start`. Taps
    /// change sides, the last first: `[rows, taps, columns]` becomes `[columns, taps, rows]`.
    pub(crate) fn new(source: Source, [rows, taps, columns]: [usize; 3], start: usize) -> Self {
        let range = start..start + rows * taps * columns;
        Self { source, sizes: [rows, columns], taps, range }
    }

    /// Writes the transpose of the matrix.
    pub(crate) fn write<E: Scalar>(&self, matrix: &[E], to: &mut [E]) {
        let (taps, [rows, columns]) = (self.taps, self.sizes);
        for tap in 0..taps {
            let (from, to) = (&matrix[tap * columns..], &mut to[(taps - 1 - tap) * rows..]);
            transpose(to, from, [taps * rows, taps * columns], self.sizes);
        }
    }

    /// Where the transpose ends.
    pub(crate) fn end(&self) -> usize {
        self.range.end
    }

    /// The transpose; nothing where the state has none that belongs to its weights.
    pub(crate) fn of<'a, E>(&self, state: &'a State<E>) -> Option<&'a [E]> {
        state.turned.get(self.range.clone())
    }
}

/// Transposes all of them, which lie one after the other.
pub(crate) fn turn<E: Scalar>(all: &[Turned], state: &mut State<E>) {
    let State { values, derived, turned, .. } = state;
    turned.resize(all.last().map_or(0, Turned::end), E::zero());
    let (mut jobs, mut left) = (Vec::with_capacity(all.len()), &mut turned[..]);
    for matrix in all {
        let (to, rest) = left.split_at_mut(matrix.range.len());
        jobs.push((matrix, to));
        left = rest;
    }
    jobs.into_par_iter().for_each(|(matrix, to)| {
        matrix.write(matrix.source.of(values, derived), to);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Coupling, Split};
    use crate::engine::{Builder, Machine, Start};
    use crate::nets::{Activation, FeedForward, NetOptions};
    use crate::testing::{single, Make};
    use crate::transforms::Affine;
    use crate::{Result, Shape};

    #[test]
    fn each_transpose_lies_in_its_place() {
        let mut builder = Builder::<f64>::new(0);
        let start = |k: f64| Start::Values((0..6).map(|i| k + f64::from(i)).collect());
        let one = builder.parameter("one", &[2, 3], start(0.0));
        let two = builder.parameter("two", &[3, 2], start(10.0));
        let one = builder.turned(Source::Parameter(one), [2, 1, 3]);
        let two = builder.turned(Source::Parameter(two), [1, 3, 2]);
        let (layout, mut state) = builder.finish();
        assert_eq!(one.of(&state), None);
        turn(&layout.turned, &mut state);
        assert_eq!(one.of(&state).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(two.of(&state).unwrap(), [14.0, 12.0, 10.0, 15.0, 13.0, 11.0]);
    }

    struct Wide;

    impl Make<20, 0> for Wide {
        type Block = Coupling<FeedForward, Affine>;

        fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
            let transform = Affine::new(crate::transforms::Scale::Exp);
            Coupling::new(b, Shape::vector(20), 0, Split::First, transform, |b, i, o, last| {
                let options = NetOptions { lipschitz: Some(2.0), ..NetOptions::default() };
                FeedForward::mlp(b, i, o, last, &[9, 8], Activation::Tanh, options)
            })
        }
    }

    #[test]
    fn transposes_follow_the_weights() {
        let mut machine = single::<Wide, 20, 0>();
        let follows = |machine: &Machine<_, f64>, what: &str| {
            let mut fresh = machine.state().clone();
            fresh.turned.clear();
            turn(&machine.layout().turned, &mut fresh);
            assert_eq!(fresh.turned.len(), 10 * 9 + 9 * 8 + 8 * 20);
            assert_eq!(machine.state().turned, fresh.turned, "{what}");
        };
        follows(&machine, "as built");
        let change = |numbers: &mut [f64]| numbers.iter_mut().for_each(|v| *v = 0.5 * *v + 0.1);
        machine.step(change).unwrap();
        follows(&machine, "after a step");
        let changed = machine.change(|values| {
            change(&mut values.parameters);
            Ok(())
        });
        changed.unwrap();
        follows(&machine, "after a change");
        let failed = machine.change(|values| {
            change(&mut values.parameters);
            Err::<(), _>(crate::FlowError::EmptyBatch { what: "a change that fails".into() })
        });
        assert!(failed.is_err());
        follows(&machine, "after a change that failed");
    }
}
