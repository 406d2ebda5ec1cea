//! The largest amplification seen on data.

use serde::{Deserialize, Serialize};

use super::extremes::{full, largest_by_lanczos, stretched, Extremes};
use super::probe::{probe, widened, Probe};
use crate::engine::Direction;
use crate::{Architecture, Invertible, Noise, NormalizingFlow, Result, Rows, Scalar};

/// Up to this many numbers a row, all singular values are computed.
const FULL: usize = 256;

/// Evaluations of one amplification at places that differ by rounding.
const REPEATS: u64 = 4;

/// How far an amplification may be off is this many times what the repeats differ by.
const CAUTION: f64 = 4.0;

/// The largest observed amplification of both directions of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Of errors in data, by the forward direction; none where no Jacobian was finite.
    pub forward: Option<SingularValue>,
    /// Of errors in latents, by the inverse; none where no Jacobian was finite.
    pub inverse: Option<SingularValue>,
}

/// The largest singular value seen, and how far rounding may have moved it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SingularValue {
    /// The largest singular value of the rows' Jacobians, as computed.
    pub largest: f64,
    /// An estimate of its rounding error: four times what evaluations at places that differ by
    /// rounding disagree, and the precision of `f64` (of the flow, in a report) times its
    /// numbers and blocks.
    pub error: f64,
    /// The row it was seen on.
    pub row: usize,
    /// How many rows had a finite Jacobian.
    pub rows: usize,
}

impl SingularValue {
    /// The amplification less its rounding error: a Lipschitz constant cannot be below it.
    ///
    /// The rounding error is estimated, not proved: a certified bound below this number is a bug of
    /// either.
    pub fn lower_bound(&self) -> f64 {
        (self.largest - self.error).max(0.0)
    }
}

/// The largest amplification of a flow and its inverse on rows: lower bounds of their Lipschitz
/// constants. Each row of data counts for the forward direction, and its latent for the inverse.
///
/// All is computed in `f64`, with a copy of the weights where the flow is in `f32`: like certified
/// bounds, the result is of the map that the weights stand for, not of what rounding makes of it.
/// (A [`report`](super::report) is of the flow in its own precision.)
///
/// Up to 256 numbers a row, all singular values of each Jacobian are computed in `f64`. Beyond,
/// it is the process of Golub and Kahan, whose result is ‖Jᵀu‖ for a unit vector `u` and so a
/// lower bound too, most often within a few per cent.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability;
///
/// flow! { struct Scale: Vector<2> { linear(diagonal); } }
///
/// let mut flow = Scale::<f64>::build(&Cpu::default(), 0)?;
/// flow.set("0.log_scale", &[4f64.ln(), -(2f64.ln())])?;
/// let seen = stability::observed(&flow, &Rows::from_rows([[0.0, 1.0]])?)?;
/// let (forward, inverse) = (seen.forward.unwrap(), seen.inverse.unwrap());
/// assert!(forward.lower_bound() <= 4.0 && forward.lower_bound() > 3.99);
/// assert!(inverse.lower_bound() <= 2.0 && inverse.lower_bound() > 1.99);
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Rows of another width than the flow's, or a block that is not initialised. A row that is not
/// finite on its way, or that a block refuses, does not count.
pub fn observed<F>(flow: &F, data: &Rows<F::Scalar>) -> Result<Observed>
where
    F: NormalizingFlow + ?Sized,
    F::Architecture: Invertible,
{
    let probe = probe(flow, data)?.widened()?;
    let (x, of) = (widened(data.values()), (0..data.len()).collect::<Vec<usize>>());
    let z = probe.send(Direction::Forward, &x, &of)?.values;
    let forward = seen(&probe, Direction::Forward, &x, &of)?;
    let inverse = seen(&probe, Direction::Inverse, &z, &of)?;
    Ok(Observed { forward, inverse })
}

fn seen<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    direction: Direction,
    x: &[E],
    of: &[usize],
) -> Result<Option<SingularValue>> {
    let size = probe.size();
    let (values, vectors): (Vec<f64>, Vec<Vec<f64>>) = if size <= FULL {
        let values = full(probe, direction, x, of)?;
        (values.iter().map(|v| v.largest).collect(), Vec::new())
    } else {
        largest_by_lanczos(probe, direction, x, of)?.into_iter().unzip()
    };
    let Some(row) = top(&values) else { return Ok(None) };
    let (largest, rows) = (values[row], values.iter().filter(|v| v.is_finite()).count());
    let mut spread = 0.0_f64;
    for repeat in 0..REPEATS {
        let near = near(&x[row * size..(row + 1) * size], repeat);
        let again = match vectors.get(row) {
            Some(u) => stretched(probe, direction, &near, &[of[row]], std::slice::from_ref(u))?[0],
            None => full(probe, direction, &near, &[of[row]])?[0].largest,
        };
        spread = spread.max((again - largest).abs());
    }
    let error = CAUTION * spread + precision(probe) * largest;
    Ok(Some(SingularValue { largest, error, row: of[row], rows }))
}

/// What a report has seen, from the Jacobians of the forward direction alone: the smallest singular
/// value is one over the inverse's amplification.
pub(super) fn from_extremes<A: Architecture<E>, E: Scalar>(
    probe: &Probe<A, E>,
    x: &[E],
    of: &[usize],
    extremes: &[Extremes],
    again: impl Fn(&[E], usize) -> Result<Extremes>,
) -> Result<Observed> {
    let size = probe.size();
    let rows = extremes.iter().filter(|e| e.largest.is_finite()).count();
    let spread = |row: usize, value: fn(&Extremes) -> f64| -> Result<f64> {
        let mut spread = 0.0_f64;
        for repeat in 0..REPEATS {
            let near = near(&x[row * size..(row + 1) * size], repeat);
            let again = again(&near, of[row])?;
            spread = spread.max((value(&again) - value(&extremes[row])).abs());
        }
        Ok(CAUTION * spread + precision(probe) * extremes[row].largest)
    };
    let largest: Vec<f64> = extremes.iter().map(|e| e.largest).collect();
    let forward = match top(&largest) {
        Some(row) => {
            let error = spread(row, |e| e.largest)?;
            Some(SingularValue { largest: largest[row], error, row: of[row], rows })
        }
        None => None,
    };
    let inverse: Vec<f64> = extremes.iter().map(|e| 1.0 / e.smallest).collect();
    let inverse = match top(&inverse) {
        Some(row) => {
            let smallest = extremes[row].smallest;
            let lower = 1.0 / (smallest + spread(row, |e| e.smallest)?);
            let error = if lower.is_finite() { inverse[row] - lower } else { inverse[row] };
            Some(SingularValue { largest: inverse[row], error, row: of[row], rows })
        }
        None => None,
    };
    Ok(Observed { forward, inverse })
}

/// The place of the largest finite number.
fn top(values: &[f64]) -> Option<usize> {
    let finite = (0..values.len()).filter(|&i| values[i].is_finite());
    finite.max_by(|&a, &b| values[a].total_cmp(&values[b]))
}

/// What a sum of as many terms as a row has numbers, through all blocks, may lose, relatively.
pub(super) fn precision<A: Architecture<E>, E: Scalar>(probe: &Probe<A, E>) -> f64 {
    let blocks = probe.machine().layout().leaves.len();
    E::epsilon().as_f64() * (probe.size() + blocks) as f64
}

/// The same row, each number moved by about its rounding.
fn near<E: Scalar>(row: &[E], repeat: u64) -> Vec<E> {
    let noise = Noise::seed(0x6f62).at(repeat);
    let move_by = |i: usize| 2.0 * E::epsilon().as_f64() * (noise.uniform(i as u64) - 0.5);
    row.iter().enumerate().map(|(i, v)| *v * (E::one() + E::of(2.0 * move_by(i)))).collect()
}
