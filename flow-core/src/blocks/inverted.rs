use crate::engine::{Pass, State, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe, Slopes};
use crate::{Block, Facts, Result, Scalar};

/// A block the other way round: its inverse leads from data to latent.
///
/// Around a [`MaskedAutoregressive`](super::MaskedAutoregressive) block it makes the inverse
/// autoregressive one, whose samples cost one evaluation of the net without any sequence (Kingma et
/// al. 2016, "Improved Variational Inference with Inverse Autoregressive Flow").
///
/// `B` must be no composite, and have nothing to set from data.
#[derive(Clone, Debug)]
pub struct Inverted<B>(B);

impl<B> Inverted<B> {
    /// The inverse of that block.
    pub const fn new(block: B) -> Self {
        Self(block)
    }
}

impl<E: Scalar, B: Block<E>> Block<E> for Inverted<B> {
    // A composite moves on leaf by leaf, in the direction of the pass.
    const COMPOSITE: bool = {
        assert!(!B::COMPOSITE, "only a single block can be inverted");
        false
    };

    const SAVES_ALIKE: bool = B::SAVES_ALIKE;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.0.inverse(pass, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.0.forward(pass, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.0.inverse_vjp(pass, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.0.forward_vjp(pass, gradient, log_det)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.0.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.0.finish(state, derived_gradient, gradient)
    }

    fn project(&self, values: &mut Values<E>) {
        self.0.project(values);
    }

    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<flow_cuda::Op>> {
        self.0.lower(to, entries, !backwards)
    }

    #[cfg(feature = "cuda")]
    fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
        self.0.lower_weights(to);
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        Ok(probe.turned(|probe| self.0.amplification(probe))?.turned())
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        probe.turned(|probe| self.0.mean_value(probe, cell))
    }

    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        self.0.add_bound_slopes(state, [by[1], by[0]], to)
    }

    fn facts(&self) -> Facts {
        let facts = self.0.facts();
        Facts { forward: facts.inverse, inverse: facts.forward, ..facts }
    }
}
