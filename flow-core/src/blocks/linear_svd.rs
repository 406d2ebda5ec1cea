use super::dense::{self, Side, Weight};
use super::features::add_to_all;
use super::reflections::Reflections;
use super::{non_empty, AFFINE};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::linear::Near;
use crate::lipschitz::{Amplification, Cell, Interval, Kind, MeanValue, Probe, Slopes};
use crate::{Block, Facts, Result, Scalar, Shape};

/// `y = U·diag(exp(log_singular))·Vᵀ x` with `U` and `V` products of as many reflections as
/// features: `linear(svd)` (Zhang et al. 2018, "Stabilizing gradients for deep neural networks via
/// efficient SVD parameterization").
///
/// Parameters `left` and `right` `[d, d]`, the reflections of `U` and `V`, start standard normal, and
/// `log_singular` `[d]` at 0, so that the block starts as a random rotation. The log-determinant is
/// `Σ log_singular` for each pixel, and the singular values of the map are there to be read.
#[derive(Clone, Debug)]
pub struct LinearSvd {
    shape: Shape,
    left: Reflections,
    log_singular: Parameter,
    right: Reflections,
    /// `W`, `[d, d]`.
    weight: Derived,
    /// `W⁻¹`, `[d, d]`.
    inverse: Derived,
}

impl LinearSvd {
    /// The block at a random rotation.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let d = non_empty(shape)?.features();
        Ok(Self {
            shape,
            left: Reflections::new(builder, "left", d, d)?,
            log_singular: builder.parameter("log_singular", &[d], Start::Constant(0.0)),
            right: Reflections::new(builder, "right", d, d)?,
            weight: builder.derived(d * d),
            inverse: builder.derived(d * d),
        })
    }

    fn pixels<E: Scalar>(&self) -> E {
        E::of(self.shape.pixels() as f64)
    }

    fn log_det<E: Scalar>(&self, pass: &Pass<'_, E>) -> E {
        self.pixels::<E>() * pass.parameter(&self.log_singular).iter().copied().sum::<E>()
    }

    fn add_log_det_gradient<E: Scalar>(&self, pass: &mut Pass<'_, E>, log_det: &[E], sign: E) {
        let by = sign * self.pixels::<E>() * log_det.iter().copied().sum::<E>();
        add_to_all(pass.gradient(&self.log_singular), by);
    }
}

/// `A·diag(scale)`.
fn scaled<E: Scalar>(a: &[E], scale: impl Iterator<Item = E> + Clone) -> Vec<E> {
    a.iter().zip(scale.cycle()).map(|(&entry, scale)| entry * scale).collect()
}

impl<E: Scalar> Block<E> for LinearSvd {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        dense::forward(pass, Weight::Derived(&self.weight), d, Side::Plain, x);
        add_to_all(log_det, self.log_det(pass));
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        dense::forward(pass, Weight::Derived(&self.inverse), d, Side::Plain, z);
        add_to_all(log_det, -self.log_det(pass));
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.shape.features();
        dense::vjp(pass, Weight::Derived(&self.weight), d, Side::Plain, gradient);
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
        self.left.prepare(values, derived);
        self.right.prepare(values, derived);
        let logs = values.parameter(&self.log_singular).iter();
        let [left, right] = [&self.left, &self.right].map(|side| side.product.of(derived).to_vec());
        let [u, v] = [&left, &right].map(|side| Matrix::new(side, d, d));
        let us = scaled(&left, logs.clone().map(|log| log.exp()));
        let vs = scaled(&right, logs.map(|log| (-*log).exp()));
        multiply(self.weight.of_mut(derived), Into::Replace, Matrix::new(&us, d, d), v.t());
        multiply(self.inverse.of_mut(derived), Into::Replace, Matrix::new(&vs, d, d), u.t());
        Ok(())
    }

    /// With `G` the gradient by `W = U S Vᵀ`: that by `U` is `G V S`, that by `V` is `Gᵀ U S`, and that
    /// by `S` the diagonal of `Uᵀ G V`.
    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let mut by_weight = self.weight.of(from).to_vec();
        let inverse = self.inverse.of(&state.derived);
        dense::add_by_inverse(&mut by_weight, inverse, self.inverse.of(from), d);

        let [left, right] = [&self.left, &self.right].map(|side| side.product.of(&state.derived));
        let [u, v] = [left, right].map(|side| Matrix::new(side, d, d));
        let by_weight = Matrix::new(&by_weight, d, d);
        let singular = state.values.parameter(&self.log_singular).iter().map(|log| log.exp());

        let mut gv = vec![E::zero(); d * d];
        multiply(&mut gv, Into::Replace, by_weight, v);
        let by_left = scaled(&gv, singular.clone());
        let by_log = self.log_singular.of_mut(gradient);
        for (u, by_left) in left.chunks_exact(d).zip(by_left.chunks_exact(d)) {
            by_log.iter_mut().zip(u).zip(by_left).for_each(|((by, &u), &g)| *by += u * g);
        }
        self.left.finish(state, &by_left, gradient);

        let gu = &mut gv;
        multiply(gu, Into::Replace, by_weight.t(), u);
        self.right.finish(state, &scaled(gu, singular), gradient);
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn facts(&self) -> Facts {
        AFFINE
    }

    /// The extreme singular values are parameters.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let (forward, inverse) = self.largest(probe);
        self.near(probe).push(probe);
        Ok(Amplification { forward, inverse, kind: Kind::Certified, published: None })
    }

    /// The bounds are single parameters: of the largest and of the smallest.
    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        let logs = state.values.parameter(&self.log_singular);
        let extreme = |sign: f64| {
            let order = |a: &usize, b: &usize| {
                (sign * logs[*a].as_f64()).total_cmp(&(sign * logs[*b].as_f64()))
            };
            (0..logs.len()).max_by(order)
        };
        let gradient = to.parameter(&self.log_singular);
        for (sign, by) in [(1.0, by[0]), (-1.0, by[1])] {
            if let Some(at) = extreme(sign) {
                gradient[at] += E::of(sign * by);
            }
        }
        true
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(Some(self.near(probe).mean_value(cell)))
    }
}

impl LinearSvd {
    /// The logarithms of the largest singular values of W and of its inverse.
    fn largest<E: Scalar>(&self, probe: &Probe<'_, E>) -> (f64, f64) {
        let logs = probe.parameter(&self.log_singular).iter().map(|log| log.as_f64());
        let most = |logs: &mut dyn Iterator<Item = f64>| {
            logs.fold(
                f64::NEG_INFINITY,
                |m, log| if log.is_finite() { m.max(log) } else { f64::INFINITY },
            )
        };
        (most(&mut logs.clone()), most(&mut logs.map(|log| -log)))
    }

    /// W, or its inverse where the probe goes backwards.
    fn near<E: Scalar>(&self, probe: &Probe<'_, E>) -> Near {
        let (d, backwards) = (self.shape.features(), probe.backwards());
        let logs = probe.parameter(&self.log_singular).iter().map(|log| log.as_f64());
        let ((left, left_error), (right, right_error)) =
            (self.left.exact(probe), self.right.exact(probe));
        // W is U·S·Vᵀ, and its inverse V·S⁻¹·Uᵀ.
        let sign = if backwards { -1.0 } else { 1.0 };
        let (outer, inner) = if backwards { (&right, &left) } else { (&left, &right) };
        let stretched = scaled(outer, logs.map(|log| (sign * log).exp()));
        let mut matrix = vec![0.0; d * d];
        let (a, b) = (Matrix::new(&stretched, d, d), Matrix::new(inner, d, d));
        multiply(&mut matrix, Into::Replace, a, b.t());
        // Of U and V, of their singular values and of the product, each relative to the largest of
        // those. Twice the sum holds the products of errors, which are below 1.
        let side = d as f64;
        let share = left_error + right_error + side * (side + 12.0) * f64::EPSILON;
        let (forward, inverse) = self.largest(probe);
        let largest = if backwards { inverse } else { forward };
        let error = 2.0 * share * Interval::point(largest).exp().high;
        Near { matrix, error, d }
    }
}

#[cfg(feature = "cuda")]
#[path = "linear_svd_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{laws_on_vectors_and_images, single};

    laws_on_vectors_and_images!(LinearSvd, [3, 2, 2]);

    #[test]
    fn its_singular_values_are_those_that_it_names() {
        let mut machine = single::<Vectors, 4, 0>();
        let block = machine.blocks().0.clone();
        let logs = [1.0, -2.0, 0.5, 0.0];
        machine.step(|p| block.log_singular.of_mut(p).copy_from_slice(&logs)).unwrap();
        let derived = &machine.state().derived;
        let (weight, right) = (block.weight.of(derived), block.right.product.of(derived));
        for (column, log) in logs.iter().enumerate() {
            let image =
                (0..4).map(|i| (0..4).map(|j| weight[i * 4 + j] * right[j * 4 + column]).sum());
            let squares: f64 = image.map(|v: f64| v * v).sum();
            assert!((0.5 * squares.ln() - log).abs() < 1e-13, "singular value {column}");
        }
        let mut x = [1.0, 2.0, -3.0, 4.0];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert_eq!(log_det, [-0.5]);
    }

    #[test]
    fn widely_spread_singular_values_come_back() {
        let mut machine = single::<Vectors, 4, 0>();
        let block = machine.blocks().0.clone();
        machine
            .step(|p| block.log_singular.of_mut(p).copy_from_slice(&[6.0, 0.0, -6.0, 1.0]))
            .unwrap();
        let x = [1.0, 2.0, -3.0, 4.0];
        let mut y = x;
        machine.run(Direction::Forward, &mut y, &[], None).unwrap();
        machine.run(Direction::Inverse, &mut y, &[], None).unwrap();
        // The condition number is e¹².
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-9), "{y:?}");
    }

    #[test]
    fn weights_that_are_nan_spread() {
        for at in 0..3 {
            let mut machine = single::<Vectors, 1, 0>();
            machine.step(|p| p[at] = f64::NAN).unwrap();
            for direction in [Direction::Forward, Direction::Inverse] {
                let mut x = [1.0];
                machine.run(direction, &mut x, &[], None).unwrap();
                assert!(x[0].is_nan(), "{at}");
            }
        }
    }
}
