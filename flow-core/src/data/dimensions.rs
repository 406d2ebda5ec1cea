//! More or fewer features of vectors, and channels of images.

use dfdx::prelude::{Const, Cpu, Dim, HasShape, PutTape, Shape, Tape, Tensor};
use num_traits::Zero;

use crate::engine::tensor;
use crate::engine::{adds_to, ordered};
use crate::{FlowError, Noise, Result, Scalar};

/// Batches whose features can be added to: `(N, Const<D>)` of vectors, and
/// `(N, Const<C>, Const<H>, Const<W>)` of images, whose features are channels.
pub trait Features: Sized + sealed::Sealed {
    /// Its numbers.
    type Scalar: Scalar;
    /// Its rows.
    type Rows: Dim;
    /// The same with `M` features.
    type With<const M: usize>;

    /// The first `M` features, with `filling` behind them where there are fewer: its numbers row
    /// by row, or zeros where it is empty.
    #[doc(hidden)]
    fn resized<const M: usize>(self, filling: &[Self::Scalar]) -> Result<Self::With<M>>;

    /// Rows, features and pixels.
    #[doc(hidden)]
    fn sizes(&self) -> (Self::Rows, usize, usize);
}

/// Zeros behind the features there are, up to `M`.
///
/// Data so padded lie on a plane, where a density has no upper limit: for a likelihood,
/// [`pad_noise`] is the right one.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::data::pad;
/// let x = Cpu::default().tensor([[1.0, 2.0], [3.0, 4.0]]);
/// let padded = pad::<3, _>(x)?;
/// assert_eq!(padded.array(), [[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]]);
/// # Ok::<(), flow_core::FlowError>(())
/// ```
///
/// # Errors
/// Where `M` is less than the features there are, or there are no rows.
pub fn pad<const M: usize, X: Features>(x: X) -> Result<X::With<M>> {
    room::<M, X>(&x)?;
    x.resized::<M>(&[])
}

/// Normal noise of a standard deviation behind the features there are, up to `M`, and the
/// log-density of each row's noise in nats.
///
/// With noise `e` and its density `q`, the mean of `ln p(x, e) − ln q(e)` is a lower bound of
/// `ln p(x)` under a flow of all `M` features (Huang, Dinh and Courville 2020, "Augmented
/// normalizing flows", section 3). The noise is split once a call.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::data::pad_noise;
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Augmented: Vector<4> {
///         affine_coupling(net = mlp([8], relu));
///         affine_coupling(net = mlp([8], relu));
///     }
/// }
///
/// let cpu = Cpu::default();
/// let flow = Augmented::<f64>::build(&cpu, 0)?;
/// let x = cpu.tensor([[1.0, 2.0], [3.0, 4.0]]);
/// let (padded, log_q) = pad_noise::<4, _>(x.trace(flow.alloc_grads()), 1.0, &mut Noise::seed(1))?;
/// let bound = flow.log_prob(padded)? - log_q;
/// let gradients = bound.mean().negate().backward();
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// As [`pad`], or a standard deviation that is not a positive number.
pub fn pad_noise<const M: usize, X: Features>(
    x: X,
    deviation: f64,
    noise: &mut Noise,
) -> Result<(X::With<M>, Tensor<(X::Rows,), X::Scalar, Cpu>)> {
    if !(deviation > 0.0 && deviation.is_finite()) {
        let option = "the standard deviation of the padding";
        return Err(FlowError::option(option, deviation, "a positive number"));
    }
    let (rows, width) = room::<M, X>(&x)?;
    let mut filling = vec![X::Scalar::zero(); rows.size() * width];
    noise.split().fill_normal(0, &mut filling);
    let constant = width as f64 * (deviation.ln() + 0.5 * std::f64::consts::TAU.ln());
    let mut log_density = vec![X::Scalar::of(-constant); rows.size()];
    for (row, log_density) in filling.chunks_exact_mut(width.max(1)).zip(&mut log_density) {
        let squares: f64 = row.iter().map(|e| e.as_f64().powi(2)).sum();
        *log_density -= X::Scalar::of(0.5 * squares);
        row.iter_mut().for_each(|e| *e *= X::Scalar::of(deviation));
    }
    Ok((x.resized::<M>(&filling)?, tensor(log_density, (rows,))?))
}

/// The first `M` features.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::data::slice;
/// let x = Cpu::default().tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
/// assert_eq!(slice::<2, _>(x)?.array(), [[1.0, 2.0], [4.0, 5.0]]);
/// # Ok::<(), flow_core::FlowError>(())
/// ```
///
/// # Errors
/// Where `M` is 0 or more than the features there are, or there are no rows.
pub fn slice<const M: usize, X: Features>(x: X) -> Result<X::With<M>> {
    let (rows, features, _) = x.sizes();
    some(rows.size())?;
    if M == 0 || M > features {
        let expected = format!("1 to {features}, as many as there are");
        return Err(FlowError::option("the number of features to keep", M, expected));
    }
    x.resized::<M>(&[])
}

/// Rows, and the numbers that padding adds to each.
fn room<const M: usize, X: Features>(x: &X) -> Result<(X::Rows, usize)> {
    let (rows, features, pixels) = x.sizes();
    some(rows.size())?;
    match M.checked_sub(features) {
        Some(more) => Ok((rows, more * pixels)),
        None => {
            let expected = format!("at least {features}, as many as there are");
            Err(FlowError::option("the number of features to pad to", M, expected))
        }
    }
}

fn some(rows: usize) -> Result<()> {
    match rows {
        0 => Err(FlowError::EmptyBatch { what: "batch".into() }),
        _ => Ok(()),
    }
}

mod sealed {
    pub trait Sealed {}
    impl<S: dfdx::prelude::Shape, E, T> Sealed for dfdx::prelude::Tensor<S, E, super::Cpu, T> where
        super::Cpu: dfdx::prelude::Storage<E>
    {
    }
}

impl<N: Dim, const D: usize, E: Scalar, T: Tape<E, Cpu>> Features
    for Tensor<(N, Const<D>), E, Cpu, T>
{
    type Scalar = E;
    type Rows = N;
    type With<const M: usize> = Tensor<(N, Const<M>), E, Cpu, T>;

    fn resized<const M: usize>(self, filling: &[E]) -> Result<Self::With<M>> {
        let shape = (self.shape().0, Const);
        resize(self, shape, filling)
    }

    fn sizes(&self) -> (N, usize, usize) {
        (self.shape().0, D, 1)
    }
}

impl<N: Dim, const C: usize, const H: usize, const W: usize, E: Scalar, T: Tape<E, Cpu>> Features
    for Tensor<(N, Const<C>, Const<H>, Const<W>), E, Cpu, T>
{
    type Scalar = E;
    type Rows = N;
    type With<const M: usize> = Tensor<(N, Const<M>, Const<H>, Const<W>), E, Cpu, T>;

    fn resized<const M: usize>(self, filling: &[E]) -> Result<Self::With<M>> {
        let shape = (self.shape().0, Const, Const, Const);
        resize(self, shape, filling)
    }

    fn sizes(&self) -> (N, usize, usize) {
        (self.shape().0, C, H * W)
    }
}

/// Channels come first in a row, so an image's row is cut or lengthened as a vector's is.
fn resize<S: Shape, R: Shape, E: Scalar, T: Tape<E, Cpu>>(
    x: Tensor<S, E, Cpu, T>,
    shape: R,
    filling: &[E],
) -> Result<Tensor<R, E, Cpu, T>> {
    let (x, mut tape) = ordered(x)?;
    let add_x = adds_to(&x);
    let rows = x.shape().concrete()[0];
    let (old, new) = (x.shape().num_elements() / rows, shape.num_elements() / rows);
    let kept = old.min(new);
    let numbers = x.as_vec();
    let mut resized = vec![E::zero(); rows * new];
    for (i, row) in resized.chunks_exact_mut(new).enumerate() {
        row[..kept].copy_from_slice(&numbers[i * old..][..kept]);
        if !filling.is_empty() {
            row[kept..].copy_from_slice(&filling[i * (new - kept)..][..new - kept]);
        }
    }
    let resized = tensor(resized, shape)?;
    if T::OWNS_TAPE {
        let by_resized = resized.ghost();
        tape.add_backward_op(move |gradients| {
            let by_resized = E::slice(gradients.get_or_alloc_mut(&by_resized)?);
            let mut gradient = vec![E::zero(); rows * old];
            for (row, by) in gradient.chunks_exact_mut(old).zip(by_resized.chunks_exact(new)) {
                row[..kept].copy_from_slice(&by[..kept]);
            }
            add_x(gradients, &gradient)
        });
    }
    Ok(resized.put_tape(tape))
}
