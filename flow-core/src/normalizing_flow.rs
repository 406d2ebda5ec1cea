//! What flows and views share: passes, densities and samples.

use dfdx::prelude::{Cpu, Dim, HasShape, NoneTape, Tape, Tensor};
use num_traits::{Float, Zero};

use crate::engine::{ordered, read, tensor, Direction, JoinTape};
use crate::room::room_for_samples;
use crate::{Architecture, Event, Invertible, Noise, Result, Scalar, View};

/// A batch of what a flow models, for `N` rows and a tape `T`.
pub type Data<F, N, T = NoneTape> = Tensor<
    <<<F as NormalizingFlow>::Architecture as Architecture<<F as NormalizingFlow>::Scalar>>::Event as Event>::Batch<N>,
    <F as NormalizingFlow>::Scalar,
    Cpu,
    T,
>;

/// A batch of a flow's latents, for `N` rows and a tape `T`.
pub type Latents<F, N, T = NoneTape> = Tensor<
    <<<F as NormalizingFlow>::Architecture as Architecture<<F as NormalizingFlow>::Scalar>>::Latent as Event>::Batch<N>,
    <F as NormalizingFlow>::Scalar,
    Cpu,
    T,
>;

/// One number for each of `N` rows, with a tape `T`.
pub type Numbers<F, N, T = NoneTape> = Tensor<(N,), <F as NormalizingFlow>::Scalar, Cpu, T>;

/// The tape of an output: owned where the input's or the context's is.
pub type Joined<F, T> =
    <T as JoinTape<<F as NormalizingFlow>::Scalar, <F as NormalizingFlow>::Tape>>::Output;

/// What an unconditional flow and any [`View`] can do.
///
/// Batches are dfdx tensors whose first dimension, the rows, is dynamic (`usize`) or constant. Rows
/// that hold NaN or an infinity are an error that names the first. A flow with a forward-only block
/// (`planar`, `radial`, `sylvester`) is not [`Invertible`]: it has no inverse and no samples.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], relu));
///         affine_coupling(net = mlp([8], relu));
///     }
/// }
///
/// let cpu = Cpu::default();
/// let flow = Tiny::<f32>::build(&cpu, 0)?;
/// let x = cpu.tensor([[0.5, -1.0], [2.0, 0.0]]);
/// let (z, log_det) = flow.forward(x.clone())?;
/// let (back, _) = flow.inverse(z)?;
/// assert!((back - x).abs().max::<Rank0, _>().array() < 1e-5);
/// assert_eq!(log_det.shape(), &(Const::<2>,));
/// # Ok::<(), FlowError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a flow that can be asked as it stands",
    label = "its context is missing, if it is a flow that is declared `given` one",
    note = "a conditional flow is asked through a view: `flow.given(context).log_prob(x)`"
)]
pub trait NormalizingFlow {
    /// The numbers it computes with.
    type Scalar: Scalar;
    /// Its blocks.
    type Architecture: Architecture<Self::Scalar>;
    /// The tape of its context: [`NoneTape`] where there is none.
    type Tape: Tape<Self::Scalar, Cpu>;

    /// The flow with all choices of the next pass. The tape of a context can be taken once.
    ///
    /// # Errors
    /// [`FlowError::TapeUsed`](crate::FlowError::TapeUsed) where an owned tape was taken before.
    fn view(&self) -> Result<View<'_, Self::Architecture, Self::Scalar, Self::Tape>>;

    /// Data to latents: `(z, log |det ∂z/∂x|)`.
    ///
    /// The latents carry the tape. A loss of the log-determinant alone must use them too (or
    /// [`log_prob`](Self::log_prob)): otherwise its backward pass fails with
    /// [`FlowError::TapeDropped`](crate::FlowError::TapeDropped) in
    /// [`Flow::last_error`](crate::Flow::last_error).
    ///
    /// # Errors
    /// Non-finite or no rows, a context of another length, a block that is not initialised.
    fn forward<N: Dim, T: JoinTape<Self::Scalar, Self::Tape>>(
        &self,
        x: Data<Self, N, T>,
    ) -> Result<(Latents<Self, N, Joined<Self, T>>, Numbers<Self, N, Joined<Self, T>>)> {
        let view = self.view()?;
        let (x, tape) = ordered(x)?;
        let tape = tape.join(view.take_tape());
        view.operator()?.map::<EventOf<Self>, LatentOf<Self>, N, _>(Direction::Forward, x, tape)
    }

    /// Latents to data: `(x, log |det ∂x/∂z|)`. The data carry the tape.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn inverse<N: Dim, T: JoinTape<Self::Scalar, Self::Tape>>(
        &self,
        z: Latents<Self, N, T>,
    ) -> Result<(Data<Self, N, Joined<Self, T>>, Numbers<Self, N, Joined<Self, T>>)>
    where
        Self::Architecture: Invertible,
    {
        let () = View::<Self::Architecture, Self::Scalar, Self::Tape>::HAS_INVERSE;
        let view = self.view()?;
        let (z, tape) = ordered(z)?;
        let tape = tape.join(view.take_tape());
        view.operator()?.map::<LatentOf<Self>, EventOf<Self>, N, _>(Direction::Inverse, z, tape)
    }

    /// As [`inverse`](Self::inverse), without a tape, and with a certified radius for each row:
    /// `(x, log |det ∂x/∂z|, radius)`, where the inverse in exact arithmetic lies within `radius` of
    /// `x` in the Euclidean norm.
    ///
    /// The radius starts at 0 for the latents as they stand. A block that inverts by an iteration
    /// adds what it proved of its own answer, every block multiplies what arrives by the
    /// architectural Lipschitz constant of its inverse ([`Facts::inverse`](crate::Facts::inverse)):
    /// so the radius is 0 where all blocks invert in closed form, and infinite where an inexact
    /// block is followed by one without such a constant, or has none itself. It tells nothing of
    /// the rounding of closed forms and of nets, nor of the log-determinant.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::prelude::*;
    ///
    /// flow! { struct Tiny: Vector<2> { residual(lipschitz = 0.5, net = mlp([8], tanh)); } }
    ///
    /// let cpu = Cpu::default();
    /// let flow = Tiny::<f64>::build(&cpu, 0)?;
    /// let (_, _, radius) = flow.inverse_with_radius(cpu.tensor([[0.5, -1.0]]))?;
    /// assert!(radius.array()[0] < 1e-13);
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`inverse`](Self::inverse).
    fn inverse_with_radius<N: Dim>(
        &self,
        z: Latents<Self, N>,
    ) -> Result<(Data<Self, N>, Numbers<Self, N>, Numbers<Self, N>)>
    where
        Self::Architecture: Invertible,
    {
        let view = self.view()?;
        let rows = LatentOf::<Self>::rows(z.shape());
        let mut x = read::<_, Self::Scalar>(z, "batch", LatentOf::<Self>::SHAPE.size())?;
        let mut radius = vec![0.0; rows.size()];
        let log_det = view.push(&mut x, &mut radius, true)?;
        // Rounding to the flow's own type must not make a radius smaller.
        let up = |r: f64| Self::Scalar::of(r * (1.0 + Self::Scalar::epsilon().as_f64()));
        let radius = radius.into_iter().map(up).collect();
        let x = tensor(x, EventOf::<Self>::batch(rows))?;
        Ok((x, tensor(log_det, (rows,))?, tensor(radius, (rows,))?))
    }

    /// `log p(x)` of each row in nats; −∞ outside the support.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn log_prob<N: Dim, T: JoinTape<Self::Scalar, Self::Tape>>(
        &self,
        x: Data<Self, N, T>,
    ) -> Result<Numbers<Self, N, Joined<Self, T>>> {
        let view = self.view()?;
        let (x, tape) = ordered(x)?;
        let tape = tape.join(view.take_tape());
        view.operator()?.log_prob(x, tape)
    }

    /// `rows` samples of the base distribution, at the view's temperature.
    ///
    /// # Errors
    /// Where `rows` is 0, or more than fit in memory.
    fn latents(&self, rows: usize, noise: &mut Noise) -> Result<Latents<Self, usize>> {
        let view = self.view()?;
        let z = view.draw(rows, noise, None)?;
        tensor(z, LatentOf::<Self>::batch(rows))
    }

    /// `rows` samples of the flow. Equal seeds give equal samples, on any number of threads.
    ///
    /// # Errors
    /// Where `rows` is 0 or more than fit in memory, or as [`inverse`](Self::inverse).
    fn sample(&self, rows: usize, noise: &mut Noise) -> Result<Data<Self, usize>>
    where
        Self::Architecture: Invertible,
    {
        let view = self.view()?;
        let mut z = view.draw(rows, noise, None)?;
        view.push(&mut z, &mut [], false)?;
        tensor(z, EventOf::<Self>::batch(rows))
    }

    /// `rows` samples and their log-probabilities under the flow (at temperature 1).
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    fn sample_with_log_prob(
        &self,
        rows: usize,
        noise: &mut Noise,
    ) -> Result<(Data<Self, usize>, Numbers<Self, usize>)>
    where
        Self::Architecture: Invertible,
    {
        let view = self.view()?;
        let mut log_prob = vec![Self::Scalar::zero(); room_for_samples::<Self::Scalar>(rows, 1)?];
        let mut z = view.draw(rows, noise, Some(&mut log_prob))?;
        let log_det = view.push(&mut z, &mut [], true)?;
        log_prob.iter_mut().zip(log_det).for_each(|(p, l)| *p -= l);
        Ok((tensor(z, EventOf::<Self>::batch(rows))?, tensor(log_prob, (rows,))?))
    }
}

pub(crate) type EventOf<F> =
    <<F as NormalizingFlow>::Architecture as Architecture<<F as NormalizingFlow>::Scalar>>::Event;
pub(crate) type LatentOf<F> =
    <<F as NormalizingFlow>::Architecture as Architecture<<F as NormalizingFlow>::Scalar>>::Latent;

#[cfg(test)]
mod tests {
    use dfdx::prelude::Cpu;

    use crate::prelude::*;

    flow! { struct Shifted: Vector<2> { linear(diagonal); } }

    #[test]
    fn samples_that_no_memory_holds_are_an_error() {
        let flow = Shifted::<f64>::build(&Cpu::default(), 0).unwrap();
        for rows in [usize::MAX, usize::MAX / 2 + 2, 1 << 60] {
            let noise = &mut Noise::seed(0);
            let error = flow.sample(rows, noise).unwrap_err();
            let start = format!("the number of samples is {rows}, expected so few");
            assert!(error.to_string().starts_with(&start), "{error}");
            assert!(flow.sample_with_log_prob(rows, noise).is_err());
        }
    }
}
