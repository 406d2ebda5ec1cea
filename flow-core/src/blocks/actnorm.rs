use super::features::{add_sums, change};
use super::moments::moments;
use super::{Diagonal, AFFINE};
use crate::engine::{Buffer, BufferKind, Builder, Parameter, Pass, Setup, Start, State, Values};
use crate::lipschitz::linear::{scale_and_shift, scaled_and_shifted};
use crate::lipschitz::{Amplification, Cell, Interval, MeanValue, Probe, Slopes};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// `y = x·exp(log_scale) + shift`, per feature, set from a first batch (Kingma and Dhariwal 2018,
/// "Glow", section 3.1).
///
/// Initialisation gives each feature of the batch mean 0 and variance 1 (that of the batch: the sum
/// of squares over its size). A feature that is constant in the batch, up to rounding, keeps its
/// scale and is only centred, so a batch of one row does no harm.
///
/// Parameters `log_scale` and `shift` `[features]`; buffer `initialized`, 1 after initialisation.
/// The log-determinant is `Σ log_scale` for each pixel. Both directions return
/// [`FlowError::NotInitialized`] before a first batch or loaded weights.
#[derive(Clone, Debug)]
pub struct ActNorm {
    path: String,
    scale: Diagonal,
    shift: Parameter,
    initialized: Buffer,
}

impl ActNorm {
    /// The block before its first batch.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        Ok(Self {
            path: builder.path(),
            scale: Diagonal::new(builder, shape)?,
            shift: builder.parameter("shift", &[shape.features()], Start::Constant(0.0)),
            initialized: builder.buffer("initialized", &[1], BufferKind::Integer, [E::zero()]),
        })
    }

    fn ready<E: Scalar>(&self, pass: &Pass<'_, E>) -> Result<()> {
        if pass.buffer(&self.initialized)[0] == E::zero() {
            return Err(FlowError::NotInitialized { block: "actnorm", path: self.path.clone() });
        }
        Ok(())
    }
}

impl ActNorm {
    /// What multiplies each feature, and what is added.
    fn maps<E: Scalar>(&self, probe: &Probe<'_, E>) -> Vec<(Interval, Interval)> {
        let logs = probe.parameter(&self.scale.log_scale);
        let shifts = probe.parameter(&self.shift);
        let point = |v: E| Interval::point(v.as_f64());
        logs.iter().zip(shifts).map(|(&log, &shift)| (point(log).exp(), point(shift))).collect()
    }
}

impl<E: Scalar> Block<E> for ActNorm {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.ready(pass)?;
        self.scale.forward(pass, x, log_det)?;
        change(x, pass.parameter(&self.shift), |x, shift| x + shift);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.ready(pass)?;
        change(z, pass.parameter(&self.shift), |z, shift| z - shift);
        self.scale.inverse(pass, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        if pass.learning() {
            add_sums(pass.gradient(&self.shift), gradient, E::one());
        }
        self.scale.forward_vjp(pass, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.scale.inverse_vjp(pass, gradient, log_det)?;
        if pass.learning() {
            add_sums(pass.gradient(&self.shift), gradient, -E::one());
        }
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.scale.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.scale.finish(state, from, gradient)
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        let features = moments("actnorm", &self.path, x, self.shift.len())?;
        let values = setup.values();
        for (i, feature) in features.into_iter().enumerate() {
            let log_scale = E::of(-feature.std.ln());
            values.parameter_mut(&self.scale.log_scale)[i] = log_scale;
            values.parameter_mut(&self.shift)[i] = E::of(-feature.mean * log_scale.as_f64().exp());
        }
        values.buffer_mut(&self.initialized)[0] = E::one();
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let maps = self.maps(probe);
        Ok(scale_and_shift(probe, &maps))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(scaled_and_shifted(cell, &self.maps(probe), probe.backwards())))
    }

    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        self.scale.add_bound_slopes(state, by, to)
    }

    fn facts(&self) -> Facts {
        AFFINE
    }
}

#[cfg(feature = "cuda")]
#[path = "actnorm_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{laws_on_vectors_and_images, normal, single};

    laws_on_vectors_and_images!(ActNorm, [2, 2, 3]);

    #[test]
    fn the_first_batch_comes_out_standardised() {
        let mut machine = single::<Images, 12, 0>();
        let mut x = normal(7 * 12, 2);
        x.chunks_exact_mut(2).for_each(|pixel| {
            pixel[0] = 1e3 + 1e-2 * pixel[0];
            pixel[1] = -5.0 + 40.0 * pixel[1];
        });
        machine.initialize(&mut x.clone(), &[], 7).unwrap();
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        let count = (x.len() / 2) as f64;
        for channel in 0..2 {
            let values = || x.iter().skip(channel).step_by(2);
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            assert!(mean.abs() < 1e-10, "mean {mean}");
            assert!((variance - 1.0).abs() < 1e-9, "variance {variance}");
        }
    }

    #[test]
    fn a_constant_feature_is_centred_and_keeps_its_scale() {
        let mut builder = Builder::<f32>::new(0);
        let block = builder.block("0", |b| ActNorm::new(b, Shape::vector(3))).unwrap();
        let (_, mut state) = builder.finish();
        let mut x = [0.1, 5.0, 1e30, 0.1, 6.0, -1e30, 0.1, 7.0, 2e30];
        Setup::new(&mut state, &[], 3).initialize(&block, &mut x).unwrap();
        assert_eq!(state.values.parameters[0], 0.0);
        assert!(state.values.parameters.iter().all(|v| v.is_finite()));
        assert!(x.iter().all(|v| v.abs() < 2.0), "{x:?}");
        assert_eq!([x[0], x[3], x[6]], [0.0; 3]);
    }

    #[test]
    fn both_directions_refuse_before_a_first_batch() {
        let machine = single::<Vectors, 2, 0>();
        for direction in [Direction::Forward, Direction::Inverse] {
            let ran = machine.run(direction, &mut [1.0, 2.0], &[], None);
            let want = FlowError::NotInitialized { block: "actnorm", path: "0".into() };
            assert_eq!(ran.err(), Some(want));
        }
    }

    #[test]
    fn a_batch_that_is_not_finite_is_refused() {
        let mut machine = single::<Vectors, 2, 0>();
        let before = machine.state().clone();
        let failed = machine.initialize(&mut [1.0, 2.0, 3.0, f64::NAN], &[], 2).unwrap_err();
        assert!(failed.to_string().contains("feature 1"), "{failed}");
        assert_eq!(*machine.state(), before);
    }

    #[test]
    fn weights_that_are_nan_spread() {
        let mut machine = single::<Vectors, 2, 0>();
        machine.initialize(&mut [1.0, 2.0, 3.0, 5.0], &[], 2).unwrap();
        machine.step(|p| p.fill(f64::NAN)).unwrap();
        let mut x = [1.0, 2.0];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert!(x[0].is_nan() && log_det[0].is_nan());
    }
}
