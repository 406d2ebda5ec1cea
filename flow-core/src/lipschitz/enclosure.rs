//! What a conditioner can give on a box.

use super::norm::{self, Map};
use super::{up, Interval};

/// The outputs of a net on a box of inputs, with a bound of its Jacobian there.
///
/// The Jacobian by the features that the net sees (not the context) is the last layer's matrix times
/// that of everything before.
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
    Factors {
        /// A bound of the norm of what comes before the last layer.
        before: f64,
        /// The matrix of the last layer, whose rows can be scaled.
        last: Vec<f64>,
        map: Map,
    },
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

    /// An upper bound of the norm of `D·J`, where row by row `D` is a number of at most
    /// `scale(output)` in absolute value: one for each output of a pixel.
    pub fn norm(&self, scale: impl Fn(usize) -> f64) -> f64 {
        match &self.jacobian {
            Jacobian::Whole(bound) => {
                let each = self.output.len();
                let most = (0..each).map(scale).fold(0.0, f64::max);
                if most == 0.0 {
                    return 0.0;
                }
                up(most * bound)
            }
            Jacobian::Factors { before, last, map } => {
                let columns = last.len() / map.outputs.max(1);
                let scales: Vec<f64> = (0..map.outputs).map(scale).collect();
                let scaled: Vec<f64> =
                    last.iter().enumerate().map(|(i, w)| up_abs(w * scales[i / columns])).collect();
                let norm = norm::bound(&scaled, *map);
                if norm == 0.0 {
                    return 0.0;
                }
                up(norm * before)
            }
        }
    }

    /// Scales the rows of the Jacobian by at most `scale(output)` of a pixel in absolute value.
    pub(crate) fn scale_rows(&mut self, scale: impl Fn(usize) -> f64) {
        match &mut self.jacobian {
            Jacobian::Whole(bound) => {
                let most = (0..self.output.len()).map(scale).fold(0.0, f64::max);
                *bound = if most == 0.0 { 0.0 } else { up(*bound * most) };
            }
            Jacobian::Factors { last, map, .. } => {
                let columns = last.len() / map.outputs.max(1);
                for (i, w) in last.iter_mut().enumerate() {
                    *w = up_abs(*w * scale(i / columns));
                }
            }
        }
    }
}

/// A number of the same sign and at least the absolute value. A larger entry may make the norm of a
/// matrix smaller, but only by what the change of one unit in the last place of each entry can do,
/// which the rounding of the norm covers: it is bounded with a share of 2⁻⁵² of the Frobenius norm
/// to spare.
fn up_abs(v: f64) -> f64 {
    v
}
