//! What all charts share: a window on the plane, and axes.

use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{BitMapBackend, Cartesian2d, IntoFont, TextStyle};
use plotters::style::{Color, WHITE};

use super::canvas::{Area, Drawn, FONT, SCALE};
use super::colours::{FAINT, INK};
use crate::room::room;
use crate::{FlowError, Result, Scalar};

/// A chart with linear axes.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// How many cells `cells` each way are.
pub(super) fn count(cells: usize) -> Result<usize> {
    let count = cells.checked_mul(cells);
    count
        .ok_or_else(|| FlowError::option("cells", cells, "so few that their square can be counted"))
}

/// The part of the plane that a picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Left and right edge.
    pub x: (f64, f64),
    /// Lower and upper edge.
    pub y: (f64, f64),
}

impl Window {
    /// Both axes from `-half` to `half`.
    pub fn square(half: f64) -> Self {
        Self { x: (-half, half), y: (-half, half) }
    }

    /// The smallest window with all points, rows of two, and a margin. Points that are not finite
    /// do not count.
    ///
    /// ```
    /// use flow_core::plot::Window;
    /// let window = Window::around(&[0.0, 1.0, 10.0, 3.0]);
    /// assert!(window.x.0 < 0.0 && window.x.1 > 10.0 && window.y.1 < 4.0);
    /// ```
    pub fn around<E: Scalar>(points: &[E]) -> Self {
        let side = |at: usize| {
            let values = points.iter().skip(at).step_by(2).map(|v| v.as_f64());
            let (low, high) = values
                .filter(|v| v.is_finite())
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            match low < high {
                true => (low - 0.04 * (high - low), high + 0.04 * (high - low)),
                false if low == high => (low - low.abs().max(1.0), low + low.abs().max(1.0)),
                false => (-1.0, 1.0),
            }
        };
        Self { x: side(0), y: side(1) }
    }

    /// The middles of `cells` by `cells` cells, row by row from below.
    ///
    /// # Errors
    /// More numbers than memory can hold.
    pub(crate) fn middles<E: Scalar>(&self, cells: usize) -> Result<Vec<E>> {
        let at = |(low, high): (f64, f64), i: usize| {
            E::of(low + (high - low) * (i as f64 + 0.5) / cells as f64)
        };
        room::<E>("cells", cells, cells.saturating_mul(2))?;
        Ok((0..cells * cells)
            .flat_map(|i| [at(self.x, i % cells), at(self.y, i / cells)])
            .collect())
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (axis, (low, high)) in [("x", self.x), ("y", self.y)] {
            if !(low < high && (high - low).is_finite()) {
                return Err(FlowError::option(
                    format_args!("the window's {axis}"),
                    format_args!("{low} to {high}"),
                    "a lower edge below an upper one, both finite",
                ));
            }
        }
        Ok(())
    }
}

/// A length of the file in pixels, as it is drawn.
pub(super) fn px(length: u32) -> u32 {
    length * SCALE
}

/// Text of a height in pixels of the file.
pub(super) fn text(height: u32) -> TextStyle<'static> {
    (FONT, f64::from(px(height))).into_font().color(&INK)
}

/// A chart with its title, without axes.
pub(super) fn chart<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    window: Window,
) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(px(14)).x_label_area_size(px(42)).y_label_area_size(px(62));
    if !title.is_empty() {
        builder.caption(title, text(25));
    }
    Ok(builder.build_cartesian_2d(window.x.0..window.x.1, window.y.0..window.y.1)?)
}

/// Axes with numbers and names, and a grid where wanted.
pub(super) fn axes(chart: &mut Chart<'_, '_>, names: [&str; 2], grid: bool) -> Drawn {
    let line = if grid { FAINT.to_rgba() } else { WHITE.mix(0.0) };
    let (x, y) = (chart.x_range(), chart.y_range());
    chart
        .configure_mesh()
        .axis_style(INK.stroke_width(SCALE))
        .bold_line_style(line.stroke_width(SCALE))
        .light_line_style(WHITE.mix(0.0))
        .set_all_tick_mark_size(px(4))
        .y_label_offset(px(2) as i32)
        .label_style(text(17))
        .axis_desc_style(text(18))
        .x_labels(9)
        .y_labels(9)
        .x_desc(names[0])
        .y_desc(names[1])
        .x_label_formatter(&|value| number(on_axis(*value, x.end - x.start)))
        .y_label_formatter(&|value| number(on_axis(*value, y.end - y.start)))
        .draw()?;
    Ok(())
}

/// The names of all series that have one.
pub(super) fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, at: SeriesLabelPosition) -> Drawn {
    chart
        .configure_series_labels()
        .position(at)
        .legend_area_size(px(28))
        .margin(px(10))
        .label_font(text(18))
        .background_style(WHITE.mix(0.85))
        .border_style(FAINT)
        .draw()?;
    Ok(())
}

/// A tick's place, 0 where rounding alone keeps it from that.
fn on_axis(value: f64, length: f64) -> f64 {
    match value.abs() < 1e-9 * length {
        true => 0.0,
        false => value,
    }
}

/// A tick's number without needless digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        0.0 => "0".into(),
        _ if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        _ => {
            let digits = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
            let text = format!("{value:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').into(),
                false => text,
            }
        }
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, want) in [
            (0.0, "0"),
            (-4.0, "−4"),
            (0.1 + 0.2, "0.3"),
            (2.5, "2.5"),
            (120.0, "120"),
            (1234.5, "1234"),
            (0.031_25, "0.03125"),
            (1e6, "1.0e6"),
            (-2.5e-7, "−2.5e−7"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
    }

    #[test]
    fn the_tick_at_0_is_exact() {
        assert_eq!(number(on_axis(-1.1e-16, 2.0)), "0");
        assert_eq!(number(on_axis(2e-16, 1e-15)), "2.0e−16");
    }

    #[test]
    fn a_window_holds_all_finite_points() {
        let window = Window::around(&[0.0, f64::NAN, 1.0, 5.0, f64::INFINITY, 5.0]);
        assert_eq!(window, Window { x: (-0.04, 1.04), y: (0.0, 10.0) });
        assert_eq!(Window::around::<f32>(&[]), Window::square(1.0));
        for bad in [(1.0, 1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0), (-1.7e308, 1.7e308)] {
            assert!(Window { x: bad, y: (0.0, 1.0) }.check().is_err(), "{bad:?}");
        }
    }
}
