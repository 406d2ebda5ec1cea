//! A flow: blocks, base distribution and weights.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dfdx::prelude::{Cpu, Gradients};

use crate::engine::{check, AfterStep, Entry, Given, Layout, Machine, Mirror, Operator, Role};
use crate::pattern::{matches, nearest};
use crate::{
    Architecture, Backend, Context, Event, FlowError, GuardReport, Memory, Noise, Result, Scalar,
    Values,
};

mod tensors;
mod views;

/// The blocks of an [`Architecture`] with their weights, on a device.
///
/// `flow!` wraps one in a type of its own that derefs to it. Passes take `&self`:
/// [`NormalizingFlow`](crate::NormalizingFlow) has them, on the flow itself where it is
/// unconditional, and on the [`View`](crate::View) that [`given`](Self::given) makes. A clone has
/// its own weights.
pub struct Flow<A: Architecture<E>, E: Scalar = f32, B: Backend = Cpu> {
    machine: Machine<A, E>,
    mirror: Mirror<E>,
    frozen: Vec<bool>,
    after_step: AfterStep,
    last_error: Arc<Mutex<Option<FlowError>>>,
    device: B,
}

impl<A: Architecture<E>, E: Scalar, B: Backend> Clone for Flow<A, E, B> {
    fn clone(&self) -> Self {
        let machine = self.machine.apart();
        let trainable = self.mirror.trainable.clone();
        Self {
            mirror: Mirror::new(&machine.state().values, trainable),
            machine,
            frozen: self.frozen.clone(),
            after_step: AfterStep,
            last_error: Arc::default(),
            device: self.device.clone(),
        }
    }
}

impl<A: Architecture<E>, E: Scalar, B: Backend> std::fmt::Debug for Flow<A, E, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(A::NAME)
            .field("event", &A::Event::SHAPE)
            .field("parameters", &self.parameter_count())
            .finish_non_exhaustive()
    }
}

/// A parameter or buffer of a flow, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named<'f, E> {
    /// Its path: `steps.3.0.net.1.weight`.
    pub name: &'f str,
    /// Its shape, row-major.
    pub shape: &'f [usize],
    /// Its numbers.
    pub values: &'f [E],
    /// Whether it is trained or only saved.
    pub role: Role,
    /// Whether optimisers leave it alone.
    pub frozen: bool,
}

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// A flow with starting weights drawn from `seed`.
    ///
    /// # Errors
    /// Where a block cannot stand where it does, such as a user's block on another shape.
    pub fn build(device: &B, seed: u64) -> Result<Self> {
        let machine = Machine::<A, E>::build(seed)?;
        let count = machine.layout().parameters().count();
        let mut flow = Self {
            mirror: Mirror::new(&machine.state().values, Vec::new()),
            machine,
            frozen: vec![false; count],
            after_step: AfterStep,
            last_error: Arc::default(),
            device: device.clone(),
        };
        flow.renew_mirror();
        Ok(flow)
    }

    /// The device it runs on.
    pub fn device(&self) -> &B {
        &self.device
    }

    /// Its blocks.
    pub fn blocks(&self) -> &A {
        self.machine.blocks()
    }

    /// Names and shapes of all that is saved.
    pub fn layout(&self) -> &Layout {
        self.machine.layout()
    }

    /// Every parameter, in the order of the blocks.
    ///
    /// ```
    /// # use dfdx::prelude::*;
    /// # use flow_core::prelude::*;
    /// # flow! { struct Tiny: Vector<2> { linear(diagonal); } }
    /// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
    /// let names: Vec<_> = flow.parameters().map(|p| p.name).collect();
    /// assert_eq!(names, ["0.log_scale"]);
    /// # Ok::<(), FlowError>(())
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = Named<'_, E>> {
        let values = &self.machine.state().values.parameters;
        self.layout()
            .parameters()
            .zip(&self.frozen)
            .map(move |(entry, &frozen)| named(entry, values, frozen))
    }

    /// Every buffer: saved with the weights, never trained.
    pub fn buffers(&self) -> impl Iterator<Item = Named<'_, E>> {
        let values = &self.machine.state().values.buffers;
        let buffers = self.layout().entries.iter().filter(|entry| entry.role != Role::Parameter);
        buffers.map(move |entry| named(entry, values, true))
    }

    /// Numbers in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.machine.state().values.parameters.len()
    }

    /// Replaces the numbers of one parameter or buffer.
    ///
    /// # Errors
    /// [`FlowError::NoSuchParameter`] with the nearest name, or [`FlowError::Length`].
    pub fn set(&mut self, name: &str, values: &[E]) -> Result<()> {
        self.set_all([(name, values)])
    }

    /// Replaces the numbers of several parameters or buffers, or of none where one does not fit. What
    /// depends on the weights is computed once for all of them.
    ///
    /// ```
    /// use flow_core::prelude::*;
    ///
    /// # flow! { struct Tiny: Vector<2> { linear(diagonal); } }
    /// let mut flow = Tiny::<f32>::build(&Default::default(), 0)?;
    /// let ones: Vec<_> =
    ///     flow.parameters().map(|p| (p.name.to_string(), vec![1.0; p.values.len()])).collect();
    /// flow.set_all(ones)?;
    /// assert!(flow.parameters().all(|p| p.values.iter().all(|&v| v == 1.0)));
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_all<N: AsRef<str>, V: AsRef<[E]>>(
        &mut self,
        tensors: impl IntoIterator<Item = (N, V)>,
    ) -> Result<()> {
        let find = |(name, values): (N, V)| {
            let name = name.as_ref();
            let Some(entry) = self.layout().find(name).cloned() else {
                return Err(self.no_such(name));
            };
            let (found, expected) = (values.as_ref().len(), entry.range.len());
            if found != expected {
                return Err(FlowError::Length { what: format!("`{name}`"), found, expected });
            }
            Ok((entry, values))
        };
        let found = tensors.into_iter().map(find).collect::<Result<Vec<_>>>()?;
        self.change(|all| {
            for (Entry { role, range, .. }, values) in found {
                let all = match role {
                    Role::Parameter => &mut all.parameters,
                    Role::Buffer(_) => &mut all.buffers,
                };
                all[range].copy_from_slice(values.as_ref());
            }
            Ok(())
        })
    }

    /// Keeps optimisers from every parameter whose name matches `pattern`, in which `*` stands for
    /// any text. Returns how many parameters that are.
    ///
    /// # Errors
    /// [`FlowError::NoSuchParameter`] where none matches.
    pub fn freeze(&mut self, pattern: &str) -> Result<usize> {
        self.set_frozen(pattern, true)
    }

    /// The opposite of [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn unfreeze(&mut self, pattern: &str) -> Result<usize> {
        self.set_frozen(pattern, false)
    }

    fn set_frozen(&mut self, pattern: &str, frozen: bool) -> Result<usize> {
        let names = self.machine.layout().parameters().map(|entry| entry.name.as_str());
        let mut count = 0;
        for (name, flag) in names.zip(&mut self.frozen) {
            if matches(pattern, name) {
                *flag = frozen;
                count += 1;
            }
        }
        if count == 0 {
            return Err(self.no_such(pattern));
        }
        self.renew_mirror();
        Ok(count)
    }

    fn no_such(&self, pattern: &str) -> FlowError {
        let names = self.layout().entries.iter().map(|entry| entry.name.as_str());
        let nearest = nearest(pattern, names).map(String::from);
        FlowError::NoSuchParameter { pattern: pattern.into(), nearest }
    }

    /// Replaces weights or buffers: all that `change` does, or nothing.
    pub(crate) fn change(
        &mut self,
        change: impl FnOnce(&mut Values<E>) -> Result<()>,
    ) -> Result<()> {
        self.machine.change(change)?;
        self.show();
        Ok(())
    }

    /// The gradient of each trainable parameter by name, taken from dfdx's gradients: zeros where a
    /// loss did not depend on the flow.
    ///
    /// # Errors
    /// Where dfdx runs out of memory.
    pub fn gradients(&self, gradients: &mut Gradients<E, Cpu>) -> Result<BTreeMap<&str, Vec<E>>> {
        let weights = gradients
            .get_or_alloc_mut(&self.mirror.tensor.ghost())
            .map_err(|error| FlowError::Gradient(error.to_string()))?;
        let mut rest = &*E::slice(weights);
        let mut by_name = BTreeMap::new();
        let entries = self.layout().parameters().zip(&self.frozen);
        for (entry, _) in entries.filter(|(_, &frozen)| !frozen) {
            let (gradient, others) = rest.split_at(entry.range.len());
            by_name.insert(entry.name.as_str(), gradient.to_vec());
            rest = others;
        }
        Ok(by_name)
    }

    /// What the last failed backward pass of this flow ran into, once.
    ///
    /// dfdx's tape can only say that it failed; here is why.
    pub fn last_error(&self) -> Option<FlowError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What the guard of the last backward pass under [`Memory::Inverted`] saw, if there was one.
    ///
    /// A pass whose guard is off or ended it with an error leaves the report as it was.
    pub fn guard_report(&self) -> Option<GuardReport> {
        self.machine.watch().report()
    }

    /// Inverts again, where a guard had switched to recomputing for good
    /// ([`Policy::SwitchToRecomputing`](crate::memory::Policy::SwitchToRecomputing)).
    pub fn trust_inverse(&self) {
        self.machine.watch().distrust(false);
    }

    /// The log-probability of one row in nats, on the caller's thread, without a tape: for
    /// serving. `row` holds the event's numbers (an image by channels, rows, columns), `context`
    /// the context's, empty where the flow is unconditional.
    ///
    /// # Errors
    /// Wrong lengths, or numbers that are not finite.
    pub fn score(&self, row: &[E], context: &[E]) -> Result<E> {
        for (what, numbers, expected) in
            [("the row", row, A::Event::SHAPE.size()), ("the context", context, A::Context::SIZE)]
        {
            if numbers.len() != expected {
                let found = numbers.len();
                return Err(FlowError::Length { what: what.into(), found, expected });
            }
        }
        check(row, "row", row.len())?;
        if !context.is_empty() {
            check(context, "context", context.len())?;
        }
        self.machine.score(row, context)
    }

    pub(crate) fn machine(&self) -> &Machine<A, E> {
        &self.machine
    }

    pub(crate) fn machine_mut(&mut self) -> &mut Machine<A, E> {
        &mut self.machine
    }

    pub(crate) fn operator<'a>(
        &'a self,
        given: &'a Given<E>,
        memory: Memory,
        noise: Option<Noise>,
    ) -> Operator<'a, A, E> {
        let Self { machine, mirror, last_error, .. } = self;
        let machine = match noise {
            Some(noise) => machine.drawing(noise),
            None => machine.clone(),
        };
        Operator { machine, mirror, last_error, given, memory }
    }
}

fn named<'f, E>(entry: &'f Entry, values: &'f [E], frozen: bool) -> Named<'f, E> {
    let Entry { name, shape, role, range } = entry;
    Named { name, shape, values: &values[range.clone()], role: *role, frozen }
}
