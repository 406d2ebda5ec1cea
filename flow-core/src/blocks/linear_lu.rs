use flow_kernels::Triangle;

use super::dense::{self, Side, Weight};
use super::features::{add_scaled, add_to_all};
use super::lu::Lu;
use super::permutation::{gather, index, invert};
use super::rotation::rotation;
use super::{non_empty, AFFINE};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Buffer, BufferKind, Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::linear::Linear;
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe, Slopes};
use crate::sums::dot;
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// `y = W x` with `W = P·L·(U + diag(sign·exp(log_diagonal)))`, at every pixel alike: `linear(lu)`
/// and `conv1x1(lu)` (Kingma and Dhariwal 2018, "Glow", equation 10).
///
/// Parameters `lower` and `upper` `[d, d]`, of which only the strict triangles are read, and
/// `log_diagonal` `[d]`; buffers `sign` `[d]`, ±1, and `permutation` `[d]` with `(P v)ᵢ = v₍pᵢ₎`. They
/// start as the LU factors of a random rotation with its rows in pivoting order, so that the
/// permutation is the identity and `W` is orthogonal. The log-determinant is `Σ log_diagonal` for
/// each pixel.
///
/// The inverse solves the two triangular systems for each vector.
#[derive(Clone, Debug)]
pub struct LinearLu {
    path: String,
    shape: Shape,
    lower: Parameter,
    upper: Parameter,
    log_diagonal: Parameter,
    sign: Buffer,
    permutation: Buffer,
    /// `W`, `[d, d]`.
    weight: Derived,
    /// `sign·exp(log_diagonal)`, `[d]`.
    diagonal: Derived,
    /// The inverse permutation, `[d]`.
    unpermutation: Derived,
}

/// `L`, `U` and the diagonal as the weights hold them.
struct Factors<'a, E> {
    lower: &'a [E],
    upper: &'a [E],
    diagonal: &'a [E],
}

impl<E: Scalar> Factors<'_, E> {
    /// Solves a system with one of them for each vector.
    fn solve(&self, system: Triangle, vectors: &mut [E]) {
        let matrix = match system {
            Triangle::UnitLower | Triangle::UnitLowerTransposed => self.lower,
            Triangle::Upper | Triangle::UpperTransposed => self.upper,
        };
        flow_kernels::solve(system, matrix, self.diagonal, vectors);
    }
}

impl LinearLu {
    /// The block at a random rotation.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let shape = non_empty(shape)?;
        let d = shape.features();
        let lu = Lu::of(rotation(d, &builder.noise("rotation")), d).factors;
        let triangle = |read: fn(usize, usize) -> bool| {
            let entry = |at: usize| if read(at / d, at % d) { lu[at] } else { 0.0 };
            Start::Values((0..d * d).map(|at| E::of(entry(at))).collect())
        };
        let diagonal = || (0..d).map(|i| lu[i * d + i]);
        let log_diagonal = Start::Values(diagonal().map(|v| E::of(v.abs().ln())).collect());
        let sign = diagonal().map(|v| E::of(v.signum()));
        let identity = (0..d).map(|i| E::of(i as f64));
        Ok(Self {
            path: builder.path(),
            shape,
            lower: builder.parameter("lower", &[d, d], triangle(|i, j| i > j)),
            upper: builder.parameter("upper", &[d, d], triangle(|i, j| i < j)),
            log_diagonal: builder.parameter("log_diagonal", &[d], log_diagonal),
            sign: builder.buffer("sign", &[d], BufferKind::Float, sign),
            permutation: builder.buffer("permutation", &[d], BufferKind::Integer, identity),
            weight: builder.derived(d * d),
            diagonal: builder.derived(d),
            unpermutation: builder.derived(d),
        })
    }

    fn factors<'a, E: Scalar>(&self, state: &'a State<E>) -> Factors<'a, E> {
        Factors {
            lower: state.values.parameter(&self.lower),
            upper: state.values.parameter(&self.upper),
            diagonal: self.diagonal.of(&state.derived),
        }
    }

    fn log_det<E: Scalar>(&self, pass: &Pass<'_, E>) -> E {
        self.pixels::<E>() * pass.parameter(&self.log_diagonal).iter().copied().sum::<E>()
    }

    fn add_log_det_gradient<E: Scalar>(&self, pass: &mut Pass<'_, E>, log_det: &[E], sign: E) {
        let by = sign * self.pixels::<E>() * log_det.iter().copied().sum::<E>();
        add_to_all(pass.gradient(&self.log_diagonal), by);
    }

    fn pixels<E: Scalar>(&self) -> E {
        E::of(self.shape.pixels() as f64)
    }
}

impl LinearLu {
    /// The product of the factors is formed anew in f64, whose rounding is at most
    /// `(d + 2)·ε` times that of the absolute values.
    fn linear<E: Scalar>(&self, probe: &Probe<'_, E>) -> Linear {
        let d = self.shape.features();
        let wide = |v: &[E]| v.iter().map(|v| v.as_f64()).collect::<Vec<_>>();
        let (lower, upper) =
            (wide(probe.parameter(&self.lower)), wide(probe.parameter(&self.upper)));
        let logs = probe.parameter(&self.log_diagonal);
        let permutation = probe.buffer(&self.permutation);
        let signs = probe.buffer(&self.sign);
        let pivots: Vec<f64> =
            signs.iter().zip(logs).map(|(sign, log)| sign.as_f64() * log.as_f64().exp()).collect();
        let (mut weight, mut size) = (vec![0.0; d * d], 0.0);
        for (i, &p) in permutation.iter().enumerate() {
            let r = index(p);
            for j in 0..d {
                let mut entry = 0.0_f64;
                let mut absolute = 0.0_f64;
                for k in 0..=r.min(j) {
                    let l = if k == r { 1.0 } else { lower[r * d + k] };
                    let u = if k == j { pivots[k] } else { upper[k * d + j] };
                    entry += l * u;
                    absolute += (l * u).abs();
                }
                weight[i * d + j] = entry;
                size += absolute * absolute;
            }
        }
        // The exponentials err by a few units too.
        let error = (d + 8) as f64 * f64::EPSILON * size.sqrt() * (1.0 + 1e-12);
        let transposed = Lu::of(weight.clone(), d).inverse_transposed();
        let inverse = (0..d * d).map(|i| transposed[i % d * d + i / d]).collect();
        Linear { weight, error, inverse, d }
    }
}

impl<E: Scalar> Block<E> for LinearLu {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        dense::forward(pass, Weight::Derived(&self.weight), d, Side::Plain, x);
        add_to_all(log_det, self.log_det(pass));
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.shape.features();
        dense::vjp(pass, Weight::Derived(&self.weight), d, Side::Plain, gradient);
        self.add_log_det_gradient(pass, log_det, E::one());
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let factors = self.factors(pass.state());
        let unpermutation = pass.derived(&self.unpermutation);
        let mut scratch = pass.take(d);
        for vector in z.chunks_exact_mut(d) {
            gather(vector, unpermutation, &mut scratch);
        }
        pass.give(scratch);
        factors.solve(Triangle::UnitLower, z);
        factors.solve(Triangle::Upper, z);
        add_to_all(log_det, -self.log_det(pass));
        if pass.saving() {
            let output = pass.take_copy(z);
            pass.save(output);
        }
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.shape.features();
        let factors = self.factors(pass.state());
        let permutation = pass.buffer(&self.permutation);
        factors.solve(Triangle::UpperTransposed, gradient);
        factors.solve(Triangle::UnitLowerTransposed, gradient);
        let mut scratch = pass.take(d);
        for vector in gradient.chunks_exact_mut(d) {
            gather(vector, permutation, &mut scratch);
        }
        pass.give(scratch);
        let mut output = pass.restore();
        if !pass.learning() {
            pass.give(output);
            return Ok(());
        }
        // d(W⁻¹ z) = −W⁻¹ dW x, so the gradient by W is −(W⁻ᵀ g) xᵀ.
        output.iter_mut().for_each(|x| *x = -*x);
        let vectors = output.len() / d;
        let by_input = Matrix::new(gradient, vectors, d).t();
        let by_weight = pass.derived_gradient(&self.weight);
        multiply(by_weight, Into::Add, by_input, Matrix::new(&output, vectors, d));
        pass.give(output);
        self.add_log_det_gradient(pass, log_det, -E::one());
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let permutation = values.buffer(&self.permutation);
        let block = "linear(lu)";
        invert(block, &self.path, permutation, self.unpermutation.of_mut(derived))?;
        let signs = values.buffer(&self.sign);
        if let Some(at) = signs.iter().position(|sign| sign.abs() != E::one()) {
            let reason = format!(
                "entry {at} of its sign is {}, expected 1 or -1\nhelp: the file of weights is \
                 damaged or belongs to another flow",
                signs[at].as_f64()
            );
            return Err(FlowError::Block { block, path: self.path.clone(), reason });
        }
        let logs = values.parameter(&self.log_diagonal);
        let parts = self.diagonal.of_mut(derived).iter_mut().zip(signs).zip(logs);
        parts.for_each(|((value, &sign), log)| *value = sign * log.exp());
        let (lower, upper) = (values.parameter(&self.lower), values.parameter(&self.upper));
        for (i, &p) in permutation.iter().enumerate() {
            let r = index(p);
            self.weight.of_mut(derived)[i * d..][..d].fill(E::zero());
            for k in 0..=r {
                let l = if k == r { E::one() } else { lower[r * d + k] };
                let pivot = self.diagonal.of(derived)[k];
                let row = &mut self.weight.of_mut(derived)[i * d..][..d];
                row[k] += l * pivot;
                add_scaled(&mut row[k + 1..], &upper[k * d..][k + 1..d], l);
            }
        }
        Ok(())
    }

    /// With `M = L·U` and row `i` of `W` row `r = pᵢ` of `M`: the gradient by `L` is `dM·Uᵀ`, that
    /// by `U` is `Lᵀ·dM`, each in its own triangle.
    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let d = self.shape.features();
        let Factors { lower, upper, diagonal } = self.factors(state);
        let permutation = state.values.buffer(&self.permutation);
        let by_weight = self.weight.of(from).chunks_exact(d);
        for (row, &p) in by_weight.zip(permutation) {
            let r = index(p);
            for k in 0..=r {
                let l = if k == r { E::one() } else { lower[r * d + k] };
                let logs = self.log_diagonal.of_mut(gradient);
                logs[k] += l * row[k] * diagonal[k];
                let by_upper = &mut self.upper.of_mut(gradient)[k * d..][k + 1..d];
                add_scaled(by_upper, &row[k + 1..], l);
                if k < r {
                    let by_entry =
                        row[k] * diagonal[k] + dot(&row[k + 1..], &upper[k * d..][k + 1..d]);
                    let entry = &mut self.lower.of_mut(gradient)[r * d + k];
                    *entry += by_entry;
                }
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
        dense::add_bound_slopes(self.weight.of(&state.derived), by, to.derived(&self.weight));
        true
    }

    fn facts(&self) -> Facts {
        AFFINE
    }
}

#[cfg(feature = "cuda")]
#[path = "linear_lu_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};
    use crate::Noise;

    /// With a permutation that is not its own inverse, so that confusing the two shows.
    struct Vectors;
    impl<const D: usize> Make<D, 0> for Vectors {
        type Block = LinearLu;
        fn make(b: &mut Builder<f64>) -> Result<LinearLu> {
            let mut block = LinearLu::new(b, Shape::vector(D))?;
            let rolled = (0..D).map(|i| ((i + 1) % D) as f64);
            block.permutation = b.buffer("rolled", &[D], BufferKind::Integer, rolled);
            Ok(block)
        }
    }

    struct Images;
    impl Make<12, 0> for Images {
        type Block = LinearLu;
        fn make(b: &mut Builder<f64>) -> Result<LinearLu> {
            LinearLu::new(b, Shape::image(3, 2, 2))
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Vectors, 1, 0>();
        check_laws::<Vectors, 2, 0>();
        check_laws::<Vectors, 5, 0>();
        check_laws::<Images, 12, 0>();
    }

    /// `P·L·(U + diag)` from matrices written out, by three loops.
    fn explicit(block: &LinearLu, values: &Values<f64>, d: usize) -> Vec<f64> {
        let (lower, upper) = (values.parameter(&block.lower), values.parameter(&block.upper));
        let (log, sign) = (values.parameter(&block.log_diagonal), values.buffer(&block.sign));
        let permutation = values.buffer(&block.permutation);
        let (mut p, mut l, mut u) = (vec![0.0; d * d], vec![0.0; d * d], vec![0.0; d * d]);
        for i in 0..d {
            p[i * d + permutation[i] as usize] = 1.0;
            l[i * d + i] = 1.0;
            u[i * d + i] = sign[i] * log[i].exp();
            (0..i).for_each(|j| l[i * d + j] = lower[i * d + j]);
            (i + 1..d).for_each(|j| u[i * d + j] = upper[i * d + j]);
        }
        let product = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let entry = |at: usize| (0..d).map(|k| a[at / d * d + k] * b[k * d + at % d]).sum();
            (0..d * d).map(entry).collect()
        };
        product(&product(&p, &l), &u)
    }

    #[test]
    fn the_weight_is_the_explicit_product_and_unread_entries_do_not_matter() {
        let mut machine = single::<Vectors, 5, 0>();
        let block = machine.blocks().0.clone();
        machine
            .change(|values| {
                Noise::seed(1).fill_normal(0, &mut values.parameters);
                values.buffer_mut(&block.sign).copy_from_slice(&[1.0, -1.0, -1.0, 1.0, -1.0]);
                Ok(())
            })
            .unwrap();
        let state = machine.state().clone();
        let weight = block.weight.of(&state.derived);
        for (got, want) in weight.iter().zip(explicit(&block, &state.values, 5)) {
            assert!((got - want).abs() < 1e-14, "{got} but {want}");
        }
        machine
            .step(|parameters| {
                for (i, j) in (0..25).map(|at| (at / 5, at % 5)) {
                    if i <= j {
                        block.lower.of_mut(parameters)[i * 5 + j] = f64::NAN;
                    }
                    if i >= j {
                        block.upper.of_mut(parameters)[i * 5 + j] = f64::NAN;
                    }
                }
            })
            .unwrap();
        assert_eq!(machine.state().derived, state.derived);
        let x = [1.0, -2.0, 0.5, 3.0, 4.0];
        let mut y = x;
        machine.run(Direction::Forward, &mut y, &[], None).unwrap();
        machine.run(Direction::Inverse, &mut y, &[], None).unwrap();
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-10), "{y:?}");
    }

    #[test]
    fn it_starts_as_a_rotation_of_its_own_for_each_seed_and_place() {
        let start = |seed, path: &str| {
            let mut builder = Builder::<f64>::new(seed);
            let block = builder.block(path, |b| LinearLu::new(b, Shape::vector(7))).unwrap();
            let (_, mut state) = builder.finish();
            block.prepare(&state.values, &mut state.derived).unwrap();
            block.weight.of(&state.derived).to_vec()
        };
        let w = start(1, "0");
        for (i, j) in (0..49).map(|at| (at / 7, at % 7)) {
            let want = if i == j { 1.0 } else { 0.0 };
            assert!((dot(&w[i * 7..][..7], &w[j * 7..][..7]) - want).abs() < 1e-13);
        }
        assert_eq!(w, start(1, "0"));
        assert_ne!(w, start(2, "0"));
        assert_ne!(w, start(1, "1"));
    }

    #[test]
    fn damaged_buffers_are_refused() {
        let refusal = |at: usize, value: f64| {
            let mut machine = single::<Images, 12, 0>();
            let loaded = machine.change(|values| {
                values.buffers[at] = value;
                Ok(())
            });
            loaded.unwrap_err().to_string()
        };
        let text = refusal(1, 0.5);
        assert!(text.starts_with("linear(lu) at 0: entry 1 of its sign is 0.5"), "{text}");
        let text = refusal(3, 2.0);
        assert!(text.starts_with("linear(lu) at 0: entry 2 of its permutation is 2"), "{text}");
    }

    #[test]
    fn weights_that_are_nan_spread() {
        let mut machine = single::<Vectors, 2, 0>();
        machine.step(|p| p.fill(f64::NAN)).unwrap();
        for direction in [Direction::Forward, Direction::Inverse] {
            let mut x = [1.0, 2.0];
            let (log_det, _) = machine.run(direction, &mut x, &[], None).unwrap();
            assert!(x.iter().chain(&log_det).all(|v| v.is_nan()), "{x:?}");
        }
    }

    #[test]
    fn single_precision_comes_back() {
        let mut builder = Builder::<f32>::new(0);
        let block = builder.block("0", |b| LinearLu::new(b, Shape::vector(33))).unwrap();
        let (_, mut state) = builder.finish();
        block.prepare(&state.values, &mut state.derived).unwrap();
        let (mut workspace, mut none) = Default::default();
        let mut pass = Pass::new(3, &state, &[], &mut workspace, &mut none);
        let mut x = vec![0.0_f32; 99];
        Noise::seed(2).fill_normal(0, &mut x);
        let mut y = x.clone();
        block.forward(&mut pass, &mut y, &mut [0.0; 3]).unwrap();
        block.inverse(&mut pass, &mut y, &mut [0.0; 3]).unwrap();
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-5));
    }
}
