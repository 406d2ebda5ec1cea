//! Inputs unlike any data.

use crate::room::room;
use crate::{FlowError, Noise, Result, Rows, Scalar};

/// Inputs that no data set holds, within a range: what a flow makes of them shows whether its
/// inverse holds outside its training data.
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::stability::Inputs;
/// for inputs in Inputs::ALL {
///     let rows: Rows<f32> = inputs.rows(10, 3 * 8 * 8, (0.0, 1.0), &Noise::seed(0))?;
///     assert!(rows.values().iter().all(|v| (0.0..=1.0).contains(v)), "{inputs}");
/// }
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Independent normals around the middle of the range with half its width as standard
    /// deviation, those outside moved to its edge (Hendrycks and Gimpel 2017, "A baseline for
    /// detecting misclassified and out-of-distribution examples").
    Gaussian,
    /// Independent and uniform over the range.
    Uniform,
    /// Either edge of the range, each number by a fair coin.
    Rademacher,
    /// All numbers of a row equal, uniform over the range.
    Constant,
}

impl Inputs {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gaussian, Self::Uniform, Self::Rademacher, Self::Constant];

    /// Rows of `width` numbers within a range: `A::Event::SHAPE.size()` numbers for any event.
    ///
    /// # Errors
    /// No rows or more than memory can hold, a width of 0, or a range that is empty or not finite.
    pub fn rows<E: Scalar>(
        self,
        rows: usize,
        width: usize,
        (low, high): (f64, f64),
        noise: &Noise,
    ) -> Result<Rows<E>> {
        if !(low < high && (high - low).is_finite()) {
            return Err(FlowError::option(
                "the range of the inputs",
                format_args!("{low} to {high}"),
                "a lower edge below an upper one, both finite",
            ));
        }
        let noise = noise.named(self.name());
        let within = |share: f64| (low + (high - low) * share).clamp(low, high);
        let value = |i: u64| match self {
            Self::Gaussian => within(0.5 + 0.5 * noise.normal(i)),
            Self::Uniform => within(noise.uniform(i)),
            Self::Rademacher => [low, high][noise.below(i, 2) as usize],
            Self::Constant => within(noise.uniform(i / width.max(1) as u64)),
        };
        let count = room::<E>("the number of rows", rows, width)? as u64;
        // The first row that would not be finite in `E` is the error of `Rows`.
        Rows::new((0..count).map(|i| E::of(value(i))).collect(), width)
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "Gaussian",
            Self::Uniform => "uniform",
            Self::Rademacher => "Rademacher",
            Self::Constant => "constant",
        }
    }
}

impl std::fmt::Display for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(inputs: Inputs) -> Vec<f64> {
        let rows: Rows<f64> = inputs.rows(2000, 5, (-1.0, 3.0), &Noise::seed(1)).unwrap();
        assert_eq!((rows.len(), rows.width()), (2000, 5));
        rows.values().to_vec()
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn each_kind_is_what_it_says() {
        // Mean and deviation: a normal cut at one deviation each way keeps 0.7184 of it.
        for (inputs, deviation) in [
            (Inputs::Gaussian, 2.0 * 0.718_4),
            (Inputs::Uniform, 4.0 / 12f64.sqrt()),
            (Inputs::Rademacher, 2.0),
            (Inputs::Constant, 4.0 / 12f64.sqrt()),
        ] {
            let values = drawn(inputs);
            assert!(values.iter().all(|v| (-1.0..=3.0).contains(v)));
            let (mean, spread) = moments(&values);
            assert!((mean - 1.0).abs() < 0.1, "{inputs}: {mean}");
            assert!((spread - deviation).abs() < 0.05, "{inputs}: {spread}");
        }
        assert!(drawn(Inputs::Rademacher).iter().all(|v| *v == -1.0 || *v == 3.0));
        assert!(drawn(Inputs::Constant).chunks(5).all(|row| row.iter().all(|v| *v == row[0])));
        assert!(drawn(Inputs::Uniform).chunks(5).any(|row| row[0] != row[1]));
    }

    #[test]
    fn bad_ranges_and_sizes_are_errors() {
        let noise = Noise::seed(0);
        for range in [(1.0, 1.0), (2.0, 1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0)] {
            assert!(Inputs::Uniform.rows::<f64>(1, 1, range, &noise).is_err(), "{range:?}");
        }
        assert!(Inputs::Uniform.rows::<f64>(0, 1, (0.0, 1.0), &noise).is_err());
        assert!(Inputs::Uniform.rows::<f64>(usize::MAX, 2, (0.0, 1.0), &noise).is_err());
        assert!(Inputs::Uniform.rows::<f64>(1 << 60, 1, (0.0, 1.0), &noise).is_err());
        assert!(Inputs::Constant.rows::<f64>(1, 0, (0.0, 1.0), &noise).is_err());
        assert!(Inputs::Rademacher.rows::<f32>(64, 1, (0.0, 1e300), &noise).is_err());
    }
}
