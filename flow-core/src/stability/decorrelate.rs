//! An objective that leaves a flow free to become unstable.

use dfdx::prelude::{Cpu, HasShape, PutTape, Rank0, Shape, Tape, Tensor, TensorFromVec};

use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{adds_to, ordered};
use crate::{FlowError, Result, Scalar};

/// The Frobenius norm of the off-diagonal correlations of a batch of latents (Behrmann et al. 2019,
/// "On the invertibility of invertible neural networks", equations 4 and 5 and appendix G).
///
/// Each number of a latent is brought to mean 0 and standard deviation 1 over the rows, the first
/// dimension; an image counts as the vector of its numbers. Correlations do not depend on scale, so
/// stable and unstable flows can both be optimal: the objective shows which one a block is drawn to.
///
/// A number that is the same on every row correlates with none and gets no gradient; nor does
/// anything where the loss is 0.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability::decorrelate;
///
/// flow! { struct Mix: Vector<2> { linear(lu); } }
///
/// let mut flow = Mix::<f64>::build(&Cpu::default(), 0)?;
/// let data = Rows::from_rows((0..64).map(|i| {
///     let (a, b) = Noise::seed(1).normal_pair(i);
///     [a, 2.0 * a + b]
/// }))?;
/// let trainer = Trainer::new(Adam::new(0.05)).batch_size(64).steps(200).silent();
/// let history = trainer.fit_with(&mut flow, &data, |flow, batch, gradients| {
///     let (z, _) = flow.forward(batch.x::<Vector<2>>()?.trace(gradients))?;
///     decorrelate(z)
/// })?;
/// assert!(history.records.last().unwrap().loss < 0.1);
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Fewer than two rows.
pub fn decorrelate<S: Shape, E: Scalar, T: Tape<E, Cpu>>(
    latents: Tensor<S, E, Cpu, T>,
) -> Result<Tensor<Rank0, E, Cpu, T>> {
    let (z, mut tape) = ordered(latents)?;
    let dimensions = z.shape().concrete();
    let rows = dimensions.into_iter().next().unwrap_or(0);
    if rows < 2 {
        return Err(FlowError::option("the number of latents to decorrelate", rows, "at least 2"));
    }
    let mut numbers = vec![E::zero(); z.shape().num_elements()];
    z.copy_into(&mut numbers);
    let (value, gradient) = loss(numbers, rows, T::OWNS_TAPE);
    let loss: Tensor<Rank0, E, Cpu> = Cpu::default().try_tensor_from_vec(vec![value], ())?;
    if T::OWNS_TAPE {
        let (add, by_loss) = (adds_to(&z), loss.ghost());
        tape.add_backward_op(move |gradients| {
            let factor = E::slice(gradients.get_or_alloc_mut(&by_loss)?)[0];
            let part: Vec<E> = gradient.iter().map(|&g| factor * g).collect();
            add(gradients, &part)
        });
    }
    Ok(loss.put_tape(tape))
}

/// The loss and, where wanted, its gradient by each number.
fn loss<E: Scalar>(mut z: Vec<E>, rows: usize, wanted: bool) -> (E, Vec<E>) {
    let width = z.len() / rows;
    let (count, fewer) = (E::of(rows as f64), E::of(rows as f64 - 1.0));
    let each = |z: &[E], add: &mut dyn FnMut(usize, E)| {
        z.chunks_exact(width).for_each(|row| row.iter().enumerate().for_each(|(j, &v)| add(j, v)));
    };

    let mut mean = vec![E::zero(); width];
    each(&z, &mut |j, v| mean[j] += v / count);
    z.chunks_exact_mut(width).for_each(|row| row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= *m));
    let mut variance = vec![E::zero(); width];
    each(&z, &mut |j, v| variance[j] += v * v / fewer);
    let deviation: Vec<E> = variance.iter().map(|v| v.sqrt()).collect();
    let scale = |j: usize| deviation[j] + E::of(TINY);
    for row in z.chunks_exact_mut(width) {
        row.iter_mut().enumerate().for_each(|(j, v)| *v /= scale(j));
    }

    let standard = Matrix::new(&z, rows, width);
    let mut off = vec![E::zero(); width * width];
    multiply(&mut off, Into::Replace, standard.t(), standard);
    off.iter_mut().for_each(|v| *v /= fewer);
    (0..width).for_each(|j| off[j * width + j] = E::zero());
    let value = off.iter().map(|v| *v * *v).sum::<E>().sqrt();
    if !wanted || value == E::zero() {
        return (value, vec![E::zero(); if wanted { z.len() } else { 0 }]);
    }

    // By the standardised numbers: 2·Y·C/(L·(n − 1)), C being symmetric.
    let mut gradient = vec![E::zero(); z.len()];
    multiply(&mut gradient, Into::Replace, standard, Matrix::new(&off, width, width));
    let factor = E::of(2.0) / (value * fewer);
    gradient.iter_mut().for_each(|v| *v *= factor);
    // Through the deviation, and through the mean.
    let mut along = vec![E::zero(); width];
    for (g, y) in gradient.chunks_exact(width).zip(z.chunks_exact(width)) {
        (0..width).for_each(|j| along[j] += g[j] * y[j]);
    }
    let mut sum = vec![E::zero(); width];
    for (g, y) in gradient.chunks_exact_mut(width).zip(z.chunks_exact(width)) {
        for j in 0..width {
            if deviation[j] == E::zero() {
                g[j] = E::zero();
                continue;
            }
            let centred = y[j] * scale(j);
            g[j] = (g[j] - centred * along[j] / (deviation[j] * fewer)) / scale(j);
            sum[j] += g[j];
        }
    }
    for g in gradient.chunks_exact_mut(width) {
        (0..width).for_each(|j| g[j] -= sum[j] / count);
    }
    (value, gradient)
}

/// Added to each deviation, as in the paper's listing.
const TINY: f64 = 1e-8;

#[cfg(test)]
mod tests {
    use dfdx::prelude::*;

    use super::{decorrelate, loss, TINY};
    use crate::testing::normal;

    fn random(rows: usize, width: usize) -> Vec<f64> {
        let mut z = normal(rows * width, 8);
        for row in z.chunks_exact_mut(width) {
            for j in 1..width {
                row[j] += 0.7 * row[j - 1] + 3.0 * j as f64;
            }
        }
        z
    }

    /// The paper's listing in operations of dfdx.
    fn oracle<const N: usize, const D: usize>(z: &[f64]) -> (f64, Vec<f64>) {
        let cpu = Cpu::default();
        let z: Tensor<Rank2<N, D>, f64, _> = cpu.tensor_from_vec(z.to_vec(), (Const, Const));
        let x = z.leaky_trace();
        let mean = x.with_empty_tape().mean::<Rank1<D>, Axis<0>>();
        let centred = x - mean.broadcast::<Rank2<N, D>, _>();
        let squares = centred.with_empty_tape().square().sum::<Rank1<D>, Axis<0>>();
        let scale = (squares / (N as f64 - 1.0)).sqrt() + TINY;
        let y = centred / scale.broadcast::<Rank2<N, D>, _>();
        // A tensor of its own: dfdx multiplies none by itself.
        let transposed = (y.with_empty_tape() * 1.0).permute::<Rank2<D, N>, _>();
        let correlation = transposed.matmul(y) / (N as f64 - 1.0);
        let mut mask = vec![1.0; D * D];
        (0..D).for_each(|j| mask[j * D + j] = 0.0);
        let mask: Tensor<Rank2<D, D>, f64, _> = cpu.tensor_from_vec(mask, (Const, Const));
        let loss = (correlation * mask).square().sum::<Rank0, _>().sqrt();
        (loss.array(), loss.backward().get(&z).as_vec())
    }

    fn ours(z: &[f64], rows: usize) -> (f64, Vec<f64>) {
        let cpu = Cpu::default();
        let shape = (rows, z.len() / rows);
        let z: Tensor<(usize, usize), f64, _> = cpu.tensor_from_vec(z.to_vec(), shape);
        // A factor on the loss must reach the gradient.
        let loss = decorrelate(z.leaky_trace()).unwrap() * 3.0;
        (loss.array() / 3.0, loss.backward().get(&z).as_vec().iter().map(|g| g / 3.0).collect())
    }

    fn compare<const N: usize, const D: usize>() {
        let z = random(N, D);
        let ((value, gradient), (want, wanted)) = (ours(&z, N), oracle::<N, D>(&z));
        assert!((value - want).abs() < 1e-12 * want, "{value} for {want}");
        for (g, w) in gradient.iter().zip(&wanted) {
            assert!((g - w).abs() < 1e-11, "{N} × {D}: {g} for {w}");
        }
    }

    #[test]
    fn value_and_gradient_are_those_of_the_papers_listing() {
        compare::<3, 2>();
        compare::<7, 3>();
        compare::<40, 5>();
        compare::<5, 9>();
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let z = random(6, 3);
        let (_, gradient) = ours(&z, 6);
        for i in 0..z.len() {
            let at = |step: f64| {
                let mut z = z.clone();
                z[i] += step;
                loss(z, 6, false).0
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - gradient[i]).abs() < 1e-8, "{numeric} for {}", gradient[i]);
        }
    }

    #[test]
    fn what_cannot_be_decorrelated_gets_no_gradient() {
        // A constant number beside two that correlate; a single number; nothing but constants; two
        // that do not correlate.
        let mut z = random(8, 3);
        z.chunks_exact_mut(3).for_each(|row| row[1] = 4.0);
        let (value, gradient) = ours(&z, 8);
        assert!(value > 0.1 && gradient.iter().all(|g| g.is_finite()));
        assert!(gradient.chunks_exact(3).all(|row| row[1] == 0.0));
        assert_eq!(ours(&random(5, 1), 5), (0.0, vec![0.0; 5]));
        let crossed = [1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
        let (value, gradient) = ours(&crossed, 4);
        assert!(value < 1e-15 && gradient.iter().all(|g| g.is_finite()));
        assert_eq!(ours(&[3.0; 8], 4), (0.0, vec![0.0; 8]));
    }

    #[test]
    fn images_are_vectors_of_their_numbers_and_one_row_is_too_few() {
        let cpu = Cpu::default();
        let z = random(4, 6);
        let image: Tensor<Rank4<4, 1, 2, 3>, f64, _> =
            cpu.tensor_from_vec(z.clone(), Default::default());
        assert_eq!(decorrelate(image).unwrap().array(), loss(z, 4, false).0);
        let one: Tensor<Rank2<1, 2>, f32, _> = cpu.zeros();
        let error = decorrelate(one).unwrap_err().to_string();
        assert_eq!(error, "the number of latents to decorrelate is 1, expected at least 2");
    }
}
