//! What is trained: any dfdx models, by a loss of their user's.

use std::ops::Range;
use std::sync::PoisonError;

use dfdx::nn::tensor_collection::{
    RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut, ViewTensorName,
    ViewTensorRef,
};
use dfdx::prelude::{
    Backward, Cpu, Device, Gradients, HasErr, HasShape, OwnedTape, Rank0, Shape, Tensor, ZeroGrads,
};

use super::learner::Learner;
use super::Step;
use crate::engine::{call, Present, Watch};
use crate::{BufferKind, Entry, FlowError, Result, Role, Rows, Scalar, Values};

type Failure = <Cpu as HasErr>::Err;

/// A loss as dfdx has it.
type Loss<E> = Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>;

/// Models with a loss. Their tensors are copied to and from one flat vector.
pub(super) struct Joint<'m, M, E: Scalar, F> {
    models: &'m mut M,
    loss: F,
    entries: Vec<Entry>,
    parameters: Vec<E>,
    trainable: Range<usize>,
    gradients: Option<Gradients<E, Cpu>>,
    flows: Vec<Present>,
    /// What held-out rows are judged as.
    validation: Step,
}

impl<'m, M, E, F> Joint<'m, M, E, F>
where
    E: Scalar,
    Cpu: Device<E>,
    M: TensorCollection<E, Cpu>,
    F: FnMut(&mut M, &Rows<E>, Gradients<E, Cpu>, &Step) -> Result<Loss<E>>,
{
    pub(super) fn new(models: &'m mut M, seed: u64, loss: F) -> Result<Self> {
        let mut survey = Survey::default();
        let named = (&mut *models, String::new());
        let walk = || M::iter_tensors(&mut RecursiveWalker { m: named, f: &mut survey });
        let (walked, flows) = call(walk);
        walked?;
        let Survey { entries, values } = survey;
        let Values { parameters, .. } = values;
        let trainable = 0..parameters.len();
        let validation = Step::of_validation(seed);
        Ok(Self {
            models,
            loss,
            entries,
            parameters,
            trainable,
            gradients: None,
            flows,
            validation,
        })
    }

    fn write(&mut self, buffers: &[E]) -> Result<()> {
        self.forget_errors();
        let mut write = Write { parameters: &self.parameters, buffers };
        let walker = &mut RecursiveWalker { m: &mut *self.models, f: &mut write };
        M::iter_tensors(walker)?;
        self.error().map_or(Ok(()), Err)?;
        // A flow among the models brings its parameters back into their domain.
        self.parameters = self.read()?.parameters;
        Ok(())
    }

    fn read(&self) -> Result<Values<E>> {
        let mut read = Read(Values { parameters: Vec::new(), buffers: Vec::new() });
        read.0.parameters.reserve(self.parameters.len());
        let walker = &mut RecursiveWalker { m: &*self.models, f: &mut read };
        M::iter_tensors(walker)?;
        Ok(read.0)
    }

    fn forget_errors(&self) {
        while self.error().is_some() {}
    }

    /// What a flow among the models ran into, where dfdx has no words for it.
    fn error(&self) -> Option<FlowError> {
        let take =
            |flow: &Present| flow.last_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.flows.iter().find_map(take)
    }

    fn spare_gradients(&mut self) -> Result<Gradients<E, Cpu>> {
        match self.gradients.take() {
            Some(mut gradients) => {
                self.models.try_zero_grads(&mut gradients)?;
                Ok(gradients)
            }
            None => Ok(self.models.try_alloc_grads()?),
        }
    }
}

impl<M, E, F> Learner<E> for Joint<'_, M, E, F>
where
    E: Scalar,
    Cpu: Device<E>,
    M: TensorCollection<E, Cpu>,
    F: FnMut(&mut M, &Rows<E>, Gradients<E, Cpu>, &Step) -> Result<Loss<E>>,
{
    fn name(&self) -> String {
        "the models".into()
    }

    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn parameters(&self) -> &[E] {
        &self.parameters
    }

    fn values(&mut self) -> Result<Values<E>> {
        self.read()
    }

    fn set(&mut self, parameters: &[E], buffers: &[E]) -> Result<()> {
        self.parameters.copy_from_slice(parameters);
        self.write(buffers)
    }

    fn trainable(&self) -> &[Range<usize>] {
        std::slice::from_ref(&self.trainable)
    }

    /// A flow among the models draws from what `loss` gives it.
    fn gradient(&mut self, batch: &Rows<E>, step: &Step, gradient: &mut Vec<E>) -> Result<f64> {
        let gradients = self.spare_gradients()?;
        let loss = (self.loss)(self.models, batch, gradients, step)?;
        let value = number(&loss);
        self.forget_errors();
        let mut gradients = loss.try_backward().map_err(|error| {
            let help = "help: a flow outside the models may say why: flow.last_error()";
            self.error().unwrap_or_else(|| FlowError::Gradient(format!("{error}\n{help}")))
        })?;
        gradient.clear();
        let mut collect = Collect { from: &mut gradients, into: gradient };
        let walker = &mut RecursiveWalker { m: &*self.models, f: &mut collect };
        M::iter_tensors(walker)?;
        self.gradients = Some(gradients);
        Ok(value)
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.flows.iter().map(|flow| &*flow.watch)
    }

    fn step(&mut self, change: impl FnOnce(&mut [E], &[Range<usize>])) -> Result<()> {
        change(&mut self.parameters, std::slice::from_ref(&self.trainable));
        self.write(&[])
    }

    /// In batches of 256 rows, so that a tape stays small.
    fn loss(&mut self, rows: &Rows<E>) -> Result<f64> {
        const BATCH: usize = 256;
        let (mut sum, mut batch) = (0.0, Rows::default());
        for from in (0..rows.len()).step_by(BATCH) {
            batch.slice(rows, from, from + BATCH);
            let gradients = self.spare_gradients()?;
            let loss = (self.loss)(self.models, &batch, gradients, &self.validation)?;
            sum += number(&loss) * batch.len() as f64;
        }
        Ok(sum / rows.len() as f64)
    }

    fn origin(&self, _: &Rows<E>, _: &Step) -> String {
        match self.parameters.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                let entry = self
                    .entries
                    .iter()
                    .find(|entry| entry.role == Role::Parameter && entry.range.contains(&at));
                let name = entry.map_or("?", |entry| entry.name.as_str());
                format!("the first parameter that is not finite is in {name}")
            }
            None => "every parameter is finite, so the loss or its gradient overflows".into(),
        }
    }
}

fn number<E: Scalar>(loss: &Loss<E>) -> f64 {
    let mut value = [E::zero()];
    loss.copy_into(&mut value);
    value[0].as_f64()
}

struct Survey<E> {
    entries: Vec<Entry>,
    values: Values<E>,
}

impl<E> Default for Survey<E> {
    fn default() -> Self {
        let values = Values { parameters: Vec::new(), buffers: Vec::new() };
        Self { entries: Vec::new(), values }
    }
}

impl<E: Scalar> TensorVisitor<E, Cpu> for Survey<E>
where
    Cpu: Device<E>,
{
    // A flow shows its weights as they are only where it is asked for them to change.
    type Viewer = (ViewTensorMut, ViewTensorName);
    type Err = Failure;
    type E2 = E;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, Cpu>,
        (tensor, name): (&mut Tensor<S, E, Cpu>, String),
    ) -> Result<Option<Tensor<S, E, Cpu>>, Failure> {
        let (role, flat) = if options.do_gradient_update {
            (Role::Parameter, &mut self.values.parameters)
        } else {
            (Role::Buffer(BufferKind::Float), &mut self.values.buffers)
        };
        let begin = flat.len();
        append(tensor, flat);
        let shape = tensor.shape().concrete().into_iter().collect();
        self.entries.push(Entry { name, shape, role, range: begin..flat.len() });
        Ok(None)
    }
}

struct Read<E>(Values<E>);

impl<E: Scalar> TensorVisitor<E, Cpu> for Read<E>
where
    Cpu: Device<E>,
{
    type Viewer = ViewTensorRef;
    type Err = Failure;
    type E2 = E;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, Cpu>,
        tensor: &Tensor<S, E, Cpu>,
    ) -> Result<Option<Tensor<S, E, Cpu>>, Failure> {
        let trained = options.do_gradient_update;
        append(tensor, if trained { &mut self.0.parameters } else { &mut self.0.buffers });
        Ok(None)
    }
}

/// Copies from the front of what is left of the flat vectors. No buffers leave them as they are.
struct Write<'v, E> {
    parameters: &'v [E],
    buffers: &'v [E],
}

impl<E: Scalar> TensorVisitor<E, Cpu> for Write<'_, E>
where
    Cpu: Device<E>,
{
    type Viewer = ViewTensorMut;
    type Err = Failure;
    type E2 = E;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, Cpu>,
        tensor: &mut Tensor<S, E, Cpu>,
    ) -> Result<Option<Tensor<S, E, Cpu>>, Failure> {
        let trained = options.do_gradient_update;
        let rest = if trained { &mut self.parameters } else { &mut self.buffers };
        if trained || !rest.is_empty() {
            let (values, others) = rest.split_at(tensor.shape().num_elements());
            tensor.copy_from(values);
            *rest = others;
        }
        Ok(None)
    }
}

struct Collect<'g, E: Scalar> {
    from: &'g mut Gradients<E, Cpu>,
    into: &'g mut Vec<E>,
}

impl<E: Scalar> TensorVisitor<E, Cpu> for Collect<'_, E>
where
    Cpu: Device<E>,
{
    type Viewer = ViewTensorRef;
    type Err = Failure;
    type E2 = E;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, Cpu>,
        tensor: &Tensor<S, E, Cpu>,
    ) -> Result<Option<Tensor<S, E, Cpu>>, Failure> {
        if options.do_gradient_update {
            self.into.extend_from_slice(E::slice(self.from.get_or_alloc_mut(tensor)?));
        }
        Ok(None)
    }
}

fn append<S: Shape, E: Scalar>(tensor: &Tensor<S, E, Cpu>, to: &mut Vec<E>) {
    let begin = to.len();
    to.resize(begin + tensor.shape().num_elements(), E::zero());
    tensor.copy_into(&mut to[begin..]);
}
