//! Points in a part of the plane.

use std::path::Path;

use plotters::element::Circle;
use plotters::style::Color;

use super::canvas::picture;
use super::chart::{axes, chart, px, Window};
use super::colours::SERIES;
use crate::{FlowError, Result, Scalar};

/// Draws points, rows of two coordinates; those outside the window are left out.
///
/// # Errors
/// [`FlowError::Length`] where the points are not pairs, [`FlowError::Option`] for an empty window,
/// and [`FlowError::File`] where the picture cannot be written as a `.png` file.
///
/// ```no_run
/// use flow_core::plot::{scatter, Window};
/// let points = [0.0, 1.0, 0.5, -1.0];
/// scatter("points.png", "two points", Window::around(&points), &points)?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn scatter<E: Scalar>(
    path: impl AsRef<Path>,
    title: &str,
    window: Window,
    points: &[E],
) -> Result<()> {
    window.check()?;
    if !points.len().is_multiple_of(2) {
        let (found, expected) = (points.len(), points.len() + 1);
        return Err(FlowError::Length { what: "the list of points".into(), found, expected });
    }
    let within = |value: f64, (low, high): (f64, f64)| low <= value && value <= high;
    let points = points
        .chunks_exact(2)
        .map(|point| (point[0].as_f64(), point[1].as_f64()))
        .filter(|&(x, y)| within(x, window.x) && within(y, window.y));
    // Many points are small and see-through, few are neither.
    let count = points.clone().count() as f64;
    let opacity = (60.0 / count.sqrt().max(1.0)).clamp(0.25, 0.9);
    let radius = if count > 3000.0 { px(4) / 3 } else { px(5) / 2 };
    picture(path.as_ref(), (800, 796), |area| {
        let mut chart = chart(area, title, window)?;
        let style = SERIES[0].mix(opacity).filled();
        chart.draw_series(points.map(|point| Circle::new(point, radius, style)))?;
        axes(&mut chart, ["", ""], false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;
    use crate::Noise;

    #[test]
    fn points_are_drawn_and_strays_left_out() {
        let path = folder("scatter").join("points.png");
        let mut points = vec![0f32; 2000];
        Noise::seed(1).fill_normal(0, &mut points);
        points.extend([f32::NAN, 0.0, 1e30, f32::INFINITY]);
        scatter(&path, "normal", Window::square(3.0), &points).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        scatter::<f64>(&path, "", Window::square(3.0), &[]).unwrap();
        let error = scatter(&path, "", Window::square(1.0), &[1.0, 2.0, 3.0]).unwrap_err();
        assert_eq!(error.to_string(), "the list of points has 3 numbers, expected 4");
    }
}
