//! The base distribution on plain buffers.

use super::spare::lock;
use super::Machine;
use crate::base::Base;
use crate::engine::batch;
use crate::engine::gradients::Gradients;
use crate::engine::pass::Pass;
use crate::{Architecture, Event, Noise, Scalar};

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    /// Draws `rows` latents; with `log_prob`, also adds each one's density to it.
    pub(crate) fn sample_base(
        &self,
        rows: usize,
        noise: &Noise,
        temperature: f64,
        log_prob: Option<&mut [E]>,
    ) -> Vec<E> {
        let size = A::Latent::SHAPE.size();
        let mut z = vec![E::zero(); rows * size];
        let groups = self.groups(rows);
        let jobs: Vec<_> =
            groups.iter().cloned().zip(batch::split(&mut z, &groups, size)).collect();
        batch::each(jobs, |(range, z)| {
            self.base.sample(&self.state, noise, range.start, temperature, z);
        });
        if let Some(log_prob) = log_prob {
            self.base_log_prob(&z, log_prob);
        }
        z
    }

    /// Adds the density of each latent under the base to its number.
    pub(crate) fn base_log_prob(&self, z: &[E], numbers: &mut [E]) {
        let (mut workspace, mut none) = (self.workspace(), Gradients::default());
        let mut pass = Pass::new(numbers.len(), &self.state, &[], &mut workspace, &mut none);
        self.base.log_prob(&mut pass, z, numbers);
        lock(&self.spare.workspaces).push(workspace);
    }

    /// The gradients of [`base_log_prob`](Self::base_log_prob): by the latents, and by all
    /// parameters.
    pub(crate) fn base_log_prob_vjp(&self, z: &[E], by_number: &[E]) -> (Vec<E>, Vec<E>) {
        let (mut workspace, mut gradients) = (self.workspace(), self.gradients(0, true));
        let mut pass = Pass::new(by_number.len(), &self.state, &[], &mut workspace, &mut gradients);
        let mut by_z = vec![E::zero(); z.len()];
        self.base.log_prob_vjp(&mut pass, z, by_number, &mut by_z);
        lock(&self.spare.workspaces).push(workspace);
        (by_z, std::mem::take(gradients.whole().0))
    }
}
