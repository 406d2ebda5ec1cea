use super::dense::{self, Side, Weight};
use super::non_empty;
use super::reflections::Reflections;
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::linear::Near;
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe};
use crate::{Block, Facts, Result, Scalar, Shape};

/// `y = H₁…Hₖ x` with the reflections `Hᵢ = I − 2vᵢvᵢᵀ/‖vᵢ‖²`, at every pixel alike:
/// `linear(householder(k))`, and with as many reflections as features, which reach every rotation,
/// `linear(orthogonal)` and `conv1x1(orthogonal)` (Tomczak and Welling 2016, "Improving variational
/// auto-encoders using Householder flow").
///
/// The parameter `reflections` `[k, d]` starts standard normal. A reflection at zero counts as the
/// identity. The log-determinant is 0.
#[derive(Clone, Debug)]
pub struct Householder {
    features: usize,
    reflections: Reflections,
}

impl Householder {
    /// The block with `count` random reflections.
    ///
    /// # Errors
    /// Where `shape` holds no numbers, or `count` is 0.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape, count: usize) -> Result<Self> {
        let features = non_empty(shape)?.features();
        let reflections = Reflections::new(builder, "reflections", features, count)?;
        Ok(Self { features, reflections })
    }

    fn weight(&self) -> Weight<'_> {
        Weight::Derived(&self.reflections.product)
    }
}

impl<E: Scalar> Block<E> for Householder {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<()> {
        dense::forward(pass, self.weight(), self.features, Side::Plain, x);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], _: &mut [E]) -> Result<()> {
        dense::forward(pass, self.weight(), self.features, Side::Transposed, z);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        dense::vjp(pass, self.weight(), self.features, Side::Plain, gradient);
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        dense::vjp(pass, self.weight(), self.features, Side::Transposed, gradient);
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.reflections.prepare(values, derived);
        Ok(())
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.reflections.finish(state, self.reflections.product.of(from), gradient);
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn facts(&self) -> Facts {
        Facts::ISOMETRY
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        self.near(probe).push(probe);
        Ok(Amplification::ISOMETRY)
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(self.near(probe).mean_value(cell)))
    }
}

impl Householder {
    /// The product, or its transpose where the probe goes backwards.
    fn near<E: Scalar>(&self, probe: &Probe<'_, E>) -> Near {
        let d = self.features;
        let (q, error) = self.reflections.exact(probe);
        let matrix = match probe.backwards() {
            true => (0..d * d).map(|i| q[i % d * d + i / d]).collect(),
            false => q,
        };
        Near { matrix, error, d }
    }
}

#[cfg(feature = "cuda")]
#[path = "householder_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};

    struct Orthogonal;
    impl<const D: usize> Make<D, 0> for Orthogonal {
        type Block = Householder;
        fn make(b: &mut Builder<f64>) -> Result<Householder> {
            Householder::new(b, Shape::vector(D), D)
        }
    }

    struct Few;
    impl<const D: usize> Make<D, 0> for Few {
        type Block = Householder;
        fn make(b: &mut Builder<f64>) -> Result<Householder> {
            Householder::new(b, Shape::vector(D), 3)
        }
    }

    struct Images;
    impl Make<12, 0> for Images {
        type Block = Householder;
        fn make(b: &mut Builder<f64>) -> Result<Householder> {
            Householder::new(b, Shape::image(3, 2, 2), 2)
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Orthogonal, 1, 0>();
        check_laws::<Orthogonal, 2, 0>();
        check_laws::<Orthogonal, 5, 0>();
        check_laws::<Few, 2, 0>();
        check_laws::<Few, 7, 0>();
        check_laws::<Images, 12, 0>();
    }

    #[test]
    fn the_last_reflection_acts_first() {
        let machine = single::<Few, 7, 0>();
        let x = [1.0, -2.0, 0.5, 3.0, 4.0, -1.0, 2.0];
        let mut want = x;
        for v in machine.state().values.parameters.chunks_exact(7).rev() {
            let squares: f64 = v.iter().map(|v| v * v).sum();
            let along: f64 = v.iter().zip(want).map(|(v, x)| v * x).sum();
            want.iter_mut().zip(v).for_each(|(x, v)| *x -= 2.0 * along / squares * v);
        }
        let mut y = x;
        machine.run(Direction::Forward, &mut y, &[], None).unwrap();
        assert!(y.iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-13), "{y:?}");
    }

    #[test]
    fn reflections_of_any_size_stay_isometries() {
        for scale in [0.0, 1e-320, 1e-300, 1e-160, 1.0, 1e160, 1e300] {
            let mut machine = single::<Few, 2, 0>();
            machine.step(|p| p.iter_mut().for_each(|v| *v *= scale)).unwrap();
            let mut x = [3.0, 4.0];
            let keep = Some(crate::Memory::Stored);
            let (_, kept) = machine.run(Direction::Forward, &mut x, &[], keep).unwrap();
            assert!((x[0].hypot(x[1]) - 5.0).abs() < 1e-12, "{scale}: {x:?}");
            let kept = kept.unwrap();
            let totals =
                machine.vjp(Direction::Forward, kept, &mut [1.0, 2.0], &[0.0], &[]).unwrap();
            assert!(totals.parameters.iter().all(|v| v.is_finite()), "{scale}");
        }
    }

    #[test]
    fn weights_that_are_nan_spread() {
        for nan in [7..8, 5..10] {
            let mut machine = single::<Orthogonal, 5, 0>();
            machine.step(|p| p[nan.clone()].fill(f64::NAN)).unwrap();
            let mut x = [1.0; 5];
            machine.run(Direction::Forward, &mut x, &[], None).unwrap();
            assert!(x.iter().any(|v| v.is_nan()), "{nan:?}: {x:?}");
        }
    }

    #[test]
    fn no_reflections_are_refused() {
        let made = Householder::new(&mut Builder::<f32>::new(0), Shape::vector(2), 0);
        let text = made.unwrap_err().to_string();
        assert_eq!(text, "the number of reflections is 0, expected at least 1");
    }
}
