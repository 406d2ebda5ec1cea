use super::linear_dense::LinearDense;
use super::rearrange::{sides, Rearrange};
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe, Slopes};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// A convolution whose `k × k` kernels do not overlap, with as many of them as numbers under one:
/// `invertible_conv(kernel = k)`. It is `squeeze(k)`, then `y = W x` at every pixel.
///
/// The parameter `weight` `[k²c, k²c]` starts at `kappa` times the identity. The log-determinant is
/// `log |det W|` for each of the `h·w/k²` squares. As to a singular weight, see [`LinearDense`].
#[derive(Clone, Debug)]
pub struct InvertibleConv {
    squeeze: Rearrange,
    weight: LinearDense,
}

impl InvertibleConv {
    /// The block on images whose sides `kernel` divides.
    ///
    /// # Errors
    /// Where `shape` is no image with numbers in it, `kernel` does not divide its sides, or `kappa`
    /// is not above 0.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        kernel: usize,
        kappa: f64,
    ) -> Result<Self> {
        if !(kappa > 0.0 && kappa.is_finite()) {
            return Err(FlowError::option("kappa", kappa, "a number above 0"));
        }
        let squeeze = Rearrange::squeeze(builder, shape, kernel)?;
        let [channels, height, width] = sides("invertible_conv", shape)?;
        let d = kernel * kernel * channels;
        let squeezed = Shape::image(d, height / kernel, width / kernel);
        let mut start = vec![E::zero(); d * d];
        start.iter_mut().step_by(d + 1).for_each(|entry| *entry = E::of(kappa));
        let weight = LinearDense::starting(builder, "invertible_conv", squeezed, start)?;
        Ok(Self { squeeze, weight })
    }
}

impl<E: Scalar> Block<E> for InvertibleConv {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.squeeze.there(pass, x);
        self.weight.forward(pass, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.weight.inverse(pass, z, log_det)?;
        self.squeeze.back(pass, z);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.weight.forward_vjp(pass, gradient, log_det)?;
        self.squeeze.back(pass, gradient);
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.squeeze.there(pass, gradient);
        self.weight.inverse_vjp(pass, gradient, log_det)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.weight.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.weight.finish(state, from, gradient)
    }

    super::lowered!(record, record_weights);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if !probe.backwards() {
            self.squeeze.reorder(probe, false);
        }
        let found = Block::<E>::amplification(&self.weight, probe)?;
        if probe.backwards() {
            self.squeeze.reorder(probe, true);
        }
        Ok(found)
    }

    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        self.weight.add_bound_slopes(state, by, to)
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        probe.affine(self, cell).map(Some)
    }

    fn facts(&self) -> Facts {
        Block::<E>::facts(&self.weight)
    }
}

#[cfg(feature = "cuda")]
#[path = "invertible_conv_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};

    struct Images<const C: usize, const H: usize, const W: usize, const K: usize>;
    impl<const C: usize, const H: usize, const W: usize, const K: usize, const D: usize> Make<D, 0>
        for Images<C, H, W, K>
    {
        type Block = InvertibleConv;
        fn make(b: &mut Builder<f64>) -> Result<InvertibleConv> {
            InvertibleConv::new(b, Shape::image(C, H, W), K, 1.25)
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Images<1, 2, 4, 2>, 8, 0>();
        check_laws::<Images<1, 3, 3, 3>, 9, 0>();
        check_laws::<Images<3, 1, 2, 1>, 6, 0>();
    }

    #[test]
    fn it_starts_as_a_scaled_squeeze() {
        let machine = single::<Images<3, 2, 4, 2>, 24, 0>();
        let mut x: Vec<f64> = (0..24).map(f64::from).collect();
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        // The first channel of the four pixels of the first square.
        assert_eq!(x[..4], [0.0, 1.25 * 3.0, 1.25 * 12.0, 1.25 * 15.0]);
        assert!((log_det[0] - 24.0 * 1.25_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_singular_weight_is_its_own() {
        let mut machine = single::<Images<1, 2, 2, 2>, 4, 0>();
        machine.step(|p| p.fill(0.0)).unwrap();
        let error = machine.run(Direction::Inverse, &mut [0.0; 4], &[], None).err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with("invertible_conv at 0: its weight is singular"), "{text}");
        assert!(text.contains("`squeeze` and `conv1x1(lu)`"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let make = |shape, kernel, kappa| {
            let made = InvertibleConv::new(&mut Builder::<f32>::new(0), shape, kernel, kappa);
            made.unwrap_err().to_string()
        };
        let image = Shape::image(1, 4, 6);
        assert!(make(image, 3, 1.0).contains("a divisor of both sides"));
        assert!(make(Shape::vector(4), 2, 1.0).contains("expected an image"));
        for kappa in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(make(image, 2, kappa).ends_with("expected a number above 0"), "{kappa}");
        }
    }
}
