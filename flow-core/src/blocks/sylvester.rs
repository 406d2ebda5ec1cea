use super::planar::stretch;
use super::reflections::Reflections;
use super::{no_inverse, FORWARD_ONLY};
use crate::backend::cpu::elementwise::{add, add_rows};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe};
use crate::nets::Activation;
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

#[path = "sylvester_enclosure.rs"]
mod enclosure;

/// `y = x + Q·R·tanh(R̃·Qᵀ·x + b)`, forward only (van den Berg et al. 2018, "Sylvester normalizing
/// flows for variational inference", eq. 13).
///
/// `Q` `[features, rank]` has orthonormal columns, the first ones of a product of `rank` Householder
/// reflections; `R` and `R̃` are upper triangular. Their diagonals are `tanh` of those of the
/// parameters, so that `rᵢ·r̃ᵢ > −1` and the map is invertible at every weight (theorem 2 there). Its
/// inverse is not offered, as that of [`Planar`](super::Planar), the case of rank 1, is not.
///
/// Parameters `reflections` `[rank, features]`, `outer` (R) and `inner` (R̃) `[rank, rank]`, of which
/// only the upper triangles are read, and `b` `[rank]`. It starts as the identity: `outer` and `b` are
/// 0, `inner` is uniform on ±1/√rank, `reflections` standard normal. The log-determinant is
/// `Σ log(1 + (1 − tanh²ᵢ)·rᵢ·r̃ᵢ)`.
#[derive(Clone, Debug)]
pub struct Sylvester {
    path: String,
    features: usize,
    rank: usize,
    turn: Reflections,
    outer: Parameter,
    inner: Parameter,
    b: Parameter,
    /// `Q`, row-major.
    frame: Derived,
    /// `R`, zeros included.
    left: Derived,
    /// `R̃`, zeros included.
    right: Derived,
    /// `1 + rᵢ·r̃ᵢ`.
    kappa: Derived,
}

impl Sylvester {
    /// The block as the identity, of `rank` hidden units.
    ///
    /// # Errors
    /// Where `shape` holds no numbers, or `rank` is not from 1 to the number of features.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape, rank: usize) -> Result<Self> {
        let features = super::non_empty(shape)?.features();
        if !(1..=features).contains(&rank) {
            return Err(FlowError::option("rank", rank, format!("1 to {features}, the features")));
        }
        let square = [rank, rank];
        let limit = 1.0 / (rank as f64).sqrt();
        Ok(Self {
            path: builder.path(),
            features,
            rank,
            turn: Reflections::new(builder, "reflections", features, rank)?,
            outer: builder.parameter("outer", &square, Start::Constant(0.0)),
            inner: builder.parameter("inner", &square, Start::Uniform(limit)),
            b: builder.parameter("b", &[rank], Start::Constant(0.0)),
            frame: builder.derived(features * rank),
            left: builder.derived(rank * rank),
            right: builder.derived(rank * rank),
            kappa: builder.derived(rank),
        })
    }

    fn matrix<'a, E>(&self, slot: &Derived, derived: &'a [E]) -> Matrix<'a, E> {
        Matrix::new(slot.of(derived), slot.len() / self.rank, self.rank)
    }

    /// A rotated batch `Qᵀx` and the hidden units' `tanh`.
    fn hidden<E: Scalar>(&self, pass: &Pass<'_, E>, x: &[E], turned: &mut [E], t: &mut [E]) {
        let (rows, derived) = (pass.rows(), &pass.state().derived);
        let x = Matrix::new(x, rows, self.features);
        multiply(turned, Into::Replace, x, self.matrix(&self.frame, derived));
        let turned = Matrix::new(turned, rows, self.rank);
        multiply(t, Into::Replace, turned, self.matrix(&self.right, derived).t());
        Activation::Tanh.apply(t, pass.parameter(&self.b), &mut [], &mut []);
    }
}

/// An upper triangle with `tanh` of its diagonal.
fn triangle<E: Scalar>(out: &mut [E], raw: &[E], rank: usize) {
    for (i, (out, raw)) in out.chunks_exact_mut(rank).zip(raw.chunks_exact(rank)).enumerate() {
        out[..i].fill(E::zero());
        out[i] = raw[i].tanh();
        out[i + 1..].copy_from_slice(&raw[i + 1..]);
    }
}

/// `1 + tanh(a)·tanh(b) = cosh(a + b)/(cosh(a)·cosh(b))`, which stays above 0 in any precision.
fn kappa<E: Scalar>(a: E, b: E) -> E {
    let log = |v: E| v.abs() + (E::of(-2.0) * v.abs()).exp().ln_1p();
    (E::LN_2() + log(a + b) - log(a) - log(b)).exp()
}

impl<E: Scalar> Block<E> for Sylvester {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (rows, m) = (pass.rows(), self.rank);
        let (mut turned, mut t) = (pass.take(rows * m), pass.take(rows * m));
        self.hidden(pass, x, &mut turned, &mut t);
        let kappa = pass.derived(&self.kappa);
        for (t, log_det) in t.chunks_exact(m).zip(log_det) {
            *log_det += t.iter().zip(kappa).map(|(&t, &kappa)| stretch(t, kappa).ln()).sum::<E>();
        }
        if pass.saving() {
            let input = pass.take_copy(x);
            pass.save(input);
        }
        let derived = &pass.state().derived;
        let left = self.matrix(&self.left, derived);
        multiply(&mut turned, Into::Replace, Matrix::new(&t, rows, m), left.t());
        let frame = self.matrix(&self.frame, derived);
        multiply(x, Into::Add, Matrix::new(&turned, rows, m), frame.t());
        pass.give(turned);
        pass.give(t);
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        no_inverse("sylvester", &self.path)
    }

    /// With `t = tanh(A)`, `A = R̃·p + b`, `p = Qᵀx` and `h = R·t` the map is `x + Q·h`.
    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let (rows, d, m) = (pass.rows(), self.features, self.rank);
        let (one, two) = (E::one(), E::of(2.0));
        let state = pass.state();
        let [frame, left, right] =
            [&self.frame, &self.left, &self.right].map(|slot| self.matrix(slot, &state.derived));
        let x = pass.restore();
        let [mut turned, mut t, mut h, mut by] = [(); 4].map(|()| pass.take(rows * m));
        self.hidden(pass, &x, &mut turned, &mut t);
        multiply(&mut h, Into::Replace, Matrix::new(&t, rows, m), left.t());

        // By h, and so by Q's part of Q·h and by R.
        multiply(&mut by, Into::Replace, Matrix::new(gradient, rows, d), frame);
        let mut by_frame = pass.take(d * m);
        let by_y = Matrix::new(gradient, rows, d);
        multiply(&mut by_frame, Into::Replace, by_y.t(), Matrix::new(&h, rows, m));
        let by_left = pass.derived_gradient(&self.left);
        multiply(by_left, Into::Add, Matrix::new(&by, rows, m).t(), Matrix::new(&t, rows, m));

        // By A, in the place of h.
        multiply(&mut h, Into::Replace, Matrix::new(&by, rows, m), left);
        let kappa = pass.derived(&self.kappa);
        let by_kappa = pass.derived_gradient(&self.kappa);
        let each = h.chunks_exact_mut(m).zip(t.chunks_exact(m)).zip(log_det);
        for ((by, t), &by_log) in each {
            for (i, (by, &t)) in by.iter_mut().zip(t).enumerate() {
                let (slope, share) = (one - t * t, by_log / stretch(t, kappa[i]));
                by_kappa[i] += share * slope;
                *by = (*by + share * two * t * (one - kappa[i])) * slope;
            }
        }
        add_rows(pass.gradient(&self.b), &h);
        let by_right = pass.derived_gradient(&self.right);
        multiply(by_right, Into::Add, Matrix::new(&h, rows, m).t(), Matrix::new(&turned, rows, m));

        // By p, and so by x and by Q's part of Qᵀx.
        multiply(&mut by, Into::Replace, Matrix::new(&h, rows, m), right);
        let by_turned = Matrix::new(&by, rows, m);
        multiply(&mut by_frame, Into::Add, Matrix::new(&x, rows, d).t(), by_turned);
        add(pass.derived_gradient(&self.frame), &by_frame);
        multiply(gradient, Into::Add, by_turned, frame.t());

        for buffer in [turned, t, h, by, by_frame, x] {
            pass.give(buffer);
        }
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        no_inverse("sylvester", &self.path)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let (d, m) = (self.features, self.rank);
        self.turn.prepare(values, derived);
        for i in 0..d {
            for j in 0..m {
                self.frame.of_mut(derived)[i * m + j] = self.turn.product.of(derived)[i * d + j];
            }
        }
        let (outer, inner) = (values.parameter(&self.outer), values.parameter(&self.inner));
        triangle(self.left.of_mut(derived), outer, m);
        triangle(self.right.of_mut(derived), inner, m);
        for (i, out) in self.kappa.of_mut(derived).iter_mut().enumerate() {
            *out = kappa(outer[i * (m + 1)], inner[i * (m + 1)]);
        }
        Ok(())
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let (d, m) = (self.features, self.rank);
        let [outer, inner] = [&self.outer, &self.inner].map(|slot| state.values.parameter(slot));
        for (slot, by, raw, other) in [
            (&self.outer, self.left.of(from), outer, inner),
            (&self.inner, self.right.of(from), inner, outer),
        ] {
            for (i, (out, by)) in
                slot.of_mut(gradient).chunks_exact_mut(m).zip(by.chunks_exact(m)).enumerate()
            {
                let (a, b) = (raw[i * (m + 1)], other[i * (m + 1)]);
                let t = a.tanh();
                let by_kappa = self.kappa.of(from)[i] * self.kappa.of(&state.derived)[i];
                out[i] += by[i] * (E::one() - t * t) + by_kappa * ((a + b).tanh() - t);
                add(&mut out[i + 1..], &by[i + 1..]);
            }
        }
        let mut by_product = vec![E::zero(); d * d];
        for (to, by) in by_product.chunks_exact_mut(d).zip(self.frame.of(from).chunks_exact(m)) {
            to[..m].copy_from_slice(by);
        }
        self.turn.finish(state, &by_product, gradient);
        Ok(())
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        Ok(self.amplify(probe))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(self.map(probe).mean_value(cell))
    }

    fn facts(&self) -> Facts {
        FORWARD_ONLY
    }
}

#[cfg(feature = "cuda")]
#[path = "sylvester_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "sylvester_tests.rs"]
mod tests;
