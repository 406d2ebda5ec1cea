use dfdx::nn::tensor_collection::TensorCollection;
use dfdx::prelude::{Tape, Tensor, Trace};
use dfdx::tensor::CpuError;

use crate::engine::{to_channels_first, to_channels_last, Builder, Pass};
use crate::module::{backward, dot, gradient, numbers, tensor, Mirrors};
use crate::{Block, Event, Facts, FlowError, Result, Scalar, Site};

/// A batch of `N` samples on a tape.
type Batch<N, E, T> = Tensor<<N as Event>::Batch<usize>, E, <E as Scalar>::Device, T>;

/// One number for each row.
type Numbers<E, T> = Tensor<(usize,), E, <E as Scalar>::Device, T>;

/// A block written with operations of dfdx; [`OnTape`] makes a [`Block`] of it.
///
/// Both directions return their output and the log-determinant of each row, so they are generic
/// over the tape: dfdx finds the gradients. Tensors live on [`Scalar::Device`], which is dfdx's
/// `Cpu`. [`Component`](crate::Component) says how the block is made where `use` names it.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::blocks::{OnTape, TensorBlock};
/// use flow_core::{Builder, Component, Result, Scalar, Site, Vector};
///
/// /// `z = x·exp(s)` with one `s` for each of two features.
/// struct Stretch;
///
/// type Rows<E, T> = Tensor<(usize, Const<2>), E, <E as Scalar>::Device, T>;
/// type Numbers<E, T> = Tensor<(usize,), E, <E as Scalar>::Device, T>;
///
/// impl<E: Scalar> TensorBlock<E> for Stretch {
///     type Event = Vector<2>;
///     type Tensors = Tensor<Rank1<2>, E, E::Device>;
///
///     fn tensors(&self, device: &E::Device) -> Result<Self::Tensors, CpuError> {
///         device.try_zeros()
///     }
///
///     fn forward<T: Tape<E, E::Device>>(
///         &self,
///         s: &Self::Tensors,
///         x: Rows<E, T>,
///     ) -> Result<(Rows<E, T>, Numbers<E, T>)> {
///         let shape = *x.shape();
///         let s = s.retaped::<T>().try_broadcast_like(&shape)?;
///         let log_det = s.with_empty_tape().try_sum()?;
///         Ok((x.try_mul(s.try_exp()?)?, log_det))
///     }
///
///     fn inverse<T: Tape<E, E::Device>>(
///         &self,
///         s: &Self::Tensors,
///         z: Rows<E, T>,
///     ) -> Result<(Rows<E, T>, Numbers<E, T>)> {
///         let shape = *z.shape();
///         let s = s.retaped::<T>().try_negate()?.try_broadcast_like(&shape)?;
///         let log_det = s.with_empty_tape().try_sum()?;
///         Ok((z.try_mul(s.try_exp()?)?, log_det))
///     }
/// }
///
/// // `use Stretch` in a flow:
/// impl<E: Scalar> Component<E> for Stretch {
///     type Block = OnTape<Self, E>;
///     type Arguments = ();
///
///     fn component(builder: &mut Builder<E>, site: Site, _: ()) -> Result<Self::Block> {
///         OnTape::new(builder, site, Stretch)
///     }
/// }
/// ```
pub trait TensorBlock<E: Scalar>: Send + Sync + 'static {
    /// What one sample is, on both sides.
    type Event: Event;

    /// The tensors that it trains: any dfdx module, a tensor of constant shape, or a tuple of such.
    /// Those that the module does not train become buffers.
    type Tensors: TensorCollection<E, E::Device> + Send + Sync + 'static;

    /// What holds at every weight.
    const FACTS: Facts = Facts::UNKNOWN;

    /// The starting tensors; random ones come from the device, whose seed is the flow's.
    ///
    /// # Errors
    /// Where memory runs out.
    fn tensors(&self, device: &E::Device) -> Result<Self::Tensors, CpuError>;

    /// Data to latent, with `log |det ∂z/∂x|` of each row.
    ///
    /// # Errors
    /// An operation of dfdx that fails, or the block's own.
    fn forward<T: Tape<E, E::Device>>(
        &self,
        tensors: &Self::Tensors,
        x: Batch<Self::Event, E, T>,
    ) -> Result<(Batch<Self::Event, E, T>, Numbers<E, T>)>;

    /// Latent to data, with `log |det ∂x/∂z|` of each row.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn inverse<T: Tape<E, E::Device>>(
        &self,
        tensors: &Self::Tensors,
        z: Batch<Self::Event, E, T>,
    ) -> Result<(Batch<Self::Event, E, T>, Numbers<E, T>)>;
}

/// Runs a [`TensorBlock`] on a tape of its own inside the pass.
///
/// The pass itself is computed without a tape and keeps the block's input alone; the gradient
/// computes it once more on a tape and differentiates
/// `Σ output · cotangent + Σ log_det · cotangent`. So a flow stays one operation for dfdx.
///
/// Parameters have dfdx's own names (`weight` for a bare tensor) under the block's path.
pub struct OnTape<B: TensorBlock<E>, E: Scalar> {
    block: B,
    mirrors: Mirrors<B::Tensors, E>,
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Inverse,
}

impl<B: TensorBlock<E>, E: Scalar> OnTape<B, E> {
    /// Makes the block's tensors.
    ///
    /// # Errors
    /// [`FlowError::BlockShape`] where the block stands at another shape than its own, and what
    /// dfdx reports.
    pub fn new(builder: &mut Builder<E>, site: Site, block: B) -> Result<Self> {
        let expected = B::Event::SHAPE;
        for found in [site.input, site.output] {
            if !expected.same(found) {
                let name = std::any::type_name::<B>();
                let block = name.rsplit("::").next().unwrap_or(name).to_string();
                return Err(FlowError::BlockShape { block, found, expected });
            }
        }
        let mirrors = Mirrors::new(builder, |device| block.tensors(device))?;
        Ok(Self { block, mirrors })
    }

    fn evaluate<T: Tape<E, E::Device>>(
        &self,
        direction: Direction,
        tensors: &B::Tensors,
        x: Batch<B::Event, E, T>,
    ) -> Result<(Batch<B::Event, E, T>, Numbers<E, T>)> {
        match direction {
            Direction::Forward => self.block.forward(tensors, x),
            Direction::Inverse => self.block.inverse(tensors, x),
        }
    }

    fn run(
        &self,
        direction: Direction,
        pass: &mut Pass<'_, E>,
        x: &mut [E],
        log_det: &mut [E],
    ) -> Result<()> {
        to_channels_first(B::Event::SHAPE, x);
        if pass.saving() {
            let input = pass.take_copy(x);
            pass.save(input);
        }
        let tensors = self.tensors(pass)?;
        let input = tensor(self.mirrors.device(), x, B::Event::batch(pass.rows()))?;
        let (output, added) = self.evaluate(direction, &tensors, input)?;
        numbers(output, x)?;
        to_channels_last(B::Event::SHAPE, x);
        let mut sum = pass.take(log_det.len());
        numbers(added, &mut sum)?;
        crate::backend::cpu::elementwise::add(log_det, &sum);
        pass.give(sum);
        Ok(())
    }

    fn product(
        &self,
        direction: Direction,
        pass: &mut Pass<'_, E>,
        by_output: &mut [E],
        by_log_det: &[E],
    ) -> Result<()> {
        let shape = B::Event::batch(pass.rows());
        let (tensors, device) = (self.tensors(pass)?, self.mirrors.device());
        let input = pass.restore();
        let x = tensor(device, &input, shape)?;
        pass.give(input);
        to_channels_first(B::Event::SHAPE, by_output);
        let (output, log_det) = self.evaluate(direction, &tensors, x.clone().leaky_trace())?;
        let loss = dot(output, tensor(device, by_output, shape)?)?;
        let other = dot(log_det, tensor(device, by_log_det, (pass.rows(),))?)?;
        let mut gradients = backward(loss, Some(other))?;
        gradient(&mut gradients, &x, by_output)?;
        to_channels_last(B::Event::SHAPE, by_output);
        self.mirrors.add_gradients(pass, &tensors, &mut gradients)
    }

    fn tensors(&self, pass: &Pass<'_, E>) -> Result<std::sync::Arc<B::Tensors>> {
        self.mirrors.at(pass.state(), |device| self.block.tensors(device))
    }
}

impl<B: TensorBlock<E>, E: Scalar> Block<E> for OnTape<B, E> {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.run(Direction::Forward, pass, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.run(Direction::Inverse, pass, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(Direction::Forward, pass, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(Direction::Inverse, pass, gradient, log_det)
    }

    fn facts(&self) -> Facts {
        B::FACTS
    }
}

#[cfg(test)]
#[path = "on_tape_tests.rs"]
mod tests;
