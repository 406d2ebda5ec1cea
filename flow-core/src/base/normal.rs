use super::Base;
use crate::engine::{Builder, Pass, State};
use crate::{Noise, Result, Scalar};

/// Independent standard normals: `log p(z) = −½ Σ z² − ½ d ln 2π`.
#[derive(Clone, Debug)]
pub struct Normal {
    size: usize,
}

impl<E: Scalar> Base<E> for Normal {
    fn name() -> String {
        "normal".into()
    }

    fn new(_: &mut Builder<E>, size: usize) -> Result<Self> {
        Ok(Self { size })
    }

    fn log_prob(&self, _: &mut Pass<'_, E>, z: &[E], out: &mut [E]) {
        let constant = E::of(0.5 * self.size as f64 * std::f64::consts::TAU.ln());
        let half = E::of(0.5);
        for (row, out) in z.chunks_exact(self.size).zip(out) {
            *out = *out - half * row.iter().map(|&v| v * v).sum::<E>() - constant;
        }
    }

    fn log_prob_vjp(&self, _: &mut Pass<'_, E>, z: &[E], weights: &[E], gradient: &mut [E]) {
        let rows = z.chunks_exact(self.size).zip(gradient.chunks_exact_mut(self.size));
        for ((z, gradient), &weight) in rows.zip(weights) {
            for (g, &z) in gradient.iter_mut().zip(z) {
                *g -= weight * z;
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn lower(&self, to: &mut crate::cuda::Lowering<E>, _: &[usize]) -> Result<Vec<flow_cuda::Op>> {
        use flow_cuda::kernels::rows::{add_row_sums, normal_product, Sum};
        let constant = -0.5 * self.size as f64 * std::f64::consts::TAU.ln();
        let sum = Sum { square: true, factor: -0.5, constant };
        let z = to.x().slot;
        to.record(add_row_sums(to.log_det(), z, to.rows(), sum));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        Ok(vec![normal_product(to.gradient().slot, to.by_log_det(), z, to.rows())])
    }

    #[cfg(feature = "cuda")]
    fn lower_samples(&self, to: &mut crate::cuda::Lowering<E>, stream: flow_cuda::Slot) -> bool {
        let x = to.x().slot;
        to.record(flow_cuda::kernels::noise::normals(x, stream, 1.0));
        true
    }

    fn sample(&self, _: &State<E>, noise: &Noise, first: usize, temperature: f64, out: &mut [E]) {
        noise.fill_normal((first * self.size) as u64, out);
        let temperature = E::of(temperature);
        out.iter_mut().for_each(|v| *v *= temperature);
    }
}
