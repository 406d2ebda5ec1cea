//! What the laws and the golden tests share: a flow's passes and gradients as plain numbers.

#[cfg(feature = "cuda-emulation")]
pub mod device;
#[cfg(feature = "cuda-emulation")]
pub mod faulty;

pub mod exploding;
pub mod misuse;
pub mod numeric;
pub mod weights;

use std::collections::BTreeMap;

use dfdx::prelude::{
    Backward, Const, Cpu, Device, Gradients, HasErr, OwnedTape, Shape, SumTo, Tensor,
    TensorFromVec, Trace, ZerosTensor,
};
use flow_core::{
    Architecture, Data, Event, Facts, Flow, Invertible, Item, Joined, Latents, Memory,
    NormalizingFlow, Scalar, Unconditional, Vector,
};

/// Data to latent, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Data to latent.
    Forward,
    /// Latent to data.
    Inverse,
}

/// A pass's output and log-determinants, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<E> {
    /// The mapped rows.
    pub rows: Vec<E>,
    /// Each row's log-determinant.
    pub log_det: Vec<E>,
}

/// The gradients of `Σ cotangent · output + Σ by_log_det · log_det`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slopes<E> {
    /// By the input.
    pub input: Vec<E>,
    /// By the context, empty where there is none.
    pub context: Vec<E>,
    /// By each parameter.
    pub parameters: BTreeMap<String, Vec<E>>,
}

/// A flow whose passes can be asked for in plain numbers, with or without a context.
pub trait Subject<E: Scalar>: Sized {
    /// Numbers a row of data.
    const SIZE: usize;
    /// Numbers a row of context.
    const CONTEXT: usize;

    /// Sets data-dependent parameters from a first batch.
    fn initialize(&mut self, x: &[E], context: &[E]);

    /// The flow itself: names, numbers, facts.
    fn flow(&self) -> &dyn Stored<E>;

    /// Replaces the numbers of a parameter or buffer.
    fn set(&mut self, name: &str, values: &[E]);

    /// The same flow with numbers of its own.
    fn again(&self) -> Self;

    /// One pass.
    fn run(&self, direction: Direction, x: &[E], context: &[E]) -> Output<E>;

    /// One pass with other numbers for one parameter.
    fn run_with(
        &self,
        name: &str,
        values: &[E],
        direction: Direction,
        x: &[E],
        context: &[E],
    ) -> Output<E> {
        let mut other = self.again();
        other.set(name, values);
        other.run(direction, x, context)
    }

    /// The gradients of a pass, through dfdx's tape.
    fn slopes(
        &self,
        direction: Direction,
        x: &[E],
        context: &[E],
        cotangent: &[E],
        by_log_det: &[E],
    ) -> Slopes<E> {
        self.slopes_in(Memory::Stored, direction, x, context, cotangent, by_log_det)
    }

    /// The same, where the pass keeps what `memory` says.
    fn slopes_in(
        &self,
        memory: Memory,
        direction: Direction,
        x: &[E],
        context: &[E],
        cotangent: &[E],
        by_log_det: &[E],
    ) -> Slopes<E>;
}

/// What is stored in a flow, whatever its architecture.
pub trait Stored<E> {
    /// Names and numbers of all parameters.
    fn parameters(&self) -> Vec<(String, Vec<E>)>;
    /// Names and numbers of all buffers.
    fn buffers(&self) -> Vec<(String, Vec<E>)>;
    /// What the blocks say of themselves.
    fn facts(&self) -> Facts;
    /// What the compiler derived, one item after the other.
    fn items(&self) -> &'static [Item];
}

impl<A: Architecture<E>, E: Scalar> Stored<E> for Flow<A, E, Cpu> {
    fn parameters(&self) -> Vec<(String, Vec<E>)> {
        self.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect()
    }

    fn buffers(&self) -> Vec<(String, Vec<E>)> {
        self.buffers().map(|p| (p.name.to_owned(), p.values.to_vec())).collect()
    }

    fn facts(&self) -> Facts {
        self.blocks().facts()
    }

    fn items(&self) -> &'static [Item] {
        A::ITEMS
    }
}

type Owned<E> = OwnedTape<E, Cpu>;

fn batch<V: Event, E: Scalar>(numbers: &[E]) -> Tensor<V::Batch<usize>, E, Cpu> {
    let rows = numbers.len() / V::SHAPE.size();
    Cpu::default().tensor_from_vec(numbers.to_vec(), V::batch(rows))
}

fn forward<F>(flow: &F, x: &[F::Scalar]) -> Output<F::Scalar>
where
    F: NormalizingFlow<Tape = dfdx::prelude::NoneTape>,
{
    let x: Data<F, usize> =
        batch::<<F::Architecture as Architecture<F::Scalar>>::Event, F::Scalar>(x);
    let (z, log_det) = flow.forward(x).expect("a forward pass");
    Output { rows: z.as_vec(), log_det: log_det.as_vec() }
}

fn run<F>(flow: &F, direction: Direction, x: &[F::Scalar]) -> Output<F::Scalar>
where
    F: NormalizingFlow<Tape = dfdx::prelude::NoneTape>,
    F::Architecture: Invertible,
{
    if direction == Direction::Forward {
        return forward(flow, x);
    }
    let z: Latents<F, usize> =
        batch::<<F::Architecture as Architecture<F::Scalar>>::Latent, F::Scalar>(x);
    let (x, log_det) = flow.inverse(z).expect("an inverse pass");
    Output { rows: x.as_vec(), log_det: log_det.as_vec() }
}

fn forward_slopes<F>(
    flow: &F,
    x: &[F::Scalar],
    cotangent: &[F::Scalar],
    by_log_det: &[F::Scalar],
) -> (Vec<F::Scalar>, Gradients<F::Scalar, Cpu>)
where
    F: NormalizingFlow,
    F::Scalar: std::ops::AddAssign,
    Owned<F::Scalar>:
        flow_core::JoinTape<F::Scalar, <F as NormalizingFlow>::Tape, Output = Owned<F::Scalar>>,
    Cpu: Device<F::Scalar> + ZerosTensor<F::Scalar> + HasErr<Err = dfdx::prelude::CpuError>,
{
    let x = batch::<<F::Architecture as Architecture<F::Scalar>>::Event, _>(x);
    let (z, log_det) = flow.forward(x.leaky_trace()).expect("a forward pass");
    let gradients = loss::<F, _>(z, log_det, cotangent, by_log_det);
    (gradients.get(&x).as_vec(), gradients)
}

fn slopes<F>(
    flow: &F,
    direction: Direction,
    x: &[F::Scalar],
    cotangent: &[F::Scalar],
    by_log_det: &[F::Scalar],
) -> (Vec<F::Scalar>, Gradients<F::Scalar, Cpu>)
where
    F: NormalizingFlow,
    F::Architecture: Invertible,
    F::Scalar: std::ops::AddAssign,
    Owned<F::Scalar>:
        flow_core::JoinTape<F::Scalar, <F as NormalizingFlow>::Tape, Output = Owned<F::Scalar>>,
    Cpu: Device<F::Scalar> + ZerosTensor<F::Scalar> + HasErr<Err = dfdx::prelude::CpuError>,
{
    if direction == Direction::Forward {
        return forward_slopes(flow, x, cotangent, by_log_det);
    }
    let z = batch::<<F::Architecture as Architecture<F::Scalar>>::Latent, _>(x);
    let (x, log_det) = flow.inverse(z.leaky_trace()).expect("an inverse pass");
    let gradients = loss::<F, _>(x, log_det, cotangent, by_log_det);
    (gradients.get(&z).as_vec(), gradients)
}

fn run_forward<F>(flow: &F, direction: Direction, x: &[F::Scalar]) -> Output<F::Scalar>
where
    F: NormalizingFlow<Tape = dfdx::prelude::NoneTape>,
{
    assert_eq!(direction, Direction::Forward, "{NO_INVERSE}");
    forward(flow, x)
}

fn slopes_forward<F>(
    flow: &F,
    direction: Direction,
    x: &[F::Scalar],
    cotangent: &[F::Scalar],
    by_log_det: &[F::Scalar],
) -> (Vec<F::Scalar>, Gradients<F::Scalar, Cpu>)
where
    F: NormalizingFlow,
    F::Scalar: std::ops::AddAssign,
    Owned<F::Scalar>:
        flow_core::JoinTape<F::Scalar, <F as NormalizingFlow>::Tape, Output = Owned<F::Scalar>>,
    Cpu: Device<F::Scalar> + ZerosTensor<F::Scalar> + HasErr<Err = dfdx::prelude::CpuError>,
{
    assert_eq!(direction, Direction::Forward, "{NO_INVERSE}");
    forward_slopes(flow, x, cotangent, by_log_det)
}

fn loss<F: NormalizingFlow, S: Shape>(
    y: Tensor<S, F::Scalar, Cpu, Joined<F, Owned<F::Scalar>>>,
    log_det: Tensor<(usize,), F::Scalar, Cpu, Joined<F, Owned<F::Scalar>>>,
    cotangent: &[F::Scalar],
    by_log_det: &[F::Scalar],
) -> Gradients<F::Scalar, Cpu>
where
    Owned<F::Scalar>:
        flow_core::JoinTape<F::Scalar, <F as NormalizingFlow>::Tape, Output = Owned<F::Scalar>>,
    Cpu: Device<F::Scalar>,
{
    let cpu = Cpu::default();
    let cotangent = cpu.tensor_from_vec(cotangent.to_vec(), *dfdx::prelude::HasShape::shape(&y));
    let by_log_det = cpu.tensor_from_vec(by_log_det.to_vec(), (by_log_det.len(),));
    let by_y = (y * cotangent).sum::<(), S::AllAxes>();
    let by_log_det = (log_det * by_log_det).sum::<(), _>();
    (by_y + by_log_det).backward()
}

/// An unconditional flow under test.
pub struct Free<A: Architecture<E>, E: Scalar>(pub Flow<A, E, Cpu>);

/// A flow given `C` numbers a row under test.
pub struct Conditioned<A: Architecture<E>, E: Scalar, const C: usize>(pub Flow<A, E, Cpu>);

/// An unconditional flow under test that may have no inverse: only forward passes are asked for.
pub struct ForwardOnly<A: Architecture<E>, E: Scalar>(pub Flow<A, E, Cpu>);

const NO_INVERSE: &str = "a law for invertible flows on another";

macro_rules! subjects {
    ($E:ty) => {
        subjects!($E, Free, Invertible, run, slopes);
        subjects!($E, ForwardOnly, Sized, run_forward, slopes_forward);
        conditioned!($E);
    };
    ($E:ty, $Subject:ident, $Bound:ident, $run:ident, $slopes:ident) => {
        impl<A: Architecture<$E, Context = Unconditional> + $Bound> Subject<$E>
            for $Subject<A, $E>
        {
            const SIZE: usize = A::Event::SHAPE.size();
            const CONTEXT: usize = 0;

            fn initialize(&mut self, x: &[$E], _: &[$E]) {
                self.0.initialize(batch::<A::Event, $E>(x)).expect("a first batch");
            }

            fn flow(&self) -> &dyn Stored<$E> {
                &self.0
            }

            fn set(&mut self, name: &str, values: &[$E]) {
                self.0.set(name, values).expect("a name of this flow");
            }

            fn run(&self, direction: Direction, x: &[$E], _: &[$E]) -> Output<$E> {
                $run(&self.0, direction, x)
            }

            fn again(&self) -> Self {
                Self(self.0.clone())
            }

            fn slopes_in(
                &self,
                memory: Memory,
                direction: Direction,
                x: &[$E],
                _: &[$E],
                cotangent: &[$E],
                by_log_det: &[$E],
            ) -> Slopes<$E> {
                let view = self.0.memory(memory);
                let (input, mut gradients) = $slopes(&view, direction, x, cotangent, by_log_det);
                let parameters = by_name(&self.0, &mut gradients);
                Slopes { input, context: Vec::new(), parameters }
            }
        }
    };
}

macro_rules! conditioned {
    ($E:ty) => {
        impl<A: Architecture<$E, Context = Vector<C>> + Invertible, const C: usize> Subject<$E>
            for Conditioned<A, $E, C>
        {
            const SIZE: usize = A::Event::SHAPE.size();
            const CONTEXT: usize = C;

            fn initialize(&mut self, x: &[$E], context: &[$E]) {
                let context = rows_of::<C, $E>(context);
                let x = batch::<A::Event, $E>(x);
                self.0.initialize_given(x, context).expect("a first batch");
            }

            fn flow(&self) -> &dyn Stored<$E> {
                &self.0
            }

            fn set(&mut self, name: &str, values: &[$E]) {
                self.0.set(name, values).expect("a name of this flow");
            }

            fn run(&self, direction: Direction, x: &[$E], context: &[$E]) -> Output<$E> {
                let context = rows_of::<C, $E>(context);
                run(&self.0.given(context), direction, x)
            }

            fn again(&self) -> Self {
                Self(self.0.clone())
            }

            fn slopes_in(
                &self,
                memory: Memory,
                direction: Direction,
                x: &[$E],
                context: &[$E],
                cotangent: &[$E],
                by_log_det: &[$E],
            ) -> Slopes<$E> {
                let context = rows_of::<C, $E>(context);
                let view = self.0.given(context.leaky_trace()).memory(memory);
                let (input, mut gradients) = slopes(&view, direction, x, cotangent, by_log_det);
                let parameters = by_name(&self.0, &mut gradients);
                Slopes { input, context: gradients.get(&context).as_vec(), parameters }
            }
        }
    };
}

subjects!(f32);
subjects!(f64);

fn rows_of<const C: usize, E: Scalar>(numbers: &[E]) -> Tensor<(usize, Const<C>), E, Cpu> {
    Cpu::default().tensor_from_vec(numbers.to_vec(), (numbers.len() / C, Const))
}

fn by_name<A: Architecture<E>, E: Scalar>(
    flow: &Flow<A, E, Cpu>,
    gradients: &mut Gradients<E, Cpu>,
) -> BTreeMap<String, Vec<E>> {
    let by_name = flow.gradients(gradients).expect("memory for gradients");
    by_name.into_iter().map(|(name, gradient)| (name.to_owned(), gradient)).collect()
}
