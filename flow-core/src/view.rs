//! The choices of a pass.

use std::cell::Cell;

use dfdx::prelude::{Const, Cpu, Dim, NoneTape, Tape, Tensor};

use crate::architecture::invertible;
use crate::engine::{adds_to, check, ordered, Direction, Given, Machine, Operator};
use crate::room::room_for_samples;
use crate::{
    Architecture, Context, Event, Flow, FlowError, Invertible, Memory, Noise, NormalizingFlow,
    Result, Rows, Scalar, Vector,
};

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

    pub(crate) fn take_tape(&self) -> T {
        self.tape.take().unwrap_or_default()
    }

    pub(crate) fn operator(&self) -> Result<Operator<'_, A, E>> {
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
    pub(crate) fn push(&self, z: &mut [E], radius: &mut [f64], log_det: bool) -> Result<Vec<E>>
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
