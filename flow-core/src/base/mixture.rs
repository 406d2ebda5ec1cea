use super::Base;
use crate::engine::{Builder, Parameter, Pass, Start, State};
use crate::{Noise, Result, Scalar};

/// `K` diagonal Gaussians, trained: `base.weights` \[K\] (logits), `base.means` \[K, d\] and
/// `base.log_scales` \[K, d\].
///
/// The means start standard normal, everything else at 0. A temperature scales each component
/// around its mean and leaves the weights alone.
#[derive(Clone, Debug)]
pub struct Mixture<const K: usize> {
    size: usize,
    weights: Parameter,
    means: Parameter,
    log_scales: Parameter,
}

impl<const K: usize> Mixture<K> {
    /// The joint log-density of a row and each component, into `joint`, less `ln Σ exp(weights)`.
    fn joint<E: Scalar>(&self, pass: &Pass<'_, E>, z: &[E], joint: &mut [E; K]) {
        let (logits, means, log_scales) = self.values(pass.state());
        let constant = E::of(0.5 * self.size as f64 * std::f64::consts::TAU.ln());
        let half = E::of(0.5);
        for (k, joint) in joint.iter_mut().enumerate() {
            let component = k * self.size..(k + 1) * self.size;
            let parts = z.iter().zip(&means[component.clone()]).zip(&log_scales[component]);
            *joint = parts.fold(logits[k] - constant, |sum, ((&z, &mean), &log_scale)| {
                let standard = (z - mean) * (-log_scale).exp();
                sum - log_scale - half * standard * standard
            });
        }
    }

    fn values<'a, E: Scalar>(&self, state: &'a State<E>) -> (&'a [E], &'a [E], &'a [E]) {
        let values = &state.values;
        let (weights, means) = (values.parameter(&self.weights), values.parameter(&self.means));
        (weights, means, values.parameter(&self.log_scales))
    }
}

impl<E: Scalar, const K: usize> Base<E> for Mixture<K> {
    fn name() -> String {
        format!("mixture({K})")
    }

    fn new(builder: &mut Builder<E>, size: usize) -> Result<Self> {
        Ok(Self {
            size,
            weights: builder.parameter("weights", &[K], Start::Constant(0.0)),
            means: builder.parameter("means", &[K, size], Start::Normal),
            log_scales: builder.parameter("log_scales", &[K, size], Start::Constant(0.0)),
        })
    }

    fn log_prob(&self, pass: &mut Pass<'_, E>, z: &[E], out: &mut [E]) {
        let normaliser = log_sum_exp(self.values(pass.state()).0);
        let mut joint = [E::zero(); K];
        for (row, out) in z.chunks_exact(self.size).zip(out) {
            self.joint(pass, row, &mut joint);
            *out = *out + log_sum_exp(&joint) - normaliser;
        }
    }

    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        entries: &[usize],
    ) -> Result<Vec<flow_cuda::Op>> {
        use flow_cuda::kernels::rows::{fill, gather, scatter, Rows};
        let rows = to.rows();
        let mixture = flow_cuda::kernels::bases::Mixture {
            logits: to.parameter(&self.weights),
            means: to.parameter(&self.means),
            log_scales: to.parameter(&self.log_scales),
        };
        let entries = to.table(entries.iter().copied());
        let (z, shares) = (to.keep(rows * self.size), to.keep(rows * K));
        to.record(gather(rows, to.x(), Rows::new(flow_cuda::Slot::NONE, 0), entries, z));
        let ops = mixture.log_prob(to.log_det(), z, shares);
        ops.into_iter().for_each(|op| to.record(op));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        // The gradient by the latents starts here.
        let by_z = to.scratch(z.len);
        let by = [&self.weights, &self.means, &self.log_scales];
        let by = by.map(|slot| to.parameter_gradient(slot));
        let mut ops = vec![fill(by_z, 0.0)];
        ops.extend(mixture.product(by_z, to.by_log_det(), z, shares, by));
        ops.push(scatter(rows, to.gradient(), entries, by_z));
        Ok(ops)
    }

    fn log_prob_vjp(&self, pass: &mut Pass<'_, E>, z: &[E], weights: &[E], gradient: &mut [E]) {
        let (logits, means, log_scales) = self.values(pass.state());
        let prior = log_sum_exp(logits);
        let mut joint = [E::zero(); K];
        let rows = z.chunks_exact(self.size).zip(gradient.chunks_exact_mut(self.size));
        for ((z, gradient), &weight) in rows.zip(weights) {
            self.joint(pass, z, &mut joint);
            let total = log_sum_exp(&joint);
            for k in 0..K {
                let share = weight * (joint[k] - total).exp();
                let logit = &mut pass.gradient(&self.weights)[k];
                *logit = *logit + share - weight * (logits[k] - prior).exp();
                for i in 0..self.size {
                    let at = k * self.size + i;
                    let inverse = (-log_scales[at]).exp();
                    let standard = (z[i] - means[at]) * inverse;
                    gradient[i] -= share * standard * inverse;
                    let mean = &mut pass.gradient(&self.means)[at];
                    *mean += share * standard * inverse;
                    let log_scale = &mut pass.gradient(&self.log_scales)[at];
                    *log_scale += share * (standard * standard - E::one());
                }
            }
        }
    }

    fn sample(
        &self,
        state: &State<E>,
        noise: &Noise,
        first: usize,
        temperature: f64,
        out: &mut [E],
    ) {
        let (logits, means, log_scales) = self.values(state);
        let prior = log_sum_exp(logits);
        let (choice, normal) = (noise.named("component"), noise.named("normal"));
        for (i, row) in out.chunks_exact_mut(self.size).enumerate() {
            let sample = first + i;
            let mut left = E::of(choice.uniform(sample as u64));
            let k = (0..K - 1)
                .find(|&k| {
                    left -= (logits[k] - prior).exp();
                    left < E::zero()
                })
                .unwrap_or(K - 1);
            normal.fill_normal((sample * self.size) as u64, row);
            for (j, value) in row.iter_mut().enumerate() {
                let at = k * self.size + j;
                *value = means[at] + *value * log_scales[at].exp() * E::of(temperature);
            }
        }
    }
}

fn log_sum_exp<E: Scalar>(values: &[E]) -> E {
    let most = values.iter().copied().fold(E::neg_infinity(), E::max);
    if most == E::neg_infinity() {
        // The same, or what `max` passes over: NaN.
        return values.iter().copied().sum();
    }
    most + values.iter().map(|&v| (v - most).exp()).sum::<E>().ln()
}
