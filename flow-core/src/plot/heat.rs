//! Numbers over a part of the plane.

use std::path::Path;

use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle};
use plotters::style::{Color, RGBColor};

use super::canvas::{picture, Area, Drawn, SCALE};
use super::chart::{axes, chart, count, number, px, text, Window};
use super::colours::{sequential, BROKEN, INK};
use crate::{FlowError, Result};

/// Numbers above this share of all cells get the lightest colour, so that a spike does not leave
/// the rest in the dark.
const SHOWN: f64 = 0.998;

/// Powers of ten that a logarithmic scale shows at most.
const DECADES: f64 = 24.0;

/// How a number becomes a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heat {
    /// From 0 on, in even steps.
    Linear,
    /// By its logarithm, from the smallest number that is not 0.
    Logarithmic,
}

/// Draws a number for each cell of a window as a heat map with its scale: `cells` columns each way,
/// row by row from below. Cells whose number is NaN or infinite are green, which no number is.
///
/// # Errors
/// [`FlowError::Option`] for an empty window or too many cells, [`FlowError::Length`] where there are not `cells²`
/// numbers, and [`FlowError::File`] where the picture cannot be written as a `.png` file.
pub fn heat_map(
    path: impl AsRef<Path>,
    title: &str,
    window: Window,
    heat: Heat,
    cells: usize,
    values: &[f64],
) -> Result<()> {
    window.check()?;
    let (found, expected) = (values.len(), count(cells)?);
    if found != expected {
        return Err(FlowError::Length { what: "the list of cells".into(), found, expected });
    }
    let scale = Scale::of(heat, values);
    let broken = values.iter().any(|v| !v.is_finite());
    picture(path.as_ref(), (890, 782), |area| {
        let (left, right) = area.split_horizontally(px(772));
        draw_cells(&left, title, window, cells, |i| scale.colour(values[i]))?;
        let note = if broken { "not finite" } else { "" };
        draw_scale(&right, title, &scale.labels(), note)
    })
}

/// The numbers of the darkest and the lightest colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    heat: Heat,
    low: f64,
    high: f64,
    /// Whether smaller numbers may share the darkest colour.
    from_below: bool,
    /// Whether larger numbers may share the lightest colour.
    cut: bool,
}

impl Scale {
    /// Between two numbers, which numbers beyond share the colours of.
    pub(super) fn between(heat: Heat, (low, high): (f64, f64)) -> Self {
        let (low, high) = match heat {
            Heat::Linear => (low, high),
            Heat::Logarithmic => (low.log10(), high.log10()),
        };
        Self { heat, low, high, from_below: true, cut: true }
    }

    /// For all of these numbers.
    pub(super) fn of(heat: Heat, values: &[f64]) -> Self {
        match heat {
            Heat::Linear => {
                let (high, cut) = top(values);
                Self { heat, low: 0.0, high, from_below: false, cut }
            }
            Heat::Logarithmic => {
                let positive = values.iter().filter(|v| v.is_finite() && **v > 0.0);
                let (low, high) = positive
                    .map(|v| v.log10())
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                let (low, high) = match low <= high {
                    true => (low.floor().max(high.ceil() - DECADES), high.ceil()),
                    false => (0.0, 1.0),
                };
                let high = if low < high { high } else { low + 1.0 };
                Self { heat, low, high, from_below: false, cut: false }
            }
        }
    }

    pub(super) fn colour(&self, value: f64) -> RGBColor {
        if !value.is_finite() {
            return BROKEN;
        }
        let value = match self.heat {
            Heat::Linear => value,
            Heat::Logarithmic => value.log10(),
        };
        sequential((value - self.low) / (self.high - self.low))
    }

    /// Shares of the bar with what stands beside them.
    pub(super) fn labels(&self) -> Vec<(f64, String)> {
        let length = self.high - self.low;
        let (stride, count) = match self.heat {
            Heat::Linear => (length / 4.0, 4),
            Heat::Logarithmic => {
                let stride = (length / 8.0).ceil().max(1.0);
                (stride, (length / stride) as i32)
            }
        };
        let label = |i| {
            let at = self.low + stride * f64::from(i);
            let value = match self.heat {
                Heat::Linear => rounded(at),
                Heat::Logarithmic => 10f64.powf(at),
            };
            let sign = match i {
                0 if self.from_below => "≤ ",
                _ if i == count && self.cut => "≥ ",
                _ => "",
            };
            ((at - self.low) / length, format!("{sign}{}", number(value)))
        };
        (0..=count).map(label).collect()
    }
}

/// The number of the lightest colour, and whether larger ones share it.
fn top(values: &[f64]) -> (f64, bool) {
    let mut finite: Vec<f64> = values.iter().copied().filter(|d| d.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    let shown = finite.len().saturating_sub(1) as f64 * SHOWN;
    let (top, largest) = (finite.get(shown as usize), finite.last());
    match (top, largest) {
        (Some(&top), Some(&largest)) if top > 0.0 => (top, largest > 1.02 * top),
        (_, Some(&largest)) if largest > 0.0 => (largest, false),
        _ => (1.0, false),
    }
}

pub(super) fn draw_cells(
    area: &Area<'_>,
    title: &str,
    window: Window,
    cells: usize,
    colour: impl Fn(usize) -> RGBColor,
) -> Drawn {
    let mut chart = chart(area, title, window)?;
    let edge = |(low, high): (f64, f64), i: usize| low + (high - low) * i as f64 / cells as f64;
    chart.draw_series((0..cells * cells).map(|i| {
        let (column, row) = (i % cells, i / cells);
        let corners = [
            (edge(window.x, column), edge(window.y, row)),
            (edge(window.x, column + 1), edge(window.y, row + 1)),
        ];
        Rectangle::new(corners, colour(i).filled())
    }))?;
    axes(&mut chart, ["", ""], false)
}

/// The bar of colours with labels at shares of its height; a note stands above in the colour of
/// what is not finite.
pub(super) fn draw_scale(
    area: &Area<'_>,
    title: &str,
    labels: &[(f64, String)],
    note: &str,
) -> Drawn {
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
    for (share, label) in labels {
        let y = ys.end - (share * height) as i32 - origin.1;
        let x = xs.end - origin.0;
        let tick = [(x, y), (x + px(4) as i32, y)];
        area.draw(&PathElement::new(tick, INK.stroke_width(SCALE)))?;
        area.draw_text(label, &text(17), (x + px(8) as i32, y - px(6) as i32))?;
    }
    if !note.is_empty() {
        let (x, y) = (xs.start - origin.0, ys.end - origin.1 + px(16) as i32);
        let side = px(14) as i32;
        area.draw(&Rectangle::new([(x, y), (x + side, y + side)], BROKEN.filled()))?;
        area.draw_text(note, &text(17), (x + side + px(5) as i32, y))?;
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
    fn a_logarithmic_scale_runs_from_power_to_power() {
        let scale = Scale::of(Heat::Logarithmic, &[3e-8, 0.0, f64::NAN, 2.0, f64::INFINITY]);
        assert_eq!((scale.low, scale.high), (-8.0, 1.0));
        assert_eq!(scale.colour(1e-8), sequential(0.0));
        assert_eq!(scale.colour(0.0), sequential(0.0));
        assert_eq!(scale.colour(10.0), sequential(1.0));
        let labels = scale.labels();
        assert_eq!((labels.len(), labels[0].1.as_str()), (5, "1.0e−8"));
        assert!(labels.iter().all(|(share, _)| (0.0..=1.0).contains(share)));
        // So many decades cannot be told apart: the smallest share the darkest colour.
        let wide = Scale::of(Heat::Logarithmic, &[1e-300, 1.0]);
        assert_eq!((wide.low, wide.high), (-24.0, 0.0));
        for values in [&[][..], &[0.0], &[f64::NAN], &[1.0, 1.0]] {
            let scale = Scale::of(Heat::Logarithmic, values);
            assert!(scale.low < scale.high, "{values:?}");
        }
    }

    #[test]
    fn what_is_not_finite_has_a_colour_of_its_own() {
        for heat in [Heat::Linear, Heat::Logarithmic] {
            let scale = Scale::of(heat, &[1.0, 2.0]);
            assert_eq!(scale.colour(f64::NAN), BROKEN);
            assert_eq!(scale.colour(f64::INFINITY), BROKEN);
        }
        assert!((0..=1000).all(|i| sequential(f64::from(i) / 1000.0) != BROKEN));
    }

    #[test]
    fn maps_are_written_and_errors_pass() {
        let path = folder("heat").join("map.png");
        let values: Vec<f64> =
            (0..9).map(|i| if i == 4 { f64::NAN } else { 10f64.powi(-i) }).collect();
        let window = Window::square(2.0);
        for heat in [Heat::Linear, Heat::Logarithmic] {
            heat_map(&path, "a map", window, heat, 3, &values).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        }
        heat_map(&path, "", window, Heat::Logarithmic, 1, &[f64::INFINITY]).unwrap();
        assert!(heat_map(&path, "", window, Heat::Linear, 2, &values).is_err());
        let error = heat_map(&path, "", window, Heat::Linear, 1 << 32, &[]).unwrap_err();
        assert!(error.to_string().starts_with("cells is 4294967296, expected"), "{error}");
        assert!(heat_map(&path, "", Window::square(0.0), Heat::Linear, 3, &values).is_err());
    }
}
