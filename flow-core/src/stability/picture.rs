//! A report as a picture.

use std::path::Path;

use super::{Report, Spread, LEVELS};
use crate::plot::{curves, Curve};
use crate::Result;

impl Report {
    /// Draws the spread of errors and singular values over the rows: at each share of the rows, the
    /// number that this share stays below, as a power of ten. A curve ends where the numbers are no
    /// longer finite.
    ///
    /// # Errors
    /// [`FlowError::File`](crate::FlowError::File) where the picture cannot be written as a `.png`
    /// file.
    pub fn draw(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut all = Vec::new();
        for (name, way) in [("data, there and back", &self.data), ("latents", &self.latent)] {
            all.push(curve(name, way.once()));
            if let (Some(last), true) = (way.passes.last(), way.passes.len() > 1) {
                all.push(curve(&format!("{name}, {} times", way.passes.len()), last));
            }
        }
        all.push(curve("largest singular value", &self.jacobian.largest));
        all.push(curve("smallest singular value", &self.jacobian.smallest));
        let title = format!("stability of {} on {} rows", self.flow, self.rows);
        curves(path, &title, ["share of the rows (%)", "log10 of what they stay below"], &all)
    }
}

/// Quantiles over shares of all rows, so that rows that are not finite leave the right end empty.
fn curve(name: &str, spread: &Spread) -> Curve {
    let share = 100.0 * (1.0 - spread.share_non_finite());
    let quantiles = spread.finite.iter().flat_map(|finite| &finite.quantiles);
    Curve::new(name, LEVELS.iter().zip(quantiles).map(|(level, q)| (share * level, q.log10())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_numbers_are_not_finite() {
        let curve = curve("x", &Spread::of(&[10.0, f64::NAN, 1000.0, f64::INFINITY]));
        assert_eq!(curve.points.first(), Some(&(0.0, 1.0)));
        let last = curve.points.last().unwrap();
        assert!(last.0 == 50.0 && (last.1 - 3.0).abs() < 1e-12, "{last:?}");
        let nothing = super::curve("x", &Spread::of(&[f64::NAN]));
        assert!(nothing.points.is_empty());
    }
}
