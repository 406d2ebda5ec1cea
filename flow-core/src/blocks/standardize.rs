use super::features::{add_to_all, change};
use super::moments::moments;
use super::{non_empty, AFFINE};
use crate::engine::{Buffer, BufferKind, Builder, Derived, Pass, Setup, State, Values};
use crate::lipschitz::linear::{scale_and_shift, scaled_and_shifted};
use crate::lipschitz::{Amplification, Cell, Interval, MeanValue, Probe, Slopes};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// `y = (x − mean)/std`, per feature, set from the data and never trained.
///
/// Buffers `mean` (0 at the start) and `std` (1) `[features]` are those of the batch that
/// initialises the flow; a feature that is constant in it keeps `std` 1. The log-determinant is
/// `−Σ ln std` for each pixel.
#[derive(Clone, Debug)]
pub struct Standardize {
    path: String,
    shape: Shape,
    mean: Buffer,
    std: Buffer,
    log_det: Derived,
}

impl Standardize {
    /// The block at the identity.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let shape = non_empty(shape)?;
        let features = shape.features();
        let mut buffer = |name, start| {
            let start = std::iter::repeat_n(start, features);
            builder.buffer(name, &[features], BufferKind::Float, start)
        };
        let (mean, std) = (buffer("mean", E::zero()), buffer("std", E::one()));
        Ok(Self { path: builder.path(), shape, mean, std, log_det: builder.derived(1) })
    }
}

impl Standardize {
    /// What multiplies each feature, and what is added.
    fn maps<E: Scalar>(&self, probe: &Probe<'_, E>) -> Vec<(Interval, Interval)> {
        let (means, stds) = (probe.buffer(&self.mean), probe.buffer(&self.std));
        let point = |v: E| Interval::point(v.as_f64());
        let map = |(&mean, &std): (&E, &E)| {
            let scale = point(std).recip();
            (scale, -(point(mean) * scale))
        };
        means.iter().zip(stds).map(map).collect()
    }
}

impl<E: Scalar> Block<E> for Standardize {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        change(x, pass.buffer(&self.mean), |x, mean| x - mean);
        change(x, pass.buffer(&self.std), |x, std| x / std);
        add_to_all(log_det, pass.derived(&self.log_det)[0]);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        change(z, pass.buffer(&self.std), |z, std| z * std);
        change(z, pass.buffer(&self.mean), |z, mean| z + mean);
        add_to_all(log_det, -pass.derived(&self.log_det)[0]);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        change(gradient, pass.buffer(&self.std), |g, std| g / std);
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        change(gradient, pass.buffer(&self.std), |g, std| g * std);
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let stds = values.buffer(&self.std);
        if let Some(at) = stds.iter().position(|&v| !(v > E::zero() && v.is_finite())) {
            let reason = format!(
                "the std of feature {at} is {}, expected a positive number\nhelp: initialise it \
                 from data, or load another file",
                stds[at].as_f64()
            );
            return Err(FlowError::Block { block: "standardize", path: self.path.clone(), reason });
        }
        let sum = stds.iter().map(|v| v.ln()).sum::<E>();
        self.log_det.of_mut(derived)[0] = -E::of(self.shape.pixels() as f64) * sum;
        Ok(())
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        let features = moments("standardize", &self.path, x, self.mean.len())?;
        let values = setup.values();
        for (i, feature) in features.into_iter().enumerate() {
            values.buffer_mut(&self.mean)[i] = E::of(feature.mean);
            values.buffer_mut(&self.std)[i] = E::of(feature.std);
        }
        Ok(())
    }

    super::lowered!(record);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let maps = self.maps(probe);
        Ok(scale_and_shift(probe, &maps))
    }

    /// No weight matters.
    fn add_bound_slopes(&self, _: &State<E>, _: [f64; 2], _: &mut Slopes<E>) -> bool {
        true
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(scaled_and_shifted(cell, &self.maps(probe), probe.backwards())))
    }

    fn facts(&self) -> Facts {
        AFFINE
    }
}

#[cfg(feature = "cuda")]
#[path = "standardize_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{laws_on_vectors_and_images, single};

    laws_on_vectors_and_images!(Standardize, [3, 2, 2]);

    #[test]
    fn it_is_the_identity_until_it_has_seen_data() {
        let mut machine = single::<Vectors, 2, 0>();
        let batch = [1.0, 10.0, 3.0, 30.0];
        let mut x = batch;
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert_eq!(x, batch);
        machine.initialize(&mut batch.clone(), &[], 2).unwrap();
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert_eq!(x, [-1.0, -1.0, 1.0, 1.0]);
        assert_eq!(log_det, [-(10.0_f64.ln()); 2]);
    }

    #[test]
    fn a_loaded_std_must_be_positive() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut machine = single::<Vectors, 2, 0>();
            let loaded = machine.change(|values| {
                values.buffers[3] = bad;
                Ok(())
            });
            let text = loaded.unwrap_err().to_string();
            assert!(text.contains("std of feature 1"), "{text}");
        }
    }
}
