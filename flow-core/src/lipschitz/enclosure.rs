//! What a conditioner can give on a box.

use super::norm::{self, Map};
use super::{up, Interval};

/// The outputs of a net on a box of inputs, with a bound of its Jacobian there by the features that
/// it sees (not the context).
///
/// ```
/// use flow_core::lipschitz::Enclosure;
///
/// // Two outputs, of which only the Lipschitz constant is known, scaled by 0.5 and 4.
/// let net = Enclosure::unknown(2, 3.0);
/// assert!((12.0..12.1).contains(&net.norm(&[0.5, 4.0])));
/// assert!(!net.output[0].is_bounded());
/// ```
#[derive(Clone, Debug)]
pub struct Enclosure {
    /// Every output that a row can have.
    pub output: Vec<Interval>,
    jacobian: Jacobian,
    /// By how much the Jacobian's rows are scaled on top, one for each output of a pixel; none for 1.
    rows: Option<Vec<f64>>,
}

#[derive(Clone, Debug)]
enum Jacobian {
    /// Only a bound of the whole is known; infinite where nothing is.
    Whole(f64),
    /// The last layer's matrix times everything before it, which has that norm.
    Factors { before: f64, last: Vec<f64>, map: Map },
}

impl Enclosure {
    /// Outputs of which nothing is known, of a net with a Lipschitz constant (infinite for none).
    pub fn unknown(outputs: usize, lipschitz: f64) -> Self {
        let output = vec![Interval::EVERYTHING; outputs];
        Self { output, jacobian: Jacobian::Whole(lipschitz), rows: None }
    }

    pub(crate) fn layered(output: Vec<Interval>, before: f64, last: Vec<f64>, map: Map) -> Self {
        Self { output, jacobian: Jacobian::Factors { before, last, map }, rows: None }
    }

    /// With a function of each output behind it, whose slope is at most `rows[output]`: one for each
    /// output of a pixel.
    pub(crate) fn scale_rows(self, rows: Vec<f64>) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// An upper bound of the norm of `D·J` with a diagonal D whose entries are at most
    /// `scale[output]` in absolute value: one for each output of a pixel.
    pub fn norm(&self, scale: &[f64]) -> f64 {
        // A greater diagonal has a norm no less.
        let scaled: Vec<f64>;
        let scale = match &self.rows {
            None => scale,
            Some(rows) => {
                let by =
                    |(&a, &b): (&f64, &f64)| if a == 0.0 || b == 0.0 { 0.0 } else { up(a * b) };
                scaled = scale.iter().zip(rows).map(by).collect();
                &scaled
            }
        };
        let most = scale.iter().copied().fold(0.0, f64::max);
        let (norm, before) = match &self.jacobian {
            Jacobian::Whole(bound) => (most, *bound),
            Jacobian::Factors { before, last, map } => {
                (norm::scaled(last, *map, |row| scale[row]), *before)
            }
        };
        // A net that does not depend on its input does not, however far it is scaled.
        if norm == 0.0 || before == 0.0 {
            return 0.0;
        }
        up(norm * before)
    }
}
