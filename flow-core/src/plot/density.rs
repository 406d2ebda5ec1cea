//! A density over a part of the plane.

use std::path::Path;

use super::canvas::picture;
use super::chart::{px, Window};
use super::heat::{draw_cells, draw_scale, Heat, Scale};
use crate::{FlowError, Result, Scalar};

/// Cells of the picture, each way.
const CELLS: usize = 400;

/// Draws a density over a window as a heat map with its scale. `log_density` gets rows of two
/// coordinates and returns the logarithm of the density of each; −∞ and NaN count as none.
///
/// # Errors
/// Those of `log_density`, [`FlowError::Option`] for an empty window, and [`FlowError::File`] where
/// the picture cannot be written as a `.png` file.
///
/// ```no_run
/// # use dfdx::prelude::*;
/// # use flow_core::prelude::*;
/// use flow_core::plot::{density_map, Window};
/// # flow! { struct Tiny: Vector<2> { linear(lu); } }
/// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let view = flow.view()?;
/// density_map("density.png", "learned density", Window::square(4.0), |points| {
///     view.log_prob_of_rows(points)
/// })?;
/// # Ok::<(), FlowError>(())
/// ```
pub fn density_map<E: Scalar>(
    path: impl AsRef<Path>,
    title: &str,
    window: Window,
    mut log_density: impl FnMut(&[E]) -> Result<Vec<E>>,
) -> Result<()> {
    window.check()?;
    let points = window.middles(CELLS)?;
    let densities: Vec<f64> = log_density(&points)?.iter().map(|v| v.as_f64().exp()).collect();
    if densities.len() != CELLS * CELLS {
        let (what, found) = ("the list of densities".into(), densities.len());
        return Err(FlowError::Length { what, found, expected: CELLS * CELLS });
    }
    let scale = Scale::of(Heat::Linear, &densities);
    picture(path.as_ref(), (890, 782), |area| {
        let (left, right) = area.split_horizontally(px(772));
        draw_cells(&left, title, window, CELLS, |i| {
            let density = densities[i];
            scale.colour(if density.is_nan() { 0.0 } else { density.min(f64::MAX) })
        })?;
        draw_scale(&right, title, &scale.labels(), "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn a_map_is_written_and_errors_pass() {
        let path = folder("density").join("map.png");
        let normal = |points: &[f32]| {
            Ok(points.chunks(2).map(|p| -0.5 * (p[0] * p[0] + p[1] * p[1])).collect())
        };
        density_map(&path, "a normal", Window::square(3.0), normal).unwrap();
        let png = std::fs::read(&path).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{} bytes", png.len());
        let nothing = |_: &[f64]| Ok(vec![f64::NEG_INFINITY; CELLS * CELLS]);
        density_map(&path, "", Window::square(3.0), nothing).unwrap();

        let short = |_: &[f64]| Ok(vec![0.0]);
        assert!(density_map(&path, "", Window::square(1.0), short).is_err());
        assert!(density_map(&path, "", Window::square(0.0), normal).is_err());
        let broken = FlowError::EmptyBatch { what: "x".into() };
        let failing = |_: &[f64]| Err(broken.clone());
        let error = density_map(&path, "", Window::square(1.0), failing);
        assert_eq!(error, Err(broken.clone()));
    }
}
