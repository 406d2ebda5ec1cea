use super::features::{add_products, add_to_all, change};
use super::{non_empty, AFFINE};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::linear::{scale_and_shift, scaled_and_shifted};
use crate::lipschitz::{Amplification, Cell, Interval, MeanValue, Probe, Slopes};
use crate::{Block, Facts, Result, Scalar, Shape};

/// `y = x·exp(log_scale)`, per feature: `linear(diagonal)`.
///
/// The parameter `log_scale` `[features]` starts at 0. The log-determinant is `Σ log_scale` for
/// each pixel.
#[derive(Clone, Debug)]
pub struct Diagonal {
    shape: Shape,
    pub(super) log_scale: Parameter,
    scale: Derived,
}

impl Diagonal {
    /// The block at the identity.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let shape = non_empty(shape)?;
        let log_scale = builder.parameter("log_scale", &[shape.features()], Start::Constant(0.0));
        Ok(Self { shape, log_scale, scale: builder.derived(shape.features()) })
    }

    fn log_det<E: Scalar>(&self, pass: &Pass<'_, E>) -> E {
        self.pixels::<E>() * pass.parameter(&self.log_scale).iter().copied().sum::<E>()
    }

    fn pixels<E: Scalar>(&self) -> E {
        E::of(self.shape.pixels() as f64)
    }

    /// Adds the gradient of `log_scale` where `output` came of it with `sign` times that power.
    fn add_gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &[E],
        output: &[E],
        log_det: &[E],
        sign: E,
    ) {
        if !pass.learning() {
            return;
        }
        let by_log_det = sign * self.pixels::<E>() * log_det.iter().copied().sum::<E>();
        let into = pass.gradient(&self.log_scale);
        add_products(into, gradient, output, sign);
        add_to_all(into, by_log_det);
    }
}

impl Diagonal {
    /// What multiplies each feature, and what is added.
    fn maps<E: Scalar>(&self, probe: &Probe<'_, E>) -> Vec<(Interval, Interval)> {
        let logs = probe.parameter(&self.log_scale).iter();
        logs.map(|log| (Interval::point(log.as_f64()).exp(), Interval::ZERO)).collect()
    }
}

impl<E: Scalar> Block<E> for Diagonal {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        change(x, pass.derived(&self.scale), |x, scale| x * scale);
        add_to_all(log_det, self.log_det(pass));
        if pass.saving() {
            let output = pass.take_copy(x);
            pass.save(output);
        }
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        change(z, pass.derived(&self.scale), |z, scale| z / scale);
        add_to_all(log_det, -self.log_det(pass));
        if pass.saving() {
            let output = pass.take_copy(z);
            pass.save(output);
        }
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let output = pass.restore();
        self.add_gradient(pass, gradient, &output, log_det, E::one());
        pass.give(output);
        change(gradient, pass.derived(&self.scale), |g, scale| g * scale);
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let output = pass.restore();
        self.add_gradient(pass, gradient, &output, log_det, -E::one());
        pass.give(output);
        change(gradient, pass.derived(&self.scale), |g, scale| g / scale);
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let log_scales = values.parameter(&self.log_scale);
        for (scale, log_scale) in self.scale.of_mut(derived).iter_mut().zip(log_scales) {
            *scale = log_scale.exp();
        }
        Ok(())
    }

    super::lowered!(record_alone, record_weights);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let maps = self.maps(probe);
        Ok(scale_and_shift(probe, &maps))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(scaled_and_shifted(cell, &self.maps(probe), probe.backwards())))
    }

    /// The bounds are the largest scale, and one over the smallest.
    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        let logs = state.values.parameter(&self.log_scale);
        let order = |&a: &usize, &b: &usize| logs[a].as_f64().total_cmp(&logs[b].as_f64());
        let gradient = to.parameter(&self.log_scale);
        if let Some(largest) = (0..logs.len()).max_by(order) {
            gradient[largest] += E::of(by[0]);
        }
        if let Some(smallest) = (0..logs.len()).min_by(order) {
            gradient[smallest] -= E::of(by[1]);
        }
        true
    }

    fn facts(&self) -> Facts {
        AFFINE
    }
}

#[cfg(feature = "cuda")]
#[path = "diagonal_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{laws_on_vectors_and_images, single};

    laws_on_vectors_and_images!(Diagonal, [3, 2, 3]);

    #[test]
    fn scales_each_channel_at_every_pixel() {
        let mut machine = single::<Images, 18, 0>();
        machine.step(|p| p.copy_from_slice(&[0.5, -1.0, 2.0])).unwrap();
        let mut x = vec![1.0; 18];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        for pixel in x.chunks_exact(3) {
            assert_eq!(pixel, [0.5_f64.exp(), (-1.0_f64).exp(), 2.0_f64.exp()]);
        }
        assert_eq!(log_det, [6.0 * 1.5]);
    }

    #[test]
    fn a_shape_without_numbers_is_refused() {
        let made = Diagonal::new(&mut Builder::<f32>::new(0), Shape::image(3, 0, 2));
        let text = made.unwrap_err().to_string();
        assert!(text.contains("Image<3, 0, 2>, expected at least one number"), "{text}");
    }
}
