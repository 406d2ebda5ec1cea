//! Vectors that make traces out of products with a matrix.

use std::ops::Range;

use crate::engine::{Pass, Scratch};
use crate::Scalar;

/// How the trace of a Jacobian is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The sum of all diagonal entries: as many products with the Jacobian as a sample has numbers.
    Exact,
    /// `vᵀJv` with one random v of independent signs for each row: one product, unbiased, with the
    /// variance `Σ_{i<j} (J_ij + J_ji)²` (Hutchinson 1989, "A stochastic estimator of the trace of
    /// the influence matrix").
    Hutchinson,
}

/// Numbers of one kind that are worked on at once: all rows' probes come in chunks so small.
const CHUNK: usize = 1 << 16;

/// How many vectors of `size` numbers each of `rows` rows has in one chunk.
pub(super) fn per_chunk(rows: usize, size: usize) -> usize {
    (CHUNK / (rows * size).max(1)).clamp(1, size)
}

impl Trace {
    /// The vectors v of which `Σ v vᵀ` is the identity, or is so in the mean, as ranges that fit in
    /// a chunk.
    pub(super) fn chunks(self, rows: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
        let (count, each) = match self {
            Self::Exact => (size, per_chunk(rows, size)),
            Self::Hutchinson => (1, 1),
        };
        (0..count).step_by(each).map(move |start| start..count.min(start + each))
    }

    /// One chunk of vectors, `rows × count × size` numbers.
    pub(super) fn probes<E: Scalar>(
        self,
        pass: &mut Pass<'_, E>,
        size: usize,
        chunk: Range<usize>,
    ) -> Scratch<E> {
        match self {
            Self::Exact => basis(pass, size, chunk),
            Self::Hutchinson => {
                let mut probes = pass.take(pass.rows() * size);
                for (row, probe) in probes.chunks_exact_mut(size).enumerate() {
                    let noise = pass.noise(row).named("probe");
                    for (block, signs) in probe.chunks_mut(128).enumerate() {
                        let words = noise.words(block as u64);
                        for (i, sign) in signs.iter_mut().enumerate() {
                            let bit = words[i / 32] >> (i % 32) & 1;
                            *sign = if bit == 0 { E::one() } else { -E::one() };
                        }
                    }
                }
                probes
            }
        }
    }
}

/// The unit vectors of that range for each row.
pub(super) fn basis<E: Scalar>(
    pass: &mut Pass<'_, E>,
    size: usize,
    chunk: Range<usize>,
) -> Scratch<E> {
    let mut vectors = pass.take_zeroed(pass.rows() * chunk.len() * size);
    for row in vectors.chunks_exact_mut(chunk.len() * size) {
        row.chunks_exact_mut(size).zip(chunk.clone()).for_each(|(vector, i)| vector[i] = E::one());
    }
    vectors
}

/// `Σ a·b` of each row is added to `sums`, times `factor(row)`.
pub(super) fn add_products<E: Scalar>(
    sums: &mut [E],
    a: &[E],
    b: &[E],
    factor: impl Fn(usize) -> Option<E>,
) {
    let width = a.len() / sums.len();
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    for (row, (sum, (a, b))) in sums.iter_mut().zip(rows).enumerate() {
        if let Some(factor) = factor(row) {
            *sum += factor * a.iter().zip(b).map(|(&a, &b)| a * b).sum::<E>();
        }
    }
}

/// Multiplies the numbers of each row by its own factor.
pub(super) fn scale_rows<E: Scalar>(numbers: &mut [E], factors: &[E]) {
    let width = numbers.len() / factors.len();
    for (row, &factor) in numbers.chunks_exact_mut(width).zip(factors) {
        row.iter_mut().for_each(|v| *v *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Builder, Gradients, Workspace};

    #[test]
    fn probes_are_signs_that_differ_from_row_to_row() {
        let (_, state) = Builder::<f64>::new(0).finish();
        let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
        let mut pass = Pass::new(3, &state, &[], &mut workspace, &mut none);
        let probes = Trace::Hutchinson.probes(&mut pass, 300, 0..1);
        assert!(probes.iter().all(|v| v.abs() == 1.0));
        let sum = probes.iter().sum::<f64>();
        assert!(sum.abs() < 4.0 * 30.0, "{sum} of 900 signs");
        assert!(probes[..300] != probes[300..600] && probes[..128] != probes[128..256]);
        assert_eq!(*Trace::Hutchinson.probes(&mut pass, 300, 0..1), *probes);
    }

    #[test]
    fn chunks_hold_every_unit_vector_once() {
        for (rows, size) in [(1, 1), (1, 3072), (40, 3072), (62, 64), (7, 5)] {
            let all: Vec<usize> = Trace::Exact.chunks(rows, size).flatten().collect();
            assert_eq!(all, (0..size).collect::<Vec<_>>());
            assert!(Trace::Exact
                .chunks(rows, size)
                .all(|c| c.len() * rows * size <= CHUNK.max(rows * size)));
        }
        assert_eq!(Trace::Hutchinson.chunks(5, 9).flatten().collect::<Vec<_>>(), [0]);
    }
}
