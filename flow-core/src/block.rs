//! The contract between the engine and a block.
//!
//! A block is a bijection with parameters. It works in place on plain buffers: `x` holds
//! `pass.rows()` samples, row after row (images channels-last), and every block keeps the number of
//! entries of a sample. A pass calls the blocks of a flow in their order, and their vector-Jacobian
//! products in the reverse order, so what a block [saves](Pass::save) in a pass comes back from
//! [`Pass::restore`] in its own product, last in, first out.

use crate::engine::{Builder, Pass, Setup, State, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe, Slopes};
use crate::pattern::matches;
use crate::{Result, Scalar, Shape};

/// An invertible map between samples, with its log-determinant and gradients.
///
/// Each of the four passes transforms `x` in place. [`forward`](Self::forward) adds
/// `log |det ∂z/∂x|` of each row to `log_det`, [`inverse`](Self::inverse) adds
/// `log |det ∂x/∂z|`. The products take the gradient of a loss with respect to their pass's output
/// in `gradient` and leave that with respect to its input there; gradients of parameters are added
/// to [`Pass::gradient`], those of the context to [`Pass::context_gradient`].
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::{Block, Pass, Result};
///
/// /// `z = -x`.
/// struct Negate;
///
/// impl<E: Scalar> Block<E> for Negate {
///     fn forward(&self, _: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<()> {
///         x.iter_mut().for_each(|v| *v = -*v);
///         Ok(())
///     }
///     fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], l: &mut [E]) -> Result<()> {
///         self.forward(pass, z, l)
///     }
///     fn forward_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], _: &[E]) -> Result<()> {
///         self.forward(pass, g, &mut [])
///     }
///     fn inverse_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], _: &[E]) -> Result<()> {
///         self.forward(pass, g, &mut [])
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no block of a flow",
    label = "neither `Block` nor made of one",
    note = "implement `flow_core::Block` on plain buffers, or `flow_core::blocks::TensorBlock` and name `OnTape<Self, E>` as the component's block"
)]
pub trait Block<E: Scalar>: Send + Sync + 'static {
    /// Whether this only calls other blocks, through [`Pass::forward`] and its kin. It may rearrange
    /// a row's numbers on the way, in a product as in the opposite of its pass. A product has
    /// [`Pass::rows`] rows, which can be more than there are log-determinants.
    const COMPOSITE: bool = false;

    /// Whether [`inverse`](Self::inverse) saves, at the same point of the data side, just what
    /// [`forward`](Self::forward) does, so that either can run before either product. Then
    /// [`Memory::Inverted`](crate::Memory::Inverted) evaluates the block's net once in its backward
    /// pass, not twice.
    const SAVES_ALIKE: bool = false;

    /// Data to latent.
    ///
    /// # Errors
    /// A row for which it is not defined, or an operation that fails.
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()>;

    /// Latent to data.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and a row whose inverse is not found.
    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()>;

    /// The vector-Jacobian product of [`forward`](Self::forward): `gradient` holds the loss's
    /// gradient by `z` and becomes that by `x`; `log_det` holds the loss's gradient by each row's
    /// log-determinant.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()>;

    /// The vector-Jacobian product of [`inverse`](Self::inverse).
    ///
    /// # Errors
    /// As [`inverse`](Self::inverse).
    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()>;

    /// Computes what depends on the weights alone, once for each change of them.
    ///
    /// # Errors
    /// Weights for which it is not defined, or an operation that fails.
    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let _ = (values, derived);
        Ok(())
    }

    /// Carries the gradient of derived values on to the parameters, once for each pass.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        let _ = (state, derived_gradient, gradient);
        Ok(())
    }

    /// Sets parameters from a first batch, which arrives as this block's input. A composite calls
    /// [`Setup::initialize`] for each child.
    ///
    /// # Errors
    /// A batch that no parameters fit.
    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        let _ = (setup, x);
        Ok(())
    }

    /// Brings parameters back into their domain after an optimiser's step.
    fn project(&self, values: &mut Values<E>) {
        let _ = values;
    }

    /// Records the block as kernels for a GPU: its pass in `to`, and what it returns, its product, in
    /// the order in which that runs. `entries` are the places of its input's numbers in a row of
    /// [`Lowering::x`](crate::cuda::Lowering::x), which it changes in place; a block that only moves
    /// numbers moves the entries instead. A composite needs none.
    ///
    /// # Errors
    /// [`FlowError::NotOnGpu`](crate::FlowError::NotOnGpu), as without code of its own.
    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<flow_cuda::Op>> {
        let _ = (entries, backwards);
        Err(to.unsupported(None))
    }

    /// Records what [`prepare`](Self::prepare) and [`finish`](Self::finish) do, in a training on a
    /// GPU. Without code of its own they run on the CPU in each step, and so does
    /// [`project`](Self::project).
    #[cfg(feature = "cuda")]
    fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
        to.weights_on_cpu();
    }

    /// What holds for this block at every weight.
    fn facts(&self) -> Facts {
        Facts::UNKNOWN
    }

    /// How much the block can amplify a change at the points that the probe stands for, at its
    /// weights; it leaves the box of what it makes of them. Without code of its own a block knows
    /// only what its [`facts`](Self::facts) say, and nothing of the box.
    ///
    /// # Errors
    /// A region on which it is not defined, or an operation that fails.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        probe.lose_region();
        Ok(Amplification::architectural(self.facts()))
    }

    /// Adds the gradient of `by[0]·ln f + by[1]·ln g` to `slopes`, where f and g are the bounds of
    /// both directions that [`amplification`](Self::amplification) certifies everywhere; false where
    /// it cannot, as without code of its own.
    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], slopes: &mut Slopes<E>) -> bool {
        let _ = (state, by, slopes);
        false
    }

    /// The block on a box with all its Jacobians there, in the direction in which the probe goes: with
    /// that of every block the bounds of a whole flow on small boxes are close, where the product of
    /// [`amplification`](Self::amplification)s grows with each block. Leaves the probe as it was. None
    /// where the block does not know them.
    ///
    /// # Errors
    /// As [`amplification`](Self::amplification).
    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let _ = (probe, cell);
        Ok(None)
    }
}

/// What kind of log-determinant a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDet {
    /// 0 for every input and weight.
    Zero,
    /// The same for every input.
    Constant,
    /// Depends on the input.
    Varying,
}

/// What holds for a block at every weight, known from its architecture alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// The inverse has a closed form.
    pub analytic_inverse: bool,
    /// The kind of log-determinant.
    pub log_det: LogDet,
    /// Both directions have a finite Lipschitz constant at every weight.
    pub bi_lipschitz: bool,
    /// Activations can be recomputed from the block's output.
    pub memory_saving: bool,
    /// There is an inverse that can be run: only `planar`, `radial` and `sylvester` have none.
    pub invertible: bool,
    /// A Lipschitz constant of the forward direction for all weights, infinite where none exists.
    pub forward: f64,
    /// A Lipschitz constant of the inverse for all weights, infinite where none exists.
    pub inverse: f64,
}

impl Facts {
    /// Nothing is known but that there is an inverse.
    pub const UNKNOWN: Self = Self {
        analytic_inverse: false,
        log_det: LogDet::Varying,
        bi_lipschitz: false,
        memory_saving: false,
        invertible: true,
        forward: f64::INFINITY,
        inverse: f64::INFINITY,
    };

    /// An isometry with a closed inverse, such as a permutation.
    pub const ISOMETRY: Self = Self {
        analytic_inverse: true,
        log_det: LogDet::Zero,
        bi_lipschitz: true,
        memory_saving: true,
        invertible: true,
        forward: 1.0,
        inverse: 1.0,
    };

    /// The facts of this block followed by another.
    pub const fn then(self, next: Self) -> Self {
        let log_det = match (self.log_det, next.log_det) {
            (LogDet::Zero, LogDet::Zero) => LogDet::Zero,
            (LogDet::Varying, _) | (_, LogDet::Varying) => LogDet::Varying,
            _ => LogDet::Constant,
        };
        Self {
            analytic_inverse: self.analytic_inverse && next.analytic_inverse,
            log_det,
            bi_lipschitz: self.bi_lipschitz && next.bi_lipschitz,
            memory_saving: self.memory_saving && next.memory_saving,
            invertible: self.invertible && next.invertible,
            forward: self.forward * next.forward,
            inverse: self.inverse * next.inverse,
        }
    }

    /// The facts of `count` such blocks in a row.
    pub const fn repeated(self, count: usize) -> Self {
        let mut all = Self::ISOMETRY;
        let mut i = 0;
        while i < count {
            all = all.then(self);
            i += 1;
        }
        all
    }
}

/// Where a component stands in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The shape of its input.
    pub input: Shape,
    /// The shape that the flow expects of its output.
    pub output: Shape,
    /// Numbers a row of the flow's context, 0 where it has none.
    pub context: usize,
}

/// What may stand after `use` in a flow: a block of one's own, or another flow.
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::{Block, Builder, Component, Facts, Pass, Result, Site};
/// # struct Negate;
/// # impl<E: Scalar> Block<E> for Negate {
/// #     fn forward(&self, _: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<()> {
/// #         x.iter_mut().for_each(|v| *v = -*v);
/// #         Ok(())
/// #     }
/// #     fn inverse(&self, p: &mut Pass<'_, E>, z: &mut [E], l: &mut [E]) -> Result<()> { self.forward(p, z, l) }
/// #     fn forward_vjp(&self, p: &mut Pass<'_, E>, g: &mut [E], _: &[E]) -> Result<()> { self.forward(p, g, &mut []) }
/// #     fn inverse_vjp(&self, p: &mut Pass<'_, E>, g: &mut [E], _: &[E]) -> Result<()> { self.forward(p, g, &mut []) }
/// # }
/// impl<E: Scalar> Component<E> for Negate {
///     type Block = Self;
///     type Arguments = ();
///     const FACTS: Facts = Facts::ISOMETRY;
///     fn component(_: &mut Builder<E>, _: Site, _: ()) -> Result<Self> {
///         Ok(Self)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand after `use` in a flow",
    label = "neither a flow nor a block",
    note = "implement `flow_core::Component` for it: see \"Blocks of one's own\" in the crate's documentation"
)]
pub trait Component<E: Scalar> {
    /// The block that stands in the flow.
    type Block: Block<E>;

    /// What stands in parentheses after the path, as a tuple.
    type Arguments;

    /// What the contracts of a flow may assume of it.
    const FACTS: Facts = Facts::UNKNOWN;

    /// The one shape it takes, or any.
    const INPUT: Option<Shape> = None;

    /// The one shape it gives, or that of its input.
    const OUTPUT: Option<Shape> = None;

    /// Numbers a row of the context it needs.
    const CONTEXT: usize = 0;

    /// Builds the block with its starting weights.
    ///
    /// # Errors
    /// An option out of its range, or a shape that the block does not fit.
    fn component(
        builder: &mut Builder<E>,
        site: Site,
        arguments: Self::Arguments,
    ) -> Result<Self::Block>;
}

/// A block's line in the summary of a flow, as the compiler derived it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// Its path with `*` for iterations: `steps.*.0`.
    pub path: &'static str,
    /// The block as it stands in the source.
    pub text: &'static str,
    /// How often it is repeated.
    pub count: usize,
    /// The shape of its input.
    pub input: Shape,
    /// The shape of its output.
    pub output: Shape,
    /// What holds at every weight.
    pub facts: Facts,
}

impl Item {
    /// The block at that path as it stands in the source.
    pub(crate) fn text_at(items: &[Self], path: &str) -> String {
        let at =
            |item: &&Self| matches(item.path, path) || matches(&format!("{}.*", item.path), path);
        let item = items.iter().find(at);
        item.map_or_else(|| "the block".into(), |item| format!("`{}`", item.text))
    }
}
