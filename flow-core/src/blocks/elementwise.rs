use super::curves::Curve;
use super::non_empty;
use crate::engine::{Builder, Pass, State};
use crate::lipschitz::{Amplification, Cell, Interval, MeanValue, Probe, Slopes};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// One fixed function on every number, such as `tanh` or `logit`.
///
/// `C` is the function, one of [`curves`](super::curves). The log-determinant is the sum of
/// `log |f'|` over all entries. Data outside the function's domain have density 0: their
/// log-determinant is −∞ and their gradient 0. Latents outside its image are an error of the inverse
/// direction.
///
/// ```
/// use flow_core::blocks::{curves::Tanh, Elementwise};
/// use flow_core::{Builder, Shape};
///
/// let mut builder = Builder::<f32>::new(0);
/// let shape = Shape::image(3, 8, 8);
/// builder.block("0", |b| Elementwise::new(b, shape, Tanh))?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Elementwise<C> {
    curve: C,
    path: String,
}

impl<C: Curve> Elementwise<C> {
    /// The function on samples of that shape.
    ///
    /// # Errors
    /// Where `shape` holds no numbers, or the function's number is out of its range.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape, curve: C) -> Result<Self> {
        non_empty(shape)?;
        curve.check()?;
        Ok(Self { curve, path: builder.path() })
    }

    fn outside<E: Scalar>(&self, row: usize, entry: usize, value: E) -> FlowError {
        outside::<C>(&self.path, self.curve.image(), row, entry, value.as_f64())
    }
}

/// The error of a latent that is none, of the block at that path.
fn outside<C: Curve>(path: &str, image: &str, row: usize, entry: usize, value: f64) -> FlowError {
    let reason = format!(
        "row {row} holds {value} in entry {entry}, expected {image}\nhelp: clamp the latents to \
         that range, or choose a base distribution whose samples lie in it"
    );
    FlowError::Block { block: C::NAME, path: path.to_owned(), reason }
}

/// Keeps the input for the product, where there will be one.
fn keep<E: Scalar>(pass: &mut Pass<'_, E>, input: &[E]) {
    if pass.saving() {
        let input = pass.take_copy(input);
        pass.save(input);
    }
}

/// `g ← g·slope + e·bend`, with the slope and the derivative of its logarithm at each input.
fn product<E: Scalar>(
    pass: &mut Pass<'_, E>,
    gradient: &mut [E],
    log_det: &[E],
    slopes: impl Fn(E) -> (E, E),
) {
    let input = pass.restore();
    let size = gradient.len() / log_det.len();
    let rows = gradient.chunks_exact_mut(size).zip(input.chunks_exact(size));
    for ((gradient, input), &by_log_det) in rows.zip(log_det) {
        for (by, &v) in gradient.iter_mut().zip(input) {
            let (slope, bend) = slopes(v);
            *by = *by * slope + by_log_det * bend;
        }
    }
    pass.give(input);
}

impl<E: Scalar, C: Curve> Block<E> for Elementwise<C> {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        keep(pass, x);
        let size = x.len() / pass.rows();
        for (row, log_det) in x.chunks_exact_mut(size).zip(log_det) {
            for v in row {
                let (z, log_slope) = self.curve.forward(*v);
                *v = z;
                *log_det += log_slope;
            }
        }
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        keep(pass, z);
        let size = z.len() / pass.rows();
        for (i, (row, log_det)) in z.chunks_exact_mut(size).zip(log_det).enumerate() {
            for (entry, v) in row.iter_mut().enumerate() {
                let Some((x, log_slope)) = self.curve.inverse(*v) else {
                    return Err(self.outside(pass.row(i), entry, *v));
                };
                *v = x;
                *log_det += log_slope;
            }
        }
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        product(pass, gradient, log_det, |x| self.curve.slopes(x));
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        product(pass, gradient, log_det, |z| self.curve.inverse_slopes(z));
        Ok(())
    }

    super::lowered!(record);

    fn facts(&self) -> Facts {
        self.curve.facts()
    }

    /// The Jacobian is diagonal.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let backwards = probe.backwards();
        let (mut most, mut least) = (0.0_f64, f64::INFINITY);
        for v in probe.region().iter_mut() {
            let x = if backwards { self.curve.enclose_inverse(*v) } else { Some(*v) };
            let Some(x) = x else {
                // No point of the box has an image there.
                probe.lose_region();
                return Ok(Amplification::architectural(self.curve.facts()));
            };
            let (z, slope) = self.curve.enclose(x);
            *v = if backwards { x } else { z };
            (most, least) = (most.max(slope.high), least.min(slope.low));
        }
        Ok(Amplification::certified(most, (1.0 / least).next_up()))
    }

    /// It has no weights.
    fn add_bound_slopes(&self, _: &State<E>, _: [f64; 2], _: &mut Slopes<E>) -> bool {
        true
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let backwards = probe.backwards();
        let image = |v: Interval| {
            if !backwards {
                return Some(self.curve.enclose(v));
            }
            let x = self.curve.enclose_inverse(v)?;
            Some((x, self.curve.enclose(x).1.recip()))
        };
        let sign = Interval::point(if self.curve.falls() { -1.0 } else { 1.0 });
        let each = cell
            .centre
            .iter()
            .zip(&cell.sides)
            .map(|(&c, &side)| Some((image(Interval::point(c))?.0, sign * image(side)?.1)));
        let Some((centre, slopes)) = each.collect::<Option<(Vec<_>, Vec<_>)>>() else {
            return Ok(None);
        };
        Ok(Some(MeanValue::of_diagonal(centre, &slopes)))
    }
}

#[cfg(feature = "cuda")]
#[path = "elementwise_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "elementwise_tests.rs"]
mod tests;
