use super::Base;
use crate::engine::{Builder, Pass, State};
use crate::{Noise, Result, Scalar};

/// Independent standard logistics: `log p(z) = Σ −|z| − 2 ln(1 + exp(−|z|))`.
#[derive(Clone, Debug)]
pub struct Logistic {
    size: usize,
}

impl<E: Scalar> Base<E> for Logistic {
    fn name() -> String {
        "logistic".into()
    }

    fn new(_: &mut Builder<E>, size: usize) -> Result<Self> {
        Ok(Self { size })
    }

    fn log_prob(&self, _: &mut Pass<'_, E>, z: &[E], out: &mut [E]) {
        let two = E::of(2.0);
        for (row, out) in z.chunks_exact(self.size).zip(out) {
            *out -= row.iter().map(|&v| v.abs() + two * (-v.abs()).exp().ln_1p()).sum();
        }
    }

    #[cfg(feature = "cuda")]
    fn lower(&self, to: &mut crate::cuda::Lowering<E>, _: &[usize]) -> Result<Vec<flow_cuda::Op>> {
        use flow_cuda::kernels::bases::{logistic_log_prob, logistic_product};
        let z = to.x().slot;
        to.record(logistic_log_prob(to.log_det(), z));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        Ok(vec![logistic_product(to.gradient().slot, to.by_log_det(), z)])
    }

    #[cfg(feature = "cuda")]
    fn lower_samples(&self, to: &mut crate::cuda::Lowering<E>, stream: flow_cuda::Slot) -> bool {
        to.record(flow_cuda::kernels::noise::uniforms(to.x().slot, stream, true));
        true
    }

    fn log_prob_vjp(&self, _: &mut Pass<'_, E>, z: &[E], weights: &[E], gradient: &mut [E]) {
        let half = E::of(0.5);
        let rows = z.chunks_exact(self.size).zip(gradient.chunks_exact_mut(self.size));
        for ((z, gradient), &weight) in rows.zip(weights) {
            for (g, &z) in gradient.iter_mut().zip(z) {
                *g -= weight * (half * z).tanh();
            }
        }
    }

    fn sample(&self, _: &State<E>, noise: &Noise, first: usize, temperature: f64, out: &mut [E]) {
        let start = (first * self.size) as u64;
        for (i, value) in out.iter_mut().enumerate() {
            let u = noise.uniform(start + i as u64);
            *value = E::of(temperature * (u.ln() - (-u).ln_1p()));
        }
    }
}
