//! What a conditioner can give on a box.

use super::norm::{self, Map};
use super::{up, Interval};

/// The outputs of a net on a box of inputs, with a bound of its Jacobian there by the features that
/// it sees (not the context).
#[derive(Clone, Debug)]
pub struct Enclosure {
    /// Every output that a row can have.
    pub output: Vec<Interval>,
    jacobian: Jacobian,
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
        Self { output, jacobian: Jacobian::Whole(lipschitz) }
    }

    pub(crate) fn layered(output: Vec<Interval>, before: f64, last: Vec<f64>, map: Map) -> Self {
        Self { output, jacobian: Jacobian::Factors { before, last, map } }
    }

    /// An upper bound of the norm of `D·J` with a diagonal D whose entries are at most
    /// `scale[output]` in absolute value: one for each output of a pixel.
    pub fn norm(&self, scale: &[f64]) -> f64 {
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
