//! Curves over a common axis, such as the history of a training.

use std::path::Path;

use plotters::chart::SeriesLabelPosition;
use plotters::element::PathElement;
use plotters::series::LineSeries;
use plotters::style::{Color, WHITE};

use super::canvas::picture;
use super::chart::{axes, chart, px, text, Window};
use super::colours::{FAINT, SERIES};
use crate::Result;

/// A curve and its name in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name; none where it is empty.
    pub name: String,
    /// Its points from left to right. It has a gap at those that are not finite.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// A named curve.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }
}

/// Draws curves with a legend, under a title and over two named axes.
///
/// # Errors
/// [`FlowError::File`](crate::FlowError::File) where the picture cannot be written as a `.png`
/// file.
///
/// ```no_run
/// use flow_core::plot::{curves, Curve};
/// let loss = Curve::new("training", [(0.0, 3.2), (100.0, 1.9), (200.0, 1.4)]);
/// curves("history.png", "history", ["step", "loss (nats)"], &[loss])?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn curves(
    path: impl AsRef<Path>,
    title: &str,
    axis_names: [&str; 2],
    curves: &[Curve],
) -> Result<()> {
    let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let all: Vec<f64> = curves
        .iter()
        .flat_map(|c| &c.points)
        .filter(|p| finite(p))
        .flat_map(|p| [p.0, p.1])
        .collect();
    let window = Window::around(&all);
    window.check()?;
    picture(path.as_ref(), (960, 600), |area| {
        let mut chart = chart(area, title, window)?;
        axes(&mut chart, axis_names, true)?;
        for (curve, colour) in curves.iter().zip(SERIES.into_iter().cycle()) {
            for (i, part) in curve.points.split(|point| !finite(point)).enumerate() {
                let line = LineSeries::new(part.iter().copied(), colour.stroke_width(px(2)));
                let drawn = chart.draw_series(line)?;
                if i == 0 && !curve.name.is_empty() {
                    drawn.label(&curve.name).legend(move |(x, y)| {
                        PathElement::new(
                            [(x, y), (x + px(22) as i32, y)],
                            colour.stroke_width(px(2)),
                        )
                    });
                }
            }
        }
        if curves.iter().any(|curve| !curve.name.is_empty()) {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .legend_area_size(px(28))
                .margin(px(10))
                .label_font(text(18))
                .background_style(WHITE.mix(0.85))
                .border_style(FAINT)
                .draw()?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn curves_with_gaps_and_without_points_are_drawn() {
        let path = folder("curves").join("history.png");
        let steps = (0..200).map(|i| (f64::from(i) * 25.0, 3.0 * (-f64::from(i) / 40.0).exp()));
        let gap =
            steps.clone().map(|(x, y)| (x, if y < 1.0 && y > 0.8 { f64::NAN } else { y + 0.2 }));
        let all = [Curve::new("training", steps), Curve::new("validation", gap)];
        curves(&path, "history", ["step", "negative log-likelihood (nats)"], &all).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        curves(&path, "", ["", ""], &[]).unwrap();
        curves(&path, "", ["", ""], &[Curve::new("", [(1.0, 1.0)])]).unwrap();
    }
}
