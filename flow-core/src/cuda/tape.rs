//! Passes of dfdx's tensors through a flow on a device, each one operation on dfdx's tape.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use dfdx::prelude::{
    Const, Cpu, CpuError, Dim, Gradients, HasShape, NoneTape, PutTape, Tape, Tensor,
};
use flow_cuda::Device;

use super::flow::{product, with_plan, DeviceGradients, OnDevice};
use super::plans::{Recorded, PASS};
use super::store::{Key, Stamp, Store};
use super::training::Update;
use crate::engine::{
    adds_to, ordered, read, remember, second_tape, tensor, AddGradient, Direction, Given, JoinTape,
    Machine,
};
use crate::{Architecture, Context, Event, FlowError, Invertible, Memory, Result, Vector};

/// A batch of rows, with its tape.
pub(super) type Batch<V, N, T = NoneTape> = Tensor<<V as Event>::Batch<N>, f32, Cpu, T>;
/// A number for each row, with its tape.
pub(super) type Row<N, T = NoneTape> = Tensor<(N,), f32, Cpu, T>;
/// A context, with its tape.
type Conditions<const C: usize, M, T> = Tensor<(M, Const<C>), f32, Cpu, T>;

/// Passes of dfdx's tensors. Where one has a tape, the output has it too, and its backward pass gives
/// the gradients by the batch, by the context and by every weight: by those of the flow that was brought
/// to the device, or that [`set_weights`](Self::set_weights) took them from last, so that
/// [`Flow::gradients`](crate::Flow::gradients) tells them by name and dfdx's optimisers find them
/// there.
///
/// ```
/// use dfdx::prelude::*;
/// use dfdx::optim::{Adam, AdamConfig};
/// use flow_core::cuda::Device;
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], relu));
///         affine_coupling(net = mlp([8], relu));
///     }
/// }
///
/// /// A step of training by an optimiser of dfdx's, on the CPU, with the pass and its product on a card.
/// fn step(gpu: impl Device + 'static) -> Result<(), FlowError> {
///     let cpu = dfdx::prelude::Cpu::default();
///     let mut flow = Tiny::<f32>::build(&cpu, 0)?;
///     let mut on_gpu = flow.on(gpu)?;
///     let mut adam = Adam::new(&flow, AdamConfig::default());
///     let x = cpu.tensor([[0.5, -1.0], [2.0, 0.0]]);
///     let loss = on_gpu.log_prob(x.traced(flow.alloc_grads()))?.mean().negate();
///     let gradients = loss.backward();
///     adam.update(&mut flow, &gradients).expect("every weight has a gradient");
///     on_gpu.set_weights(&flow)
/// }
/// ```
impl<A: Architecture<f32>, D: Device + 'static> OnDevice<A, D> {
    /// Data to latents: `(z, log |det ∂z/∂x|)`. The latents carry the tape; a loss of the
    /// log-determinant alone must use them too, or [`log_prob`](Self::log_prob).
    ///
    /// A pass with a tape keeps its place on the device until another over as many rows takes it; its
    /// backward pass then runs it once more.
    ///
    /// # Errors
    /// Non-finite or no rows; a conditional flow, which wants [`forward_given`](Self::forward_given);
    /// what the device reports. The backward pass fails where the weights on the device have changed
    /// meanwhile; [`last_error`](Self::last_error) says so.
    pub fn forward<N: Dim, T: Tape<f32, Cpu> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<(Batch<A::Latent, N, T>, Row<N, T>)> {
        let (x, tape) = ordered(x)?;
        self.map::<A::Event, A::Latent, N, T>(Direction::Forward, x, Given::none(), tape)
    }

    /// Latents to data: `(x, log |det ∂x/∂z|)`. The data carry the tape.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and a block whose inverse has no kernels yet.
    pub fn inverse<N: Dim, T: Tape<f32, Cpu> + 'static>(
        &self,
        z: Batch<A::Latent, N, T>,
    ) -> Result<(Batch<A::Event, N, T>, Row<N, T>)>
    where
        A: Invertible,
    {
        let (z, tape) = ordered(z)?;
        self.map::<A::Latent, A::Event, N, T>(Direction::Inverse, z, Given::none(), tape)
    }

    /// `log p(x)` of each row in nats.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn log_prob<N: Dim, T: Tape<f32, Cpu> + 'static>(
        &self,
        x: Batch<A::Event, N, T>,
    ) -> Result<Row<N, T>> {
        let (x, tape) = ordered(x)?;
        self.density(x, Given::none(), tape)
    }

    /// [`forward`](Self::forward) of a conditional flow: one context row for all, or one for each row.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and another number of context rows.
    pub fn forward_given<const C: usize, N: Dim, M: Dim, T: JoinTape<f32, U>, U: Tape<f32, Cpu>>(
        &self,
        x: Batch<A::Event, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<(Batch<A::Latent, N, T::Output>, Row<N, T::Output>)>
    where
        A: Architecture<f32, Context = Vector<C>>,
    {
        let ((x, tape), (given, its)) = (ordered(x)?, given(context)?);
        let tape = tape.join(its);
        self.map::<A::Event, A::Latent, N, _>(Direction::Forward, x, given, tape)
    }

    /// [`inverse`](Self::inverse) of a conditional flow.
    ///
    /// # Errors
    /// As [`forward_given`](Self::forward_given).
    pub fn inverse_given<const C: usize, N: Dim, M: Dim, T: JoinTape<f32, U>, U: Tape<f32, Cpu>>(
        &self,
        z: Batch<A::Latent, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<(Batch<A::Event, N, T::Output>, Row<N, T::Output>)>
    where
        A: Architecture<f32, Context = Vector<C>> + Invertible,
    {
        let ((z, tape), (given, its)) = (ordered(z)?, given(context)?);
        let tape = tape.join(its);
        self.map::<A::Latent, A::Event, N, _>(Direction::Inverse, z, given, tape)
    }

    /// [`log_prob`](Self::log_prob) of a conditional flow.
    ///
    /// # Errors
    /// As [`forward_given`](Self::forward_given).
    pub fn log_prob_given<const C: usize, N: Dim, M: Dim, T: JoinTape<f32, U>, U: Tape<f32, Cpu>>(
        &self,
        x: Batch<A::Event, N, T>,
        context: Conditions<C, M, U>,
    ) -> Result<Row<N, T::Output>>
    where
        A: Architecture<f32, Context = Vector<C>>,
    {
        let ((x, tape), (given, its)) = (ordered(x)?, given(context)?);
        self.density(x, given, tape.join(its))
    }

    /// Why dfdx's last backward pass through this flow failed, once: dfdx's tape can only say that it
    /// did.
    pub fn last_error(&self) -> Option<FlowError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn map<From: Event, To: Event, N: Dim, T: Tape<f32, Cpu> + 'static>(
        &self,
        direction: Direction,
        x: Batch<From, N>,
        given: Given<f32>,
        mut tape: T,
    ) -> Result<(Batch<To, N, T>, Row<N, T>)> {
        let rows = From::rows(x.shape());
        let (operation, y, log_det) = self.pass::<From, N, T>(direction, x, given)?;
        let (y, log_det) = (tensor(y, To::batch(rows))?, tensor(log_det, (rows,))?);
        let last_error = self.last_error.clone();
        let (check, done) = second_tape::<f32, Cpu, T>(move || {
            remember(&last_error, FlowError::TapeDropped);
            CpuError::WrongNumElements
        });
        let (by_y, by_log_det) = (y.ghost(), log_det.ghost());
        tape.add_backward_op(move |gradients| {
            done.store(true, Ordering::Release);
            let cotangent = gradients.get_or_alloc_mut(&by_y)?.to_vec();
            let by_number = gradients.get_or_alloc_mut(&by_log_det)?.to_vec();
            operation.backward(gradients, &cotangent, &by_number)
        });
        Ok((y.put_tape(tape), log_det.put_tape(check)))
    }

    fn density<N: Dim, T: Tape<f32, Cpu> + 'static>(
        &self,
        x: Batch<A::Event, N>,
        given: Given<f32>,
        mut tape: T,
    ) -> Result<Row<N, T>> {
        let rows = A::Event::rows(x.shape());
        let (operation, _, numbers) = self.pass::<A::Event, N, T>(Direction::LogProb, x, given)?;
        let log_prob = tensor(numbers, (rows,))?;
        let by_log_prob = log_prob.ghost();
        tape.add_backward_op(move |gradients| {
            let by_number = gradients.get_or_alloc_mut(&by_log_prob)?.to_vec();
            operation.backward(gradients, &[], &by_number)
        });
        Ok(log_prob.put_tape(tape))
    }

    /// Runs a pass: what its product needs, its output, and each row's number.
    fn pass<From: Event, N: Dim, T: Tape<f32, Cpu>>(
        &self,
        direction: Direction,
        x: Batch<From, N>,
        given: Given<f32>,
    ) -> Result<(Operation<A, D>, Vec<f32>, Vec<f32>)> {
        let rows = From::rows(x.shape()).size();
        let by_x = adds_to(&x);
        let x = read(x, "batch", From::SHAPE.size())?;
        let context = given.spread(A::NAME, A::Context::SIZE, rows)?;
        let wanted = (T::OWNS_TAPE, false);
        let (key, stamp, output, numbers) = self.with(direction, rows, wanted, |store, key| {
            store.start(key, &x, &context)?;
            store.run(key, &[PASS])?;
            let Recorded { output, places, .. } = *store.recorded(key)?;
            let output = if direction == Direction::LogProb { output.part(0, 0) } else { output };
            let found = (store.read(key, output)?, store.read(key, places.log_det)?);
            Ok((key, store.stamp(key)?, found.0, found.1))
        })?;
        let operation = Operation {
            machine: self.machine.clone(),
            store: self.store.clone(),
            memory: self.memory,
            update: self.update.clone(),
            key,
            stamp,
            x,
            context,
            by_x,
            given,
            by_weights: self.by_weights.clone(),
            last_error: self.last_error.clone(),
        };
        Ok((operation, output, numbers))
    }
}

/// A context and where the gradient by it goes, with the tape that leads there.
fn given<const C: usize, M: Dim, U: Tape<f32, Cpu>>(
    context: Conditions<C, M, U>,
) -> Result<(Given<f32>, U)> {
    let (context, tape) = ordered(context)?;
    let gradient = U::OWNS_TAPE.then(|| adds_to(&context));
    let rows = read(context, "context", C)?.into();
    Ok((Given { rows, width: C, gradient }, tape))
}

/// A pass that ran, for its backward pass.
struct Operation<A: Architecture<f32>, D: Device> {
    machine: Machine<A, f32>,
    store: Arc<Mutex<Store<D>>>,
    memory: Memory,
    update: Option<Update>,
    key: Key,
    stamp: Stamp,
    x: Vec<f32>,
    context: Vec<f32>,
    by_x: AddGradient<f32>,
    given: Given<f32>,
    by_weights: AddGradient<f32>,
    last_error: Arc<Mutex<Option<FlowError>>>,
}

impl<A: Architecture<f32>, D: Device> Operation<A, D> {
    /// Adds all gradients to dfdx's: NaN where they cannot be had.
    fn backward(
        self,
        gradients: &mut Gradients<f32, Cpu>,
        cotangent: &[f32],
        by_number: &[f32],
    ) -> std::result::Result<(), CpuError> {
        let found = self.product(cotangent, by_number);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                remember(&self.last_error, error);
                let nan = |len| vec![f32::NAN; len];
                let parameters = self.machine.state().values.parameters.len();
                (self.by_x)(gradients, &nan(self.x.len()))?;
                if let Some(by_context) = &self.given.gradient {
                    by_context(gradients, &nan(self.given.rows.len()))?;
                }
                (self.by_weights)(gradients, &nan(parameters))?;
                return Err(CpuError::WrongNumElements);
            }
        };
        (self.by_x)(gradients, &found.input)?;
        if let Some(by_context) = &self.given.gradient {
            by_context(gradients, &self.given.gather(found.context))?;
        }
        (self.by_weights)(gradients, &found.parameters)
    }

    /// The gradients, after the pass once more where another took its place on the device.
    fn product(&self, cotangent: &[f32], by_number: &[f32]) -> Result<DeviceGradients> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.unchanged(self.stamp)?;
        let from = (self.memory, self.update.as_ref());
        with_plan(&self.machine, &mut store, from, self.key, |store, key| {
            if store.stamp(key)? != self.stamp {
                store.start(key, &self.x, &self.context)?;
                store.run(key, &[PASS])?;
            }
            product(&self.machine, store, key, cotangent, by_number)
        })
    }
}
