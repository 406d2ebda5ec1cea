//! The choices of a pass, and the functions that flows and views share.

use std::cell::Cell;

use dfdx::prelude::{Const, Cpu, Dim, HasShape, NoneTape, Tape, Tensor};

use crate::architecture::invertible;
use crate::engine::{
    adds_to, check, ordered, read, tensor, Direction, Given, JoinTape, Machine, Operator,
};
use crate::room::room_for_samples;
use crate::{
    Architecture, Context, Event, Flow, FlowError, Invertible, Memory, Noise, Result, Rows, Scalar,
    Vector,
};

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
    /// [`FlowError::TapeUsed`] where an owned tape was taken before.
    fn view(&self) -> Result<View<'_, Self::Architecture, Self::Scalar, Self::Tape>>;

    /// Data to latents: `(z, log |det ∂z/∂x|)`.
    ///
    /// The latents carry the tape. A loss of the log-determinant alone must use them too (or
    /// [`log_prob`](Self::log_prob)): otherwise its backward pass fails with
    /// [`FlowError::TapeDropped`] in [`Flow::last_error`].
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

use num_traits::{Float, Zero};

/// A flow with the choices of its next passes: made by [`Flow::given`], [`Flow::memory`] and
/// [`Flow::temperature`], which can be chained in any order.
pub struct View<'f, A: Architecture<E>, E: Scalar, T = NoneTape> {
    flow: &'f Flow<A, E, Cpu>,
    /// What was given, or why it cannot be.
    given: Result<Given<E>>,
    tape: Cell<Option<T>>,
    memory: Memory,
    temperature: f64,
    noise: Option<Noise>,
}

impl<'f, A: Architecture<E>, E: Scalar> View<'f, A, E> {
    pub(crate) fn new(flow: &'f Flow<A, E, Cpu>) -> Self {
        Self {
            flow,
            given: Ok(Given::none()),
            tape: Cell::new(Some(NoneTape)),
            memory: Memory::default(),
            temperature: 1.0,
            noise: None,
        }
    }

    /// A view conditioned on the context of rows, which draws from `noise`.
    pub(crate) fn of_rows(flow: &'f Flow<A, E, Cpu>, rows: &Rows<E>, noise: &Noise) -> Self {
        let given = Given {
            rows: rows.context_values().to_vec().into(),
            width: rows.context_width(),
            gradient: None,
        };
        Self { given: Ok(given), noise: Some(noise.clone()), ..Self::new(flow) }
    }

    /// Conditions on a context: one row for all, or one for each row of data.
    ///
    /// A context with a tape gets gradients. One without rows, or with NaN or an infinity, is an
    /// error of the view's passes.
    pub fn given<const C: usize, M: Dim, T: Tape<E, Cpu>>(
        self,
        context: Tensor<(M, Const<C>), E, Cpu, T>,
    ) -> View<'f, A, E, T>
    where
        A: Architecture<E, Context = Vector<C>>,
    {
        let mut tape = None;
        let given = ordered(context).and_then(|(context, its)| {
            tape = Some(its);
            let gradient = T::OWNS_TAPE.then(|| adds_to(&context));
            let rows = crate::engine::read(context, "context", C)?.into();
            Ok(Given { rows, width: C, gradient })
        });
        let Self { flow, memory, temperature, noise, .. } = self;
        View { flow, given, tape: Cell::new(tape), memory, temperature, noise }
    }
}

impl<'f, A: Architecture<E>, E: Scalar, T: Tape<E, Cpu>> View<'f, A, E, T> {
    /// Chooses what passes keep for their gradients.
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Scales the spread of the base distribution in samples: below 1 they gather around its mode.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Draws the random numbers that blocks need from `noise`. Without, they are fixed, so that a
    /// density is the same each time.
    pub fn noise(mut self, noise: &mut Noise) -> Self {
        self.noise = Some(noise.split());
        self
    }

    /// The flow that it is a view of.
    pub(crate) fn flow(&self) -> &Flow<A, E, Cpu> {
        self.flow
    }

    /// The view with its context and where that one's gradients go, and the tape that leads there.
    pub(crate) fn apart(self) -> (View<'f, A, E>, T) {
        let tape = self.take_tape();
        let Self { flow, given, memory, temperature, noise, .. } = self;
        let tapeless = Cell::new(Some(NoneTape));
        (View { flow, given, tape: tapeless, memory, temperature, noise }, tape)
    }

    fn take_tape(&self) -> T {
        self.tape.take().unwrap_or_default()
    }

    fn operator(&self) -> Result<Operator<'_, A, E>> {
        let given = self.given.as_ref().map_err(FlowError::clone)?;
        Ok(self.flow.operator(given, self.memory, self.noise.clone()))
    }

    /// `log p(x)` of each row from its latent and log-determinant, whose tapes must lead back to
    /// one forward pass.
    pub(crate) fn log_prob_of_latents<N: Dim, Its: Tape<E, Cpu> + 'static>(
        &self,
        z: Tensor<<A::Latent as Event>::Batch<N>, E, Cpu, Its>,
        log_det: Tensor<(N,), E, Cpu, Its>,
    ) -> Result<Tensor<(N,), E, Cpu, Its>> {
        self.operator()?.log_prob_of_latents(z, log_det)
    }

    /// The context of each of `rows` rows.
    pub(crate) fn context(&self, rows: usize) -> Result<Vec<E>> {
        let given = self.given.as_ref().map_err(FlowError::clone)?;
        given.spread(A::NAME, A::Context::SIZE, rows)
    }

    /// The flow's blocks and weights, which draw from the view's noise.
    pub(crate) fn machine(&self) -> Machine<A, E> {
        let machine = self.flow.machine();
        match &self.noise {
            Some(noise) => machine.drawing(noise.clone()),
            None => machine.clone(),
        }
    }

    /// Whether optimisers would change the base distribution.
    pub(crate) fn trains_base(&self) -> bool {
        self.flow.parameters().any(|p| !p.frozen && p.name.starts_with("base."))
    }

    /// Samples of the base distribution; their log-probabilities are added to `log_prob`.
    pub(crate) fn draw(
        &self,
        rows: usize,
        noise: &mut Noise,
        log_prob: Option<&mut [E]>,
    ) -> Result<Vec<E>> {
        room_for_samples::<E>(rows, A::Latent::SHAPE.size())?;
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(FlowError::option(
                "temperature",
                self.temperature,
                "a finite number of at least 0",
            ));
        }
        let stream = noise.split();
        Ok(self.flow.machine().sample_base(rows, &stream, self.temperature, log_prob))
    }

    /// A flow inside this one may have a forward-only block where the marker cannot see it.
    pub(crate) const HAS_INVERSE: () = assert!(
        invertible(A::ITEMS),
        "a flow inside this one has a forward-only block (`planar`, `radial` or `sylvester`), so there is no inverse and there are no samples"
    );

    /// Latents to data in place: each row's log-determinant and its radius, where they are asked for.
    fn push(&self, z: &mut [E], radius: &mut [f64], log_det: bool) -> Result<Vec<E>>
    where
        A: Invertible,
    {
        let () = Self::HAS_INVERSE;
        let rows = z.len() / A::Latent::SHAPE.size();
        let context = self.context(rows)?;
        let machine = self.operator()?.machine;
        Ok(machine.run_measured(Direction::Inverse, z, &context, None, radius, log_det)?.0)
    }

    /// Each row's log-probability on plain buffers: `x` holds rows of the event's size, an image by
    /// channels, rows and columns.
    ///
    /// # Errors
    /// As [`NormalizingFlow::log_prob`], and where `x` is not whole rows.
    pub fn log_prob_of_rows(&self, x: &[E]) -> Result<Vec<E>> {
        let size = A::Event::SHAPE.size();
        check(x, "batch", size)?;
        if !x.len().is_multiple_of(size) {
            let expected = x.len().next_multiple_of(size);
            return Err(FlowError::Length { what: "the batch".into(), found: x.len(), expected });
        }
        let context = self.context(x.len() / size)?;
        let mut x = x.to_vec();
        let machine = self.operator()?.machine;
        Ok(machine.run(Direction::LogProb, &mut x, &context, None)?.0)
    }
}

impl<A: Architecture<E>, E: Scalar, T: Tape<E, Cpu>> NormalizingFlow for View<'_, A, E, T> {
    type Scalar = E;
    type Architecture = A;
    type Tape = T;

    fn view(&self) -> Result<View<'_, A, E, T>> {
        let tape = match self.tape.take() {
            Some(tape) => {
                if !T::OWNS_TAPE {
                    self.tape.set(Some(T::default()));
                }
                tape
            }
            None => return Err(FlowError::TapeUsed),
        };
        Ok(View {
            flow: self.flow,
            given: self.given.clone(),
            tape: Cell::new(Some(tape)),
            memory: self.memory,
            temperature: self.temperature,
            noise: self.noise.clone(),
        })
    }
}

impl<A, E> NormalizingFlow for Flow<A, E, Cpu>
where
    A: Architecture<E, Context = crate::Unconditional>,
    E: Scalar,
{
    type Scalar = E;
    type Architecture = A;
    type Tape = NoneTape;

    fn view(&self) -> Result<View<'_, A, E>> {
        Ok(View::new(self))
    }
}

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
