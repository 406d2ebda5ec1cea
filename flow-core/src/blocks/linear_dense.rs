use super::dense::{self, Side, Weight};
use super::features::add_to_all;
use super::lu::Lu;
use super::rotation::rotation;
use super::{non_empty, AFFINE};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::linear::Linear;
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe, Slopes};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// `y = W x` with a matrix that is a parameter itself, at every pixel alike: `linear(dense)` and
/// `conv1x1(dense)` (Kingma and Dhariwal 2018, "Glow", section 3.2).
///
/// The parameter `weight` `[d, d]` starts as a random rotation. The log-determinant is `log |det W|`
/// for each pixel, −∞ where `W` is singular: nothing keeps training from that. It and the inverse
/// come from an LU factorisation in f64 with partial pivoting, once for each change of the weights.
///
/// The inverse of a weight that is singular to working precision is
/// [`FlowError::Block`](crate::FlowError::Block).
#[derive(Clone, Debug)]
pub struct LinearDense {
    name: &'static str,
    path: String,
    shape: Shape,
    weight: Parameter,
    /// `W⁻¹`, `[d, d]`.
    inverse: Derived,
    /// `log |det W|`.
    log_det: Derived,
    /// `‖ |W⁻¹| |W| ‖∞`: how much of the numbers' precision the inverse costs.
    condition: Derived,
}

impl LinearDense {
    /// The block at a random rotation.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let d = non_empty(shape)?.features();
        let start = rotation(d, &builder.noise("rotation")).into_iter().map(E::of).collect();
        let name = if shape.sides().is_some() { "conv1x1(dense)" } else { "linear(dense)" };
        Self::starting(builder, name, shape, start)
    }

    /// The block at given weights, of a block of this name.
    pub(super) fn starting<E: Scalar>(
        builder: &mut Builder<E>,
        name: &'static str,
        shape: Shape,
        start: Vec<E>,
    ) -> Result<Self> {
        let d = non_empty(shape)?.features();
        Ok(Self {
            name,
            path: builder.path(),
            shape,
            weight: builder.parameter("weight", &[d, d], Start::Values(start)),
            inverse: builder.derived(d * d),
            log_det: builder.derived(1),
            condition: builder.derived(1),
        })
    }

    /// An error where nothing leads back.
    fn invertible(&self, condition: f64) -> Result<()> {
        if condition * f64::EPSILON >= 1.0 {
            let reason = format!(
                "its weight is singular to working precision, of condition number {condition:.1e}, \
                 so that nothing leads back\nhelp: train with a smaller learning rate, or write \
                 {}, which cannot become singular",
                match self.name {
                    "linear(dense)" => "`linear(lu)`",
                    "conv1x1(dense)" => "`conv1x1(lu)`",
                    _ => "`squeeze` and `conv1x1(lu)`",
                }
            );
            return Err(FlowError::Block { block: self.name, path: self.path.clone(), reason });
        }
        Ok(())
    }

    fn pixels<E: Scalar>(&self) -> E {
        E::of(self.shape.pixels() as f64)
    }

    fn add_log_det<E: Scalar>(&self, pass: &Pass<'_, E>, log_det: &mut [E], sign: E) {
        add_to_all(log_det, sign * self.pixels::<E>() * pass.derived(&self.log_det)[0]);
    }

    fn add_log_det_gradient<E: Scalar>(&self, pass: &mut Pass<'_, E>, log_det: &[E], sign: E) {
        let by = sign * self.pixels::<E>() * log_det.iter().copied().sum::<E>();
        pass.derived_gradient(&self.log_det)[0] += by;
    }
}

/// `‖ |W⁻¹| |W| ‖∞` of a matrix and the transpose of its inverse (Skeel 1979, "Scaling for numerical
/// stability in Gaussian elimination"). Scaling the rows of `W` does not change it, so that weights
/// which are merely small do not count as singular.
fn condition(weight: &[f64], inverse_transposed: &[f64], d: usize) -> f64 {
    let mut rows = vec![0.0; d];
    for (w, x) in weight.chunks_exact(d).zip(inverse_transposed.chunks_exact(d)) {
        let size = w.iter().map(|w| w.abs()).sum::<f64>();
        rows.iter_mut().zip(x).for_each(|(row, x)| *row += x.abs() * size);
    }
    rows.into_iter().fold(0.0, f64::max)
}

impl LinearDense {
    fn linear<E: Scalar>(&self, probe: &Probe<'_, E>) -> Linear {
        let d = self.shape.features();
        let weight = probe.parameter(&self.weight).iter().map(|v| v.as_f64()).collect::<Vec<_>>();
        let transposed = Lu::of(weight.clone(), d).inverse_transposed();
        let inverse = (0..d * d).map(|i| transposed[i % d * d + i / d]).collect();
        Linear { weight, error: 0.0, inverse, d }
    }
}

impl<E: Scalar> Block<E> for LinearDense {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        dense::forward(pass, Weight::Trained(&self.weight), d, Side::Plain, x);
        self.add_log_det(pass, log_det, E::one());
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.invertible(pass.derived(&self.condition)[0].as_f64())?;
        let d = self.shape.features();
        dense::forward(pass, Weight::Derived(&self.inverse), d, Side::Plain, z);
        self.add_log_det(pass, log_det, -E::one());
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.shape.features();
        dense::vjp(pass, Weight::Trained(&self.weight), d, Side::Plain, gradient);
        self.add_log_det_gradient(pass, log_det, E::one());
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.shape.features();
        dense::vjp(pass, Weight::Derived(&self.inverse), d, Side::Plain, gradient);
        self.add_log_det_gradient(pass, log_det, -E::one());
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let weight: Vec<f64> =
            values.parameter(&self.weight).iter().map(|entry| entry.as_f64()).collect();
        let lu = Lu::of(weight.clone(), d);
        let (log_det, transposed) = (lu.log_abs_det(), lu.inverse_transposed());
        let condition = if log_det == f64::NEG_INFINITY {
            f64::INFINITY
        } else {
            condition(&weight, &transposed, d)
        };
        self.log_det.of_mut(derived)[0] = E::of(log_det);
        self.condition.of_mut(derived)[0] = E::of(condition);
        for (i, row) in self.inverse.of_mut(derived).chunks_exact_mut(d).enumerate() {
            let column = transposed[i..].iter().step_by(d);
            row.iter_mut().zip(column).for_each(|(entry, &value)| *entry = E::of(value));
        }
        Ok(())
    }

    /// The gradient by `W` of `log |det W|` is `W⁻ᵀ`.
    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let inverse = self.inverse.of(&state.derived);
        let by_weight = self.weight.of_mut(gradient);
        dense::add_by_inverse(by_weight, inverse, self.inverse.of(from), d);
        let by_log_det = self.log_det.of(from)[0];
        // Where nothing depends on the log-determinant, W may be singular.
        if by_log_det != E::zero() {
            for (j, row) in inverse.chunks_exact(d).enumerate() {
                let column = by_weight[j..].iter_mut().step_by(d);
                column.zip(row).for_each(|(entry, &x)| *entry += by_log_det * x);
            }
        }
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        Ok(self.linear(probe).amplification(probe))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(self.linear(probe).mean_value(cell, probe.backwards())))
    }

    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        let weight = state.values.parameter(&self.weight);
        dense::add_bound_slopes(weight, by, to.parameter(&self.weight));
        true
    }

    fn facts(&self) -> Facts {
        Facts { bi_lipschitz: false, ..AFFINE }
    }
}

#[cfg(feature = "cuda")]
#[path = "linear_dense_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{laws_on_vectors_and_images, single};
    use crate::Memory;

    laws_on_vectors_and_images!(LinearDense, [3, 2, 2]);

    #[test]
    fn it_starts_as_a_rotation() {
        let machine = single::<Vectors, 9, 0>();
        let mut x = [3.0, -4.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.0];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert!((x.iter().map(|v| v * v).sum::<f64>() - 169.0).abs() < 1e-10, "{x:?}");
        assert!(x.iter().all(|v| v.fract() != 0.0), "{x:?}");
        assert!(log_det[0].abs() < 1e-13, "{log_det:?}");
    }

    fn with(weight: &[f64]) -> crate::engine::Machine<crate::testing::Single<Vectors, 2, 0>, f64> {
        let mut machine = single::<Vectors, 2, 0>();
        machine.step(|parameters| parameters.copy_from_slice(weight)).unwrap();
        machine
    }

    #[test]
    fn a_singular_weight_leads_forward_and_is_refused_on_the_way_back() {
        for weight in [[1.0, 2.0, 2.0, 4.0], [0.0; 4], [0.1, 0.2, 0.3, 0.6]] {
            let machine = with(&weight);
            let keep = Some(Memory::Stored);
            let mut x = [1.0, 1.0];
            let (log_det, kept) = machine.run(Direction::Forward, &mut x, &[], keep).unwrap();
            assert_eq!(x, [weight[0] + weight[1], weight[2] + weight[3]]);
            assert!(log_det[0] < -35.0, "{log_det:?}");
            // A loss that does not depend on the log-determinant has its gradient.
            let totals = machine
                .vjp(Direction::Forward, kept.unwrap(), &mut [5.0, 7.0], &[0.0], &[])
                .unwrap();
            assert_eq!(totals.parameters, [5.0, 5.0, 7.0, 7.0]);

            let error = machine.run(Direction::Inverse, &mut x, &[], None).err().unwrap();
            let text = error.to_string();
            assert!(text.starts_with("linear(dense) at 0: its weight is singular"), "{text}");
            assert!(
                text.ends_with("or write `linear(lu)`, which cannot become singular"),
                "{text}"
            );
        }
    }

    #[test]
    fn small_and_lopsided_weights_are_not_singular() {
        for weight in [[1e-30, 2e-30, 3e-30, 5e-30], [1e20, 2e20, 3e-20, -4e-20]] {
            let machine = with(&weight);
            let mut x = [1.0, -3.0];
            let (there, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
            let (back, _) = machine.run(Direction::Inverse, &mut x, &[], None).unwrap();
            assert!((x[0] - 1.0).abs() + (x[1] + 3.0).abs() < 1e-12, "{x:?}");
            let want = (weight[0] * weight[3] - weight[1] * weight[2]).abs().ln();
            assert!((there[0] - want).abs() < 1e-12 && there[0] == -back[0], "{there:?}");
        }
    }

    #[test]
    fn weights_that_are_not_finite_spread() {
        for weight in [[f64::NAN; 4], [1.0, f64::NAN, 0.0, 1.0], [1.0, f64::INFINITY, 3.0, 1.0]] {
            let machine = with(&weight);
            for direction in [Direction::Forward, Direction::Inverse] {
                let mut x = [1.0, 2.0];
                let (log_det, _) = machine.run(direction, &mut x, &[], None).unwrap();
                let finite = x.iter().chain(&log_det).all(|v| v.is_finite());
                assert!(!finite, "{weight:?}, {direction:?}: {x:?}");
            }
        }
    }

    #[test]
    fn single_precision_comes_back() {
        let mut builder = Builder::<f32>::new(0);
        let block = builder.block("0", |b| LinearDense::new(b, Shape::vector(33))).unwrap();
        let (_, mut state) = builder.finish();
        let by = &mut state.values.parameters;
        by.iter_mut().enumerate().for_each(|(i, v)| *v += 0.1 * ((i * 7 % 13) as f32 - 6.0) / 6.0);
        block.prepare(&state.values, &mut state.derived).unwrap();
        let (mut workspace, mut none) = Default::default();
        let mut pass = Pass::new(3, &state, &[], &mut workspace, &mut none);
        let mut x = vec![0.0_f32; 99];
        crate::Noise::seed(2).fill_normal(0, &mut x);
        let mut y = x.clone();
        block.forward(&mut pass, &mut y, &mut [0.0; 3]).unwrap();
        block.inverse(&mut pass, &mut y, &mut [0.0; 3]).unwrap();
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-4));
    }
}
