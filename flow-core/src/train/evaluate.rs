//! The likelihood of held-out rows.

use dfdx::prelude::Cpu;

use super::learner::fits;
use crate::engine::Direction;
use crate::{Architecture, Context, Event, Flow, Result, Rows, Scalar};

/// Numbers of a batch, so that images do not take more memory than vectors.
const BATCH_NUMBERS: usize = 1 << 18;
const BATCH_ROWS: usize = 4096;

/// How likely rows are under a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean log-likelihood of a row in nats; −∞ where a row lies outside the support.
    pub mean: f64,
    /// The standard error of the mean, NaN for a single row.
    pub standard_error: f64,
    /// How many rows that are.
    pub rows: usize,
}

/// The mean log-likelihood of rows in nats, with its standard error.
///
/// ```
/// # use dfdx::prelude::*;
/// # use flow_core::prelude::*;
/// # flow! { struct Tiny: Vector<2> { linear(diagonal); } }
/// let flow = Tiny::<f64>::build(&Cpu::default(), 0)?;
/// let found = evaluate(&flow, &Rows::from_rows([[0.0, 1.0], [1.0, 0.0]])?)?;
/// assert!((found.mean + (2.0 * std::f64::consts::PI).ln() + 0.5).abs() < 1e-12);
/// assert_eq!(found.standard_error, 0.0);
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Rows or contexts of another width than the flow's, or a block that is not initialised.
pub fn evaluate<A: Architecture<E>, E: Scalar>(
    flow: &Flow<A, E, Cpu>,
    rows: &Rows<E>,
) -> Result<Evaluation> {
    fits::<A, E>(rows)?;
    let size = A::Event::SHAPE.size();
    let count = (BATCH_NUMBERS / size).clamp(1, BATCH_ROWS);
    let mut x = Vec::with_capacity(count * size);
    let mut running = Running::default();
    for (i, part) in rows.values().chunks(count * size).enumerate() {
        x.clear();
        x.extend_from_slice(part);
        let from = i * count * A::Context::SIZE;
        let to = from + part.len() / size * A::Context::SIZE;
        let context = &rows.context_values()[from..to];
        let (numbers, _) = flow.machine().run(Direction::LogProb, &mut x, context, None)?;
        numbers.iter().for_each(|value| running.add(value.as_f64()));
    }
    Ok(running.finish())
}

/// Mean and spread in one pass (Welford 1962, "Note on a method for calculating corrected sums of
/// squares and products").
#[derive(Default)]
pub(crate) struct Running {
    count: usize,
    mean: f64,
    squares: f64,
}

impl Running {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        if self.mean == f64::NEG_INFINITY {
            return;
        }
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    pub(crate) fn finish(self) -> Evaluation {
        let rows = self.count;
        let variance = self.squares / (rows as f64 - 1.0);
        let standard_error = (variance / rows as f64).sqrt();
        Evaluation { mean: self.mean, standard_error, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f64]) -> Evaluation {
        let mut running = Running::default();
        values.iter().for_each(|v| running.add(*v));
        running.finish()
    }

    #[test]
    fn the_standard_error_is_that_of_the_textbook() {
        let values = [1e8 + 1.0, 1e8 + 2.0, 1e8 + 4.0, 1e8 + 9.0];
        let found = run(&values);
        assert_eq!(found.mean, 1e8 + 4.0);
        // Variance ((3² + 2² + 0² + 5²) / 3), over four rows.
        assert!((found.standard_error - (38.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-9);
        assert!(run(&[3.0]).standard_error.is_nan());
    }

    #[test]
    fn one_impossible_row_makes_the_mean_impossible() {
        let found = run(&[1.0, f64::NEG_INFINITY, 2.0]);
        assert_eq!((found.mean, found.rows), (f64::NEG_INFINITY, 3));
        assert!(found.standard_error.is_nan());
    }
}
