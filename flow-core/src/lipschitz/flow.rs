//! Bounds of whole flows.

use dfdx::prelude::Cpu;

use super::bounds::extremes;
use super::slopes::ErrandKind;
use super::{Amplification, BlockBound, Bound, Bounds, Interval, Probe, Region, Scope, Way};
use crate::engine::to_channels_last;
use crate::{Architecture, Context, Event, Flow, FlowError, Result, Scalar};

impl<A: Architecture<E>, E: Scalar> Flow<A, E, Cpu> {
    /// Upper bounds of how much the flow and its inverse can amplify a change at the points of a
    /// region (paper "Understanding and mitigating exploding inverses", table 3 and appendix B).
    ///
    /// On everything both are Lipschitz constants. On a box of data the forward bound is a Lipschitz
    /// constant there, and the inverse one says how the inverse amplifies small errors at the images
    /// of the box's points; on a box of latents the other way round.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::lipschitz::Region;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Pair: Vector<2> {
    ///         affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([16], swish));
    ///         affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([16], swish));
    ///     }
    /// }
    ///
    /// let flow = Pair::<f32>::build(&Cpu::default(), 0)?;
    /// let bounds = flow.bilipschitz(&Region::cube(-1.0, 1.0))?;
    /// assert!(bounds.forward.value() < 1.1 && bounds.inverse.value() < 1.4);
    /// println!("{bounds}");
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// A region that does not fit the flow, a flow that is given a context (which wants
    /// [`bilipschitz_given`](Self::bilipschitz_given)), or weights that are not finite or that no block
    /// can use.
    pub fn bilipschitz(&self, region: &Region) -> Result<Bounds> {
        if A::Context::SIZE > 0 {
            let expected = A::Context::SIZE;
            return Err(FlowError::MissingContext { flow: A::NAME.into(), expected });
        }
        self.bounds(region, vec![Vec::new()])
    }

    /// [`bilipschitz`](Self::bilipschitz) of a flow that is given a context of that region.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::lipschitz::Region;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Steered: Vector<2> given Vector<1> {
    ///         affine_coupling(net = mlp([8], tanh, zero_init = false));
    ///         affine_coupling(net = mlp([8], tanh, zero_init = false));
    ///     }
    /// }
    ///
    /// let flow = Steered::<f32>::build(&Cpu::default(), 0)?;
    /// let of_contexts = |region| flow.bilipschitz_given(&Region::cube(-0.1, 0.1), &region);
    /// let (one, some) = (of_contexts(Region::cube(0.5, 0.5))?, of_contexts(Region::cube(0.0, 1.0))?);
    /// assert!(one.forward.value() <= some.forward.value());
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`bilipschitz`](Self::bilipschitz), or a region of contexts that does not fit.
    pub fn bilipschitz_given(&self, region: &Region, contexts: &Region) -> Result<Bounds> {
        let shape = crate::Shape::vector(A::Context::SIZE);
        let everything = || vec![vec![Interval::EVERYTHING; A::Context::SIZE]];
        self.bounds(region, contexts.boxes(shape)?.unwrap_or_else(everything))
    }

    /// The logarithm of the product of all blocks' bounds in both directions, everywhere, with its
    /// gradient by all parameters.
    pub(crate) fn bound_and_slopes(&self) -> Result<(f64, Vec<E>)> {
        self.errand(ErrandKind::Bounds)
    }

    /// `Σ (log |det|/size)²` over the blocks whose log-determinant does not depend on the input, with
    /// its gradient by all parameters.
    pub(crate) fn log_determinants_and_slopes(&self) -> Result<(f64, Vec<E>)> {
        self.errand(ErrandKind::LogDeterminants { size: A::Event::SHAPE.size() })
    }

    fn errand(&self, kind: ErrandKind) -> Result<(f64, Vec<E>)> {
        let machine = self.machine();
        let everything = |size| vec![Interval::EVERYTHING; size];
        let (region, context) = (everything(A::Event::SHAPE.size()), everything(A::Context::SIZE));
        let leaves = &machine.layout().leaves;
        let mut probe = Probe::new(machine.state(), leaves, false, region, context).on(kind);
        probe.visit(machine.blocks())?;
        let (sum, slopes) = probe.finish_errand()?;
        Ok((sum, slopes.finish(machine.blocks(), machine.state())?))
    }

    /// Refuses weights with which nothing can be computed, so that nothing is certified of them.
    fn finite(&self) -> Result<()> {
        for tensor in self.parameters().chain(self.buffers()) {
            if let Some(at) = tensor.values.iter().position(|v| !v.is_finite()) {
                let what = format!("entry {at} of `{}`", tensor.name);
                return Err(FlowError::option(what, tensor.values[at].as_f64(), "a finite number"));
            }
        }
        Ok(())
    }

    fn bounds(&self, region: &Region, contexts: Vec<Vec<Interval>>) -> Result<Bounds> {
        self.finite()?;
        let backwards = region.is_of_latents();
        let shape = if backwards { A::Latent::SHAPE } else { A::Event::SHAPE };
        let boxes = region.boxes(shape)?;
        let everywhere = boxes.is_none();
        let boxes = boxes.unwrap_or_else(|| vec![vec![Interval::EVERYTHING; shape.size()]]);
        let mut worst: Option<([Amplification; 2], Vec<BlockBound>)> = None;
        for part in boxes {
            let mut part = part;
            to_channels_last(shape, &mut part);
            for context in &contexts {
                let (machine, part) = (self.machine(), part.clone());
                let leaves = &machine.layout().leaves;
                let mut probe =
                    Probe::new(machine.state(), leaves, backwards, part, context.clone());
                let product = probe.visit(machine.blocks())?;
                let (blocks, whole) = probe.finish();
                let found = [product, product.or(whole)];
                worst = Some(match worst {
                    None => (found, blocks),
                    Some((before, others)) => {
                        let both = others.into_iter().zip(blocks);
                        let all = [0, 1].map(|i| before[i].worse(found[i]));
                        (all, both.map(|(a, b)| worse(a, b)).collect())
                    }
                });
            }
        }
        let ([product, all], blocks) = worst.unwrap_or(([Amplification::ISOMETRY; 2], Vec::new()));
        let bound = |log: f64, product: f64, with_the_probe: bool| {
            let scope = match (everywhere, with_the_probe) {
                (true, _) => Scope::Global,
                (false, true) => Scope::Local,
                (false, false) => Scope::Pointwise,
            };
            let way = if log < product { Way::Whole } else { Way::Product };
            Bound { log, scope, kind: all.kind, way }
        };
        Ok(Bounds {
            forward: bound(all.forward, product.forward, !backwards),
            inverse: bound(all.inverse, product.inverse, backwards),
            blocks,
        })
    }
}

fn worse(a: BlockBound, b: BlockBound) -> BlockBound {
    let sides = [a.input, b.input].into_iter().flatten();
    let sides: Vec<Interval> = sides.map(|(low, high)| Interval::new(low, high)).collect();
    BlockBound {
        path: a.path,
        own: a.own.worse(b.own),
        running: a.running.worse(b.running),
        input: if sides.len() == 2 { extremes(&sides) } else { None },
    }
}
