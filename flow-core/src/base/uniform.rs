use super::Base;
use crate::engine::{Builder, Pass, State};
use crate::{Noise, Result, Scalar};

/// Independent uniforms on [0, 1]: `log p(z) = 0` inside the cube and −∞ outside; NaN where a number of
/// `z` is.
#[derive(Clone, Debug)]
pub struct Uniform {
    size: usize,
}

impl<E: Scalar> Base<E> for Uniform {
    fn name() -> String {
        "uniform".into()
    }

    fn new(_: &mut Builder<E>, size: usize) -> Result<Self> {
        Ok(Self { size })
    }

    fn log_prob(&self, _: &mut Pass<'_, E>, z: &[E], out: &mut [E]) {
        for (row, out) in z.chunks_exact(self.size).zip(out) {
            for &v in row.iter().filter(|&&v| !(v >= E::zero() && v <= E::one())) {
                // What is not a number stays none.
                *out += if v.is_nan() { v } else { E::neg_infinity() };
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn lower(&self, to: &mut crate::cuda::Lowering<E>, _: &[usize]) -> Result<Vec<flow_cuda::Op>> {
        to.record(flow_cuda::kernels::bases::uniform_log_prob(to.log_det(), to.x().slot));
        Ok(Vec::new())
    }

    #[cfg(feature = "cuda")]
    fn lower_samples(&self, to: &mut crate::cuda::Lowering<E>, stream: flow_cuda::Slot) -> bool {
        to.record(flow_cuda::kernels::noise::uniforms(to.x().slot, stream, false));
        true
    }

    fn log_prob_vjp(&self, _: &mut Pass<'_, E>, _: &[E], _: &[E], _: &mut [E]) {}

    fn sample(&self, _: &State<E>, noise: &Noise, first: usize, temperature: f64, out: &mut [E]) {
        let start = (first * self.size) as u64;
        for (i, value) in out.iter_mut().enumerate() {
            let centred = noise.uniform(start + i as u64) - 0.5;
            *value = E::of(0.5 + temperature * centred);
        }
    }
}
