//! Vector-Jacobian products of residual blocks.

use super::super::contraction::Contraction;
use super::super::expansion::Expansion;
use super::{Complaint, Residual};
use crate::backend::cpu::elementwise::add;
use crate::engine::Pass;
use crate::nets::{Differentiable, Linearization};
use crate::{Result, Scalar};

/// Of which direction it is the product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Inverse,
}

impl<N> Residual<N> {
    /// The product of either direction: of what the pass has kept, or of the point where it was.
    pub(super) fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        direction: Direction,
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        if Expansion::<E>::fits(self.determinant, pass.rows(), self.field.size()) {
            return self.product_of_expansion(pass, direction, gradient, log_det);
        }
        let x = pass.restore();
        self.in_parts(pass, |pass, rows| {
            let at = self.numbers(&rows);
            let (gradient, log_det) = (&mut gradient[at.clone()], &log_det[rows]);
            self.product_of_part(pass, direction, &x[at], gradient, log_det)
        })?;
        pass.give(x);
        Ok(())
    }

    fn product_of_part<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        direction: Direction,
        x: &[E],
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let (field, determinant) = (&self.field, self.determinant);
        let mut output = pass.take(x.len());
        let at = field.linearize(pass, x, &[], &mut output, true)?;
        let inverses = determinant.inverses(field, pass, &at);
        let inverses_of = inverses.as_deref();
        let mut by_x = pass.take(x.len());
        if direction == Direction::Forward {
            determinant.gradient(field, pass, &at, inverses_of, log_det, gradient, &mut by_x);
            add(gradient, &by_x);
        } else {
            // x is a function of z and the weights w by x + g(x, w) = z: with h the gradient by x,
            // through the output and its log-determinant, λ = (I + J)⁻ᵀ h is that by z, and
            // −λᵀ ∂g/∂w is added to that by the weights.
            let mut scale = pass.take_copy(log_det);
            scale.iter_mut().for_each(|v| *v = -*v);
            output.fill(E::zero());
            determinant.gradient(field, pass, &at, inverses_of, &scale, &output, &mut by_x);
            add(gradient, &by_x);
            pass.give(scale);
            self.solve_transposed(pass, &at, inverses_of, gradient)?;
            output.iter_mut().zip(&*gradient).for_each(|(v, &by)| *v = -by);
            field.vjp(pass, x, &[], &mut output, &mut by_x)?;
        }
        if let Some(inverses) = inverses {
            pass.give(inverses);
        }
        pass.give(by_x);
        pass.give(output);
        at.release(pass);
        Ok(())
    }

    /// [`product`](Self::product) with what the pass has kept.
    fn product_of_expansion<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        direction: Direction,
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let (field, mut expansion, x) = (&self.field, Expansion::restore(pass), pass.restore());
        expansion.invert(pass, field.size());
        let mut by_x = pass.take(x.len());
        if direction == Direction::Forward {
            let unread = expansion.gradient(field, pass, log_det, gradient, &mut by_x);
            add(gradient, &by_x);
            pass.give(unread);
        } else {
            // As in `product_of_part`.
            let mut scale = pass.take_copy(log_det);
            scale.iter_mut().for_each(|v| *v = -*v);
            let mut by_output = pass.take_zeroed(x.len());
            let inverses = expansion.gradient(field, pass, &scale, &by_output, &mut by_x);
            add(gradient, &by_x);
            times_transposed(pass, &inverses, gradient, field.size());
            by_output.iter_mut().zip(&*gradient).for_each(|(v, &by)| *v = -by);
            field.vjp(pass, &x, &[], &mut by_output, &mut by_x)?;
            [scale, by_output, inverses].into_iter().for_each(|buffer| pass.give(buffer));
        }
        pass.give(by_x);
        pass.give(x);
        Ok(())
    }

    /// `(I + J)⁻ᵀ` times each row.
    fn solve_transposed<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        inverses: Option<&[E]>,
        rows: &mut [E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let d = self.field.size();
        if let Some(inverses) = inverses {
            times_transposed(pass, inverses, rows, d);
            return Ok(());
        }
        let linear = Contraction { tolerance: 0.0, unit: 0.0, ..self.contraction };
        let pull = |pass: &mut Pass<'_, E>, v: &[E], out: &mut [E]| {
            self.field.pull(pass, at, v, out);
            Ok(())
        };
        let said = self.complaint(Complaint::GRADIENT);
        linear
            .solve(pass, rows, false, pull, |_, _, _| ())?
            .map_err(|stuck| said.error(pass.number(stuck.row), stuck))
    }
}

/// `Mᵀ` times each row, with a matrix for each.
fn times_transposed<E: Scalar>(pass: &mut Pass<'_, E>, matrices: &[E], rows: &mut [E], d: usize) {
    let mut sum = pass.take(d);
    for (row, matrix) in rows.chunks_exact_mut(d).zip(matrices.chunks_exact(d * d)) {
        sum.fill(E::zero());
        for (&h, line) in row.iter().zip(matrix.chunks_exact(d)) {
            sum.iter_mut().zip(line).for_each(|(sum, &v)| *sum += h * v);
        }
        row.copy_from_slice(&sum);
    }
    pass.give(sum);
}
