//! A density over a part of the plane.

use std::path::Path;

use plotters::chart::ChartBuilder;
use plotters::element::Rectangle;
use plotters::style::Color;

use super::canvas::{picture, Area, Drawn, SCALE};
use super::chart::{axes, chart, number, px, text, Window};
use super::colours::{sequential, INK};
use crate::{FlowError, Result, Scalar};

/// Cells of the picture, each way.
const CELLS: usize = 400;

/// Densities above this share of all cells get the lightest colour, so that a spike does not leave
/// the rest in the dark.
const SHOWN: f64 = 0.998;

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
    let at = |(low, high): (f64, f64), i: usize| {
        E::of(low + (high - low) * (i as f64 + 0.5) / CELLS as f64)
    };
    let points: Vec<E> = (0..CELLS * CELLS)
        .flat_map(|i| [at(window.x, i % CELLS), at(window.y, i / CELLS)])
        .collect();
    let densities: Vec<f64> = log_density(&points)?.iter().map(|v| v.as_f64().exp()).collect();
    if densities.len() != CELLS * CELLS {
        let (what, found) = ("the list of densities".into(), densities.len());
        return Err(FlowError::Length { what, found, expected: CELLS * CELLS });
    }
    let (top, cut) = top(&densities);
    picture(path.as_ref(), (890, 782), |area| {
        let (left, right) = area.split_horizontally(px(772));
        heat(&left, title, window, &densities, top)?;
        scale(&right, title, top, cut)
    })
}

/// The density of the lightest colour, and whether larger ones share it.
fn top(densities: &[f64]) -> (f64, bool) {
    let mut finite: Vec<f64> = densities.iter().copied().filter(|d| d.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    let shown = finite.len().saturating_sub(1) as f64 * SHOWN;
    let (top, largest) = (finite.get(shown as usize), finite.last());
    match (top, largest) {
        (Some(&top), Some(&largest)) if top > 0.0 => (top, largest > 1.02 * top),
        (_, Some(&largest)) if largest > 0.0 => (largest, false),
        _ => (1.0, false),
    }
}

fn heat(area: &Area<'_>, title: &str, window: Window, densities: &[f64], top: f64) -> Drawn {
    let mut chart = chart(area, title, window)?;
    let edge = |(low, high): (f64, f64), i: usize| low + (high - low) * i as f64 / CELLS as f64;
    chart.draw_series(densities.iter().enumerate().map(|(i, &density)| {
        let (column, row) = (i % CELLS, i / CELLS);
        let corners = [
            (edge(window.x, column), edge(window.y, row)),
            (edge(window.x, column + 1), edge(window.y, row + 1)),
        ];
        let share = if density.is_nan() { 0.0 } else { density / top };
        Rectangle::new(corners, sequential(share).filled())
    }))?;
    axes(&mut chart, ["", ""], false)
}

/// The bar of colours with their densities.
fn scale(area: &Area<'_>, title: &str, top: f64, cut: bool) -> Drawn {
    const STEPS: usize = 256;
    let mut builder = ChartBuilder::on(area);
    builder.margin(px(14)).margin_left(0).margin_right(px(80)).right_y_label_area_size(0);
    // As much room as the map leaves above and below.
    builder.x_label_area_size(px(42));
    if !title.is_empty() {
        builder.caption(" ", text(25));
    }
    let mut chart = builder.build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart.draw_series((0..STEPS).map(|i| {
        let at = |i: usize| i as f64 / STEPS as f64;
        let colour = sequential((i as f64 + 0.5) / STEPS as f64);
        Rectangle::new([(0.0, at(i)), (1.0, at(i + 1))], colour.filled())
    }))?;
    let (xs, ys) = chart.plotting_area().get_pixel_range();
    let height = f64::from(ys.end - ys.start);
    let origin = area.get_base_pixel();
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let y = ys.end - (share * height) as i32 - origin.1;
        let x = xs.end - origin.0;
        let sign = if cut && step == 4 { "≥ " } else { "" };
        let label = format!("{sign}{}", number(rounded(share * top)));
        let tick = [(x, y), (x + px(4) as i32, y)];
        area.draw(&plotters::element::PathElement::new(tick, INK.stroke_width(SCALE)))?;
        area.draw_text(&label, &text(17), (x + px(8) as i32, y - px(6) as i32))?;
    }
    Ok(())
}

/// Three digits are enough for a scale.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 2.0);
    (value / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn the_lightest_colour_is_not_left_to_a_spike() {
        let mut densities = vec![0.25; 10_000];
        assert_eq!(top(&densities), (0.25, false));
        densities[7] = 1e9;
        densities[8] = f64::INFINITY;
        densities[9] = f64::NAN;
        assert_eq!(top(&densities), (0.25, true));
        assert_eq!(top(&[0.0; 10]), (1.0, false));
        assert_eq!(top(&[f64::NAN]), (1.0, false));
        assert_eq!(top(&[0.0, 0.0, 0.0, 2.0]), (2.0, false));
    }

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
