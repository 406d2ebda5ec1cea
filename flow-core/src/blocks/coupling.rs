use super::Split;
use crate::backend::cpu::elementwise::add;
use crate::engine::{Buffer, Builder, Pass, State, Values};
use crate::nets::{Conditioner, LastLayer};
use crate::transforms::Transform;
use crate::{Block, Facts, LogDet, Result, Scalar, Shape};

/// Passes a part `a` of the features unchanged and transforms the other, `b`, with parameters that
/// a net makes of `a` and the context (Dinh et al. 2017, "Density estimation using Real NVP").
///
/// `N` is the net, a [`Conditioner`], whose parameters stand under `net.`; `T` the scalar map, a
/// [`Transform`]. The net's output is feature-major: entry `feature·p + parameter`.
#[derive(Clone, Debug)]
pub struct Coupling<N, T> {
    kept: Vec<usize>,
    moved: Vec<usize>,
    context: usize,
    transform: T,
    net: N,
}

impl<N, T: Transform> Coupling<N, T> {
    /// A coupling on vectors of that shape, with `context` numbers of context a row, whose net
    /// `net(builder, inputs, outputs, last_layer)` makes.
    ///
    /// # Errors
    /// [`FlowError::Option`](crate::FlowError::Option) where the split leaves nothing to transform
    /// or does not fit the shape, or an option of the transform is out of its range; and the net's
    /// own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        split: Split,
        transform: T,
        net: impl FnOnce(&mut Builder<E>, usize, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self> {
        transform.check()?;
        let (kept, moved) = split.features(shape)?;
        let p = transform.parameters();
        let (inputs, outputs) = (kept.len() + context, moved.len() * p);
        let last = LastLayer { zero: true, bias: &|output| transform.start(output % p) };
        let net = builder.scope("net", |b| net(b, inputs, outputs, last))?;
        Ok(Self { kept, moved, context, transform, net })
    }

    fn width(&self) -> usize {
        self.kept.len() + self.moved.len()
    }

    /// The net's input: the kept features, then the context.
    fn input<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E]) -> Buffer<E> {
        let width = self.kept.len() + self.context;
        let mut input = pass.take(pass.rows() * width);
        if width > 0 {
            for (row, from) in input.chunks_exact_mut(width).zip(x.chunks_exact(self.width())) {
                row.iter_mut().zip(&self.kept).for_each(|(v, &i)| *v = from[i]);
            }
        }
        if self.context > 0 {
            let context = pass.context().chunks_exact(self.context);
            for (row, from) in input.chunks_exact_mut(width).zip(context) {
                row[self.kept.len()..].copy_from_slice(from);
            }
        }
        input
    }

    /// The transformed features of all rows.
    fn gather<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E]) -> Buffer<E> {
        let mut part = pass.take(pass.rows() * self.moved.len());
        let rows = part.chunks_exact_mut(self.moved.len()).zip(x.chunks_exact(self.width()));
        for (row, from) in rows {
            row.iter_mut().zip(&self.moved).for_each(|(v, &i)| *v = from[i]);
        }
        part
    }

    /// Puts the transformed features back.
    fn scatter<E: Scalar>(&self, part: &[E], x: &mut [E]) {
        let rows = part.chunks_exact(self.moved.len()).zip(x.chunks_exact_mut(self.width()));
        for (row, to) in rows {
            row.iter().zip(&self.moved).for_each(|(&v, &i)| to[i] = v);
        }
    }

    /// The transformed part and its parameters.
    fn condition<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
    ) -> Result<(Buffer<E>, Buffer<E>)>
    where
        N: Conditioner<E>,
    {
        let input = self.input(pass, x);
        let mut parameters = pass.take(pass.rows() * self.net.outputs());
        self.net.forward(pass, &input, &mut parameters)?;
        pass.give(input);
        Ok((self.gather(pass, x), parameters))
    }

    /// Keeps what [`product`](Self::product) needs.
    fn keep<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: Buffer<E>, parameters: Buffer<E>) {
        pass.save_or_give(x);
        pass.save_or_give(parameters);
    }

    /// The product of either direction, which differ in that of the transform alone.
    fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        transform: impl FnOnce(&[E], &mut [E], &mut [E]),
    ) -> Result<()>
    where
        N: Conditioner<E>,
    {
        let mut parameters = pass.restore();
        let x = pass.restore();
        let mut part = self.gather(pass, gradient);
        transform(&x, &mut parameters, &mut part);
        self.scatter(&part, gradient);
        pass.give(part);
        pass.give(x);

        let width = self.kept.len() + self.context;
        let mut by_input = pass.take(pass.rows() * width);
        self.net.vjp(pass, &mut parameters, &mut by_input)?;
        pass.give(parameters);
        if width > 0 {
            for (row, to) in
                by_input.chunks_exact(width).zip(gradient.chunks_exact_mut(self.width()))
            {
                row.iter().zip(&self.kept).for_each(|(&v, &i)| to[i] += v);
            }
        }
        if self.context > 0 {
            let context = pass.context_gradient().chunks_exact_mut(self.context);
            for (row, to) in by_input.chunks_exact(width).zip(context) {
                add(to, &row[self.kept.len()..]);
            }
        }
        pass.give(by_input);
        Ok(())
    }
}

impl<E: Scalar, N: Conditioner<E>, T: Transform> Block<E> for Coupling<N, T> {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (mut part, mut parameters) = self.condition(pass, x)?;
        let before = pass.take_copy(&part);
        self.transform.forward(&mut part, &mut parameters, log_det);
        self.scatter(&part, x);
        pass.give(part);
        self.keep(pass, before, parameters);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (mut part, mut parameters) = self.condition(pass, z)?;
        self.transform.inverse(&mut part, &mut parameters, log_det);
        self.scatter(&part, z);
        self.keep(pass, part, parameters);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, |x, parameters, part| {
            self.transform.forward_vjp(x, parameters, part, log_det);
        })
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, |x, parameters, part| {
            self.transform.inverse_vjp(x, parameters, part, log_det);
        })
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.net.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.net.finish(state, derived_gradient, gradient)
    }

    /// An affine or spline coupling has no global constant: its Jacobian grows with the input, or
    /// its slopes have no bound (Behrmann et al. 2021, "Understanding and mitigating exploding
    /// inverses", theorem 2). The Jacobian of an additive one is unit triangular with the net's
    /// below the diagonal: for ‖J_net‖ = c its norm is at most that of [[1, 0], [c, 1]], which is
    /// (c + √(c² + 4))/2, and its inverse has −J_net in the same place.
    fn facts(&self) -> Facts {
        let closed = Facts {
            analytic_inverse: true,
            memory_saving: true,
            log_det: T::LOG_DET,
            ..Facts::UNKNOWN
        };
        if T::LOG_DET != LogDet::Zero {
            return closed;
        }
        let c = self.net.lipschitz();
        let bound = 0.5 * (c + (c * c + 4.0).sqrt());
        Facts { bi_lipschitz: self.net.is_lipschitz(), forward: bound, inverse: bound, ..closed }
    }
}

#[cfg(test)]
#[path = "coupling_tests.rs"]
mod tests;
