//! A net's value with its whole Jacobian, where that is small.

use super::determinant::Determinant;
use super::field::Field;
use super::probe::{basis, scale_rows};
use super::square::{invert, log_abs_det};
use crate::engine::{Pass, Scratch};
use crate::nets::{Differentiable, Linearization, Pushed};
use crate::{Result, Scalar};

/// Samples of more numbers would keep so many times a net's activations.
const WIDEST: usize = 8;

/// A net at each row's point with `I + J` there, by pushing all unit vectors: what log-determinants
/// are made of, and their gradients too: a product that restores it evaluates nothing again, where
/// one that knows the point alone needs the net, its Jacobian, and the pushed vectors.
pub(super) struct Expansion<E> {
    at: Linearization<E>,
    tangents: Pushed<E>,
    /// `I + J` of each row, row-major, or its inverse.
    matrices: Scratch<E>,
}

impl<E: Scalar> Expansion<E> {
    /// Whether a block with that determinant works with it.
    pub(super) fn fits(determinant: Determinant, rows: usize, size: usize) -> bool {
        let whole = determinant == Determinant::Exact && size <= WIDEST;
        whole && determinant.rows_at_once(rows, size) >= rows
    }

    /// At x, where `output` becomes the net's value.
    pub(super) fn new<N: Differentiable<E>>(
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        x: &[E],
        output: &mut [E],
    ) -> Result<Self> {
        let d = field.size();
        let at = field.linearize(pass, x, &[], output, true)?;
        let units = basis(pass, d, 0..d);
        let mut columns = pass.take(units.len());
        let tangents = field.push_keeping(pass, &at, &units, &mut columns);
        let mut matrices = units;
        let each = matrices.chunks_exact_mut(d * d).zip(columns.chunks_exact(d * d));
        for (matrix, columns) in each {
            for (k, column) in columns.chunks_exact(d).enumerate() {
                let entries = matrix[k..].iter_mut().step_by(d);
                entries.zip(column).for_each(|(v, &by)| *v = by);
                matrix[k * d + k] += E::one();
            }
        }
        pass.give(columns);
        Ok(Self { at, tangents, matrices })
    }

    /// Adds `sign·log det(I + J)` of each row.
    pub(super) fn add_log_dets(&self, pass: &mut Pass<'_, E>, sign: f64, log_det: &mut [E]) {
        let each = self.matrices.len() / pass.rows();
        let d = each.isqrt();
        let mut matrices = pass.take_copy(&self.matrices);
        for (matrix, number) in matrices.chunks_exact_mut(each).zip(log_det) {
            *number += E::of(sign) * log_abs_det(matrix, d);
        }
        pass.give(matrices);
    }

    /// Inverts `I + J` of each row, which the gradient asks for.
    pub(super) fn invert(&mut self, pass: &mut Pass<'_, E>, d: usize) {
        let mut order = pass.take(d);
        self.matrices.chunks_exact_mut(d * d).for_each(|matrix| {
            invert(matrix, d, &mut order);
        });
        pass.give(order);
    }

    /// The gradient of `⟨by_output, field(x)⟩ + Σ scale·log det(I + J)` of what was inverted, as
    /// [`Field::gradient`]. Returns the inverses.
    pub(super) fn gradient<N: Differentiable<E>>(
        self,
        field: &Field<N>,
        pass: &mut Pass<'_, E>,
        scale: &[E],
        by_output: &[E],
        by_x: &mut [E],
    ) -> Scratch<E> {
        // tr((I + J)⁻¹ dJ) = Σ_k ⟨row k of (I + J)⁻¹, dJ·e_k⟩.
        let mut cotangents = pass.take_copy(&self.matrices);
        scale_rows(&mut cotangents, scale);
        field.gradient(pass, &self.at, self.tangents, by_output, &cotangents, by_x);
        pass.give(cotangents);
        self.at.release(pass);
        self.matrices
    }

    /// Keeps it for the product.
    pub(super) fn save(self, pass: &mut Pass<'_, E>) {
        self.at.save(pass);
        self.tangents.save(pass);
        pass.save(self.matrices);
    }

    /// What was saved last.
    pub(super) fn restore(pass: &mut Pass<'_, E>) -> Self {
        let matrices = pass.restore();
        let tangents = Pushed::restore(pass);
        Self { at: Linearization::restore(pass), tangents, matrices }
    }
}
