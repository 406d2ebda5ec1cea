//! Measures all that a report says.

use super::extremes::{by_lanczos, full, Extremes, LANCZOS_STEPS};
use super::observed::{from_extremes, precision};
use super::probe::{distances, probe, Probe};
use super::report::{Conditioning, Method, Reconstruction, Report};
use super::spread::Spread;
use crate::engine::Direction;
use crate::{
    Architecture, Event, FlowError, Invertible, Noise, NormalizingFlow, Result, Rows, Scalar,
};

/// A report with the usual settings: [`Examination::default`] has them.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], relu));
///         affine_coupling(net = mlp([8], relu));
///     }
/// }
///
/// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let data = Rows::from_rows([[0.5, -1.0], [2.0, 0.0]])?;
/// let report = stability::report(&flow, &data)?;
/// println!("{report}");
/// assert!(report.data.once().worst() < 1e-5);
/// assert!(report.to_json()?.contains("\"rows\": 2"));
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Rows of another width than the flow's, or a block that is not initialised. Rows that become NaN
/// or infinite, or that a block refuses, are counted, not an error.
pub fn report<F>(flow: &F, data: &Rows<F::Scalar>) -> Result<Report>
where
    F: NormalizingFlow + ?Sized,
    F::Architecture: Invertible,
{
    Examination::default().run(flow, data)
}

/// What a [`report`] measures, and on how much.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability::Examination;
///
/// flow! { struct Turn: Vector<2> { linear(orthogonal); } }
///
/// let flow = Turn::<f64>::build(&Cpu::default(), 0)?;
/// let data = Rows::from_rows([[0.5, -1.0], [2.0, 0.0], [1.0, 1.0]])?;
/// let report = Examination::default().passes(1).jacobians(2).run(&flow, &data)?;
/// assert_eq!((report.data.passes.len(), report.jacobian.condition.rows), (1, 2));
/// assert!((report.jacobian.condition.worst() - 1.0).abs() < 1e-12);
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    passes: usize,
    samples: Option<usize>,
    jacobians: Option<usize>,
    full_up_to: usize,
    seed: u64,
}

impl Default for Examination {
    fn default() -> Self {
        Self { passes: 5, samples: None, jacobians: None, full_up_to: 4096, seed: 0 }
    }
}

impl Examination {
    /// How often rows go there and back: 5 times without.
    #[must_use]
    pub fn passes(mut self, passes: usize) -> Self {
        self.passes = passes;
        self
    }

    /// Samples of the base distribution: as many as rows of data without, up to 1,000.
    #[must_use]
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = Some(samples);
        self
    }

    /// Rows, at equal steps in the data, whose Jacobian is computed. Without, as many as take
    /// seconds: 1,000 at 64 numbers a row, 8 at 784, one at 3,072.
    #[must_use]
    pub fn jacobians(mut self, rows: usize) -> Self {
        self.jacobians = Some(rows);
        self
    }

    /// Up to how many numbers a row all singular values are computed: 4,096 without. Beyond, only
    /// the extreme ones are, by [`Method::Lanczos`].
    #[must_use]
    pub fn full_up_to(mut self, numbers: usize) -> Self {
        self.full_up_to = numbers;
        self
    }

    /// The seed of the base distribution's samples.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Examines a flow, or a view of one, on data.
    ///
    /// # Errors
    /// As [`report`], and a setting of 0.
    pub fn run<F>(&self, flow: &F, data: &Rows<F::Scalar>) -> Result<Report>
    where
        F: NormalizingFlow + ?Sized,
        F::Architecture: Invertible,
    {
        let settings = [
            ("passes", Some(self.passes)),
            ("samples", self.samples),
            ("jacobians", self.jacobians),
        ];
        for (option, value) in settings {
            if value == Some(0) {
                return Err(FlowError::option(option, 0, "at least 1"));
            }
        }
        self.examine(&probe(flow, data)?, data)
    }

    fn examine<A: Architecture<E>, E: Scalar>(
        &self,
        probe: &Probe<A, E>,
        data: &Rows<E>,
    ) -> Result<Report> {
        let all: Vec<usize> = (0..data.len()).collect();
        let forth = self.reconstruct(probe, Direction::Forward, data.values(), &all)?;
        let samples = self.samples.unwrap_or(data.len().min(1000));
        let z = probe.machine().sample_base(samples, &Noise::seed(self.seed), 1.0, None);
        let drawn: Vec<usize> = (0..samples).collect();
        let back = self.reconstruct(probe, Direction::Inverse, &z, &drawn)?;

        let size = probe.size();
        let of = at_equal_steps(data.len(), self.jacobians.unwrap_or(affordable(size)));
        let x: Vec<E> = of
            .iter()
            .flat_map(|row| &data.values()[row * size..(row + 1) * size])
            .copied()
            .collect();
        let extremes = |x: &[E], of: &[usize]| -> Result<Vec<Extremes>> {
            match size <= self.full_up_to {
                true => full(probe, Direction::Forward, x, of),
                false => by_lanczos(probe, x, of),
            }
        };
        let found = extremes(&x, &of)?;
        let again = |x: &[E], row: usize| Ok(extremes(x, &[row])?[0]);
        Ok(Report {
            flow: A::NAME.into(),
            event: A::Event::SHAPE.to_string(),
            scalar: E::NAME.into(),
            rows: data.len(),
            data: forth,
            latent: back,
            jacobian: self.conditioning(probe, &x, &of, &found)?,
            observed: from_extremes(probe, &x, &of, &found, again)?,
            certified: None,
        })
    }

    fn reconstruct<A: Architecture<E>, E: Scalar>(
        &self,
        probe: &Probe<A, E>,
        there: Direction,
        start: &[E],
        of: &[usize],
    ) -> Result<Reconstruction> {
        let back = match there {
            Direction::Inverse => Direction::Forward,
            Direction::Forward | Direction::LogProb => Direction::Inverse,
        };
        let mut place = start.to_vec();
        let mut passes = Vec::with_capacity(self.passes);
        let mut failure = None;
        for _ in 0..self.passes {
            for direction in [there, back] {
                let sent = probe.send(direction, &place, of)?;
                failure = failure.or(sent.failure);
                place = sent.values;
            }
            passes.push(Spread::of(&distances(start, &place, probe.size())));
        }
        let failure = failure.map(|(row, error)| format!("row {row}: {error}"));
        Ok(Reconstruction { passes, failure })
    }

    fn conditioning<A: Architecture<E>, E: Scalar>(
        &self,
        probe: &Probe<A, E>,
        x: &[E],
        of: &[usize],
        found: &[Extremes],
    ) -> Result<Conditioning> {
        let name = |place: usize| of[place];
        let spread = |number: &dyn Fn(&Extremes) -> f64| {
            Spread::at(&found.iter().map(number).collect::<Vec<_>>(), name)
        };
        let full = probe.size() <= self.full_up_to;
        let log_det = match full {
            true => {
                let own = probe.send(Direction::Forward, x, of)?.log_det;
                let pairs = own.iter().zip(found);
                let off: Vec<f64> =
                    pairs.map(|(own, e)| (own.as_f64() - e.log_det).abs()).collect();
                Some(Spread::at(&off, name))
            }
            false => None,
        };
        let resolution = precision(probe);
        let method = match full {
            true => Method::Full,
            false => Method::Lanczos(LANCZOS_STEPS.min(probe.size())),
        };
        Ok(Conditioning {
            method,
            largest: spread(&|e| e.largest),
            smallest: spread(&|e| e.smallest),
            condition: spread(&|e| e.largest / e.smallest),
            unresolved: match full {
                true => found.iter().filter(|e| e.smallest <= resolution * e.largest).count(),
                false => 0,
            },
            log_det,
        })
    }
}

/// Rows whose Jacobians and singular values take seconds together.
fn affordable(size: usize) -> usize {
    let products = 64_000 / size.max(1);
    let singular_values = 4_000_000_000 / size.saturating_pow(3).max(1);
    products.min(singular_values).clamp(1, 10_000)
}

/// At most `most` of the rows, at equal steps.
fn at_equal_steps(rows: usize, most: usize) -> Vec<usize> {
    let count = rows.min(most);
    (0..count).map(|i| i * rows / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_at_equal_steps() {
        assert_eq!(at_equal_steps(10, 3), [0, 3, 6]);
        assert_eq!(at_equal_steps(3, 10), [0, 1, 2]);
        assert_eq!(at_equal_steps(1, 1), [0]);
    }

    #[test]
    fn what_is_affordable_shrinks_with_the_size() {
        let sizes = [1, 2, 64, 784, 3072, 1 << 20];
        assert_eq!(sizes.map(affordable), [10_000, 10_000, 1000, 8, 1, 1]);
    }
}
