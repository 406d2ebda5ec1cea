use std::marker::PhantomData;

use dfdx::nn::tensor_collection::TensorCollection;
use dfdx::prelude::{BuildOnDevice, Const, Module, Tensor, Trace};
use dfdx::tensor::{CpuError, NoneTape, OwnedTape};

use super::{Conditioner, LastLayer};
use crate::engine::{Builder, Pass};
use crate::module::{backward, dot, gradient, numbers, tensor, Mirrors};
use crate::{FlowError, Result, Scalar, Shape};

type Rows<const N: usize, E, T> = Tensor<(usize, Const<N>), E, <E as Scalar>::Device, T>;

/// What a dfdx builder type must be to serve as a net from `I` to `O` numbers.
///
/// It holds for every type `M` with [`BuildOnDevice`] whose built module maps a batch of rank 2 to
/// another, with a tape and without: `(Linear<2, 8>, ReLU, Linear<8, 4>)` is one from 2 to 4.
/// Modules that change while they compute, such as batch normalisation, are none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no net from {I} to {O} numbers",
    label = "as dfdx builds it, it does not map (usize, Const<{I}>) to (usize, Const<{O}>)",
    note = "its inputs are the features that pass and the context; its outputs the transformed features times the parameters of each"
)]
pub trait DfdxModule<E: Scalar, const I: usize, const O: usize>: 'static {
    /// The module itself.
    type Model: TensorCollection<E, E::Device> + Send + Sync + 'static;

    /// Builds it with starting weights of the device's stream.
    ///
    /// # Errors
    /// Where memory runs out.
    #[doc(hidden)]
    fn make(device: &E::Device) -> Result<Self::Model, CpuError>;

    /// Evaluates it.
    ///
    /// # Errors
    /// An operation of dfdx that fails.
    #[doc(hidden)]
    fn evaluate(model: &Self::Model, x: Rows<I, E, NoneTape>) -> Result<Rows<O, E, NoneTape>>;

    /// Evaluates it on a tape.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    #[doc(hidden)]
    fn trace(
        model: &Self::Model,
        x: Rows<I, E, OwnedTape<E, E::Device>>,
    ) -> Result<Rows<O, E, OwnedTape<E, E::Device>>>;
}

// Else rustc tells of the matrix product that does not fit, not of the net.
#[diagnostic::do_not_recommend]
impl<M, E: Scalar, const I: usize, const O: usize> DfdxModule<E, I, O> for M
where
    M: BuildOnDevice<E::Device, E> + 'static,
    M::Built: Send + Sync + 'static,
    M::Built: Module<Rows<I, E, NoneTape>, Output = Rows<O, E, NoneTape>>,
    M::Built:
        Module<Rows<I, E, OwnedTape<E, E::Device>>, Output = Rows<O, E, OwnedTape<E, E::Device>>>,
{
    type Model = M::Built;

    fn make(device: &E::Device) -> Result<M::Built, CpuError> {
        M::try_build_on_device(device)
    }

    fn evaluate(model: &M::Built, x: Rows<I, E, NoneTape>) -> Result<Rows<O, E, NoneTape>> {
        model.try_forward(x).map_err(|error| FlowError::Tensor(format!("{error:?}")))
    }

    fn trace(
        model: &M::Built,
        x: Rows<I, E, OwnedTape<E, E::Device>>,
    ) -> Result<Rows<O, E, OwnedTape<E, E::Device>>> {
        model.try_forward(x).map_err(|error| FlowError::Tensor(format!("{error:?}")))
    }
}

/// Any dfdx module as a net from `I` to `O` numbers: `M` is a builder type such as
/// `(Linear<2, 8>, ReLU, Linear<8, 4>)`.
///
/// Its tensors become parameters of the flow under dfdx's own names, `net.0.weight` for this one's
/// first, those that dfdx does not train become buffers, and it starts as dfdx starts it, with
/// random numbers of the flow's seed. It is computed on a tape of its own inside the pass, and once
/// more for its gradient.
///
/// ```
/// use dfdx::prelude::{Linear, Tanh};
/// use flow_core::blocks::{Coupling, Split};
/// use flow_core::nets::DfdxNet;
/// use flow_core::transforms::{Affine, Scale};
/// use flow_core::{Builder, Shape};
///
/// type Net = (Linear<2, 8>, Tanh, Linear<8, 4>);
/// let mut builder = Builder::<f32>::new(0);
/// let coupling: Coupling<DfdxNet<Net, 2, 4, f32>, Affine> = Coupling::new(
///     &mut builder,
///     Shape::vector(4),
///     0,
///     Split::First,
///     Affine::new(Scale::Exp),
///     |builder, inputs, outputs, last| DfdxNet::new(builder, inputs, outputs, last),
/// )?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub struct DfdxNet<M, const I: usize, const O: usize, E>
where
    E: Scalar,
    M: DfdxModule<E, I, O>,
{
    mirrors: Mirrors<M::Model, E>,
    module: PhantomData<fn() -> M>,
}

impl<M, const I: usize, const O: usize, E> DfdxNet<M, I, O, E>
where
    E: Scalar,
    M: DfdxModule<E, I, O>,
{
    /// Builds the module. How the last layer should start is left to it.
    ///
    /// # Errors
    /// [`FlowError::Option`] on images, and where the block needs other numbers of inputs and outputs
    /// than `I` and `O`.
    pub fn new(
        builder: &mut Builder<E>,
        inputs: Shape,
        outputs: usize,
        _: LastLayer<'_>,
    ) -> Result<Self> {
        if inputs.sides().is_some() {
            return Err(FlowError::option("the input of a module of dfdx", inputs, "a vector"));
        }
        for (which, has, needs) in [("inputs", I, inputs.size()), ("outputs", O, outputs)] {
            if has != needs {
                return Err(FlowError::option(format!("number of {which} of a net"), has, needs));
            }
        }
        let mirrors = builder.scope("net", |builder| Mirrors::new(builder, M::make))?;
        Ok(Self { mirrors, module: PhantomData })
    }
}

impl<M, const I: usize, const O: usize, E> Conditioner<E> for DfdxNet<M, I, O, E>
where
    E: Scalar,
    M: DfdxModule<E, I, O>,
{
    fn inputs(&self) -> usize {
        I
    }

    fn outputs(&self) -> usize {
        O
    }

    fn forward(&self, pass: &mut Pass<'_, E>, input: &[E], output: &mut [E]) -> Result<()> {
        let model = self.mirrors.at(pass.state(), M::make)?;
        let x = tensor(self.mirrors.device(), input, (pass.rows(), Const))?;
        numbers(M::evaluate(&model, x)?, output)?;
        if pass.saving() {
            let input = pass.take_copy(input);
            pass.save(input);
        }
        Ok(())
    }

    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()> {
        let input = pass.restore();
        let (model, device) = (self.mirrors.at(pass.state(), M::make)?, self.mirrors.device());
        let x = tensor(device, &input, (pass.rows(), Const))?;
        pass.give(input);
        let cotangent = tensor(device, output_gradient, (pass.rows(), Const))?;
        let output = M::trace(&model, x.clone().leaky_trace())?;
        let mut gradients = backward(dot(output, cotangent)?, None)?;
        gradient(&mut gradients, &x, input_gradient)?;
        self.mirrors.add_gradients(pass, &model, &mut gradients)
    }
}

#[cfg(test)]
#[path = "dfdx_net_tests.rs"]
mod tests;
