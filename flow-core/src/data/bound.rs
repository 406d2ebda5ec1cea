//! The bound of variational dequantisation.

use dfdx::prelude::{Cpu, Dim, HasShape, PutTape, Shape, Tape, Tensor};

use super::Bits;
use crate::engine::tensor;
use crate::engine::{adds_to, ordered, read, split, JoinTape};
use crate::normalizing_flow::{EventOf, LatentOf};
use crate::{
    Data, Event, FlowError, Invertible, Joined, Noise, NormalizingFlow, Numbers, Result, Scalar,
};

impl Bits {
    /// For each row a sample of `ln p((k + u) / 2^bits) − ln q(u | k)` in nats, whose mean is a
    /// lower bound of the discrete log-likelihood of the levels `k`, counted as in
    /// [`per_dimension`](Self::per_dimension). (Ho et al. 2019, "Flow++", equation 12.)
    ///
    /// `density` is `p`, a flow of the scaled data. `dequantizer` is a flow of as many real
    /// numbers `v`, given a context that its user makes of the levels (all of them for a vector;
    /// means of blocks for an image); here its samples become `u = 1 / (1 + exp(−v))`, and the
    /// derivative of that is counted in `q`. With `#[base(logistic)]` and blocks that start as the
    /// identity, `u` is even at first, and training only tightens the bound of uniform
    /// dequantisation. It is drawn at temperature 1, whatever the view says.
    ///
    /// The noise is split once a call. Levels or a context with a tape bring gradients to the
    /// weights of both flows, and to the context.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::data::Bits;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Density: Vector<2> {
    ///         spline_coupling(bins = 4, bound = 1.0, net = mlp([8], relu));
    ///         spline_coupling(bins = 4, bound = 1.0, net = mlp([8], relu));
    ///     }
    ///     #[base(logistic)]
    ///     struct Dequantizer: Vector<2> given Vector<2> {
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// let cpu = Cpu::default();
    /// let bits = Bits::new(2)?;
    /// let levels = Rows::<f32>::from_rows([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0]])?;
    /// let levels = levels.clone().given(levels.values().to_vec(), 2)?;
    ///
    /// let mut models = (Density::<f32>::build(&cpu, 0)?, Dequantizer::<f32>::build(&cpu, 1)?);
    /// let mut noise = Noise::seed(2);
    /// Trainer::default().steps(3).silent().fit_with(&mut models, &levels, |models, batch, grads| {
    ///     let dequantizer = models.1.given(batch.context::<2>()?);
    ///     let k = batch.x::<Vector<2>>()?.traced(grads);
    ///     Ok(bits.bound(&models.0, &dequantizer, k, &mut noise)?.mean().negate())
    /// })?;
    ///
    /// let found = bits.evaluate_with(&levels, |batch| {
    ///     let dequantizer = models.1.given(batch.context::<2>()?);
    ///     bits.bound(&models.0, &dequantizer, batch.x::<Vector<2>>()?, &mut Noise::seed(3))
    /// })?;
    /// println!("at most {:.2} ± {:.2} bits/dim", found.mean, found.standard_error);
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// Numbers that are not levels of these bits; a `dequantizer` of another size than `density`;
    /// with a tape, one whose base distribution has weights to train, through whose samples there
    /// is no gradient; and the errors of the passes of both.
    pub fn bound<P, Q, E, N, T>(
        self,
        density: &P,
        dequantizer: &Q,
        levels: Data<P, N, T>,
        noise: &mut Noise,
    ) -> Result<Numbers<P, N, Joined<P, Joined<Q, T>>>>
    where
        P: NormalizingFlow<Scalar = E>,
        Q: NormalizingFlow<Scalar = E>,
        Q::Architecture: Invertible,
        E: Scalar,
        N: Dim,
        T: JoinTape<E, Q::Tape>,
        Joined<Q, T>: JoinTape<E, P::Tape>,
    {
        let size = EventOf::<P>::SHAPE.size();
        if EventOf::<Q>::SHAPE.size() != size {
            let (what, found) = ("a row of dequantisation noise", EventOf::<Q>::SHAPE.size());
            return Err(FlowError::Length { what: what.into(), found, expected: size });
        }
        let (levels, tape) = ordered(levels)?;
        let rows = EventOf::<P>::rows(levels.shape());
        let k = read(levels, "levels", size)?;
        self.check(&k, size)?;

        let view = dequantizer.view()?.temperature(1.0);
        if Joined::<Q, T>::OWNS_TAPE && view.trains_base() {
            let option = "the base distribution of the dequantising flow";
            let expected =
                "one without weights to train\nhelp: normal or logistic, or freeze(\"base.*\")";
            return Err(FlowError::option(option, "trained", expected));
        }
        let mut base = vec![E::zero(); rows.size()];
        let z = view.draw(rows.size(), noise, Some(&mut base))?;
        let z = tensor(z, LatentOf::<Q>::batch(rows))?.put_tape(tape);
        let (v, log_det) = view.inverse(z)?;
        let (x, slope) = self.squash(v, k, EventOf::<P>::batch(rows), rows)?;
        let log_prob = density.log_prob(x)?;
        // ln q(u | k) = ln base(z) − ln |det ∂v/∂z| − Σ ln |∂u/∂v|.
        sum(log_prob, [split(log_det).0, slope], &base)
    }

    /// `x = (k + 1 / (1 + exp(−v))) / 2^bits`, which carries the tape, and `Σ ln |∂u/∂v|` of each
    /// row.
    fn squash<S: Shape, X: Shape, E: Scalar, N: Dim, T: Tape<E, Cpu>>(
        self,
        v: Tensor<S, E, Cpu, T>,
        levels: Vec<E>,
        shape: X,
        rows: N,
    ) -> Result<(Tensor<X, E, Cpu, T>, Tensor<(N,), E, Cpu>)> {
        let (v, mut tape) = ordered(v)?;
        let size = levels.len() / rows.size();
        let add_v = adds_to(&v);
        let v = read(v, "dequantisation noise", size)?;
        let mut slopes = vec![E::zero(); rows.size()];
        let mut x = levels;
        for ((x, v), slope) in x.chunks_mut(size).zip(v.chunks(size)).zip(&mut slopes) {
            for (x, &v) in x.iter_mut().zip(v) {
                let away = v.abs();
                *slope -= away + E::of(2.0) * (-away).exp().ln_1p();
                *x = self.place(*x, 1.0 / (1.0 + (-v.as_f64()).exp()));
            }
        }
        let x = tensor(x, shape)?;
        let slopes = tensor(slopes, (rows,))?;
        if T::OWNS_TAPE {
            let (by_x, by_slope) = (x.ghost(), slopes.ghost());
            let scale = E::of(1.0 / f64::from(self.levels()));
            tape.add_backward_op(move |gradients| {
                let mut gradient = E::slice(gradients.get_or_alloc_mut(&by_x)?).to_vec();
                let by_slope = E::slice(gradients.get_or_alloc_mut(&by_slope)?).to_vec();
                let rows = gradient.chunks_mut(size).zip(v.chunks(size)).zip(by_slope);
                for ((gradient, v), by_slope) in rows {
                    for (gradient, &v) in gradient.iter_mut().zip(v) {
                        // By t = exp(−|v|), so that neither end loses digits.
                        let t = (-v.abs()).exp();
                        let derivative = t / ((E::one() + t) * (E::one() + t));
                        let bend = (t - E::one()) / (t + E::one()) * v.signum();
                        *gradient = *gradient * scale * derivative + by_slope * bend;
                    }
                }
                add_v(gradients, &gradient)
            });
        }
        Ok((x.put_tape(tape), slopes))
    }
}

/// `first + others − constants`, on the tape of the first.
fn sum<N: Dim, E: Scalar, T: Tape<E, Cpu>>(
    first: Tensor<(N,), E, Cpu, T>,
    others: [Tensor<(N,), E, Cpu>; 2],
    constants: &[E],
) -> Result<Tensor<(N,), E, Cpu, T>> {
    let (first, mut tape) = split(first);
    let shape = *first.shape();
    let add = [adds_to(&first), adds_to(&others[0]), adds_to(&others[1])];
    let [a, b, c] = [first.as_vec(), others[0].as_vec(), others[1].as_vec()];
    let numbers = (0..constants.len()).map(|i| a[i] + b[i] + c[i] - constants[i]).collect();
    let total = tensor(numbers, shape)?;
    if T::OWNS_TAPE {
        let by_total = total.ghost();
        tape.add_backward_op(move |gradients| {
            let gradient = E::slice(gradients.get_or_alloc_mut(&by_total)?).to_vec();
            add.iter().try_for_each(|add| add(gradients, &gradient))
        });
    }
    Ok(total.put_tape(tape))
}
