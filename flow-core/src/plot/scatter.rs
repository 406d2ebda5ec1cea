//! Points in a part of the plane.

use std::path::Path;

use plotters::chart::SeriesLabelPosition;
use plotters::element::Circle;
use plotters::style::Color;

use super::canvas::picture;
use super::chart::{axes, chart, legend, px, Window};
use super::colours::SERIES;
use crate::{FlowError, Result, Scalar};

/// Points, rows of two coordinates, and their name in the legend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cloud<'p, E> {
    /// Its name; none where it is empty.
    pub name: &'p str,
    /// Its points.
    pub points: &'p [E],
}

impl<'p, E: Scalar> Cloud<'p, E> {
    /// A named cloud.
    pub fn new(name: &'p str, points: &'p [E]) -> Self {
        Self { name, points }
    }
}

/// The points, rows of two coordinates, within the window.
pub(super) fn within<E: Scalar>(points: &[E], window: Window) -> Vec<(f64, f64)> {
    let inside = |value: f64, (low, high): (f64, f64)| low <= value && value <= high;
    let points = points.chunks_exact(2).map(|p| (p[0].as_f64(), p[1].as_f64()));
    points.filter(|&(x, y)| inside(x, window.x) && inside(y, window.y)).collect()
}

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
    clouds(path, title, window, &[Cloud::new("", points)])
}

/// Draws clouds of points in colours of their own, with a legend. Their points are drawn in turns,
/// so that none covers another. Those outside the window are left out.
///
/// # Errors
/// As [`scatter`].
///
/// ```no_run
/// use flow_core::plot::{clouds, Cloud, Window};
/// let (found, expected) = ([0.0, 1.0, 0.5, -1.0], [0.1, 0.9]);
/// let both = [Cloud::new("found", &found[..]), Cloud::new("expected", &expected[..])];
/// clouds("points.png", "two clouds", Window::square(2.0), &both)?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn clouds<E: Scalar>(
    path: impl AsRef<Path>,
    title: &str,
    window: Window,
    clouds: &[Cloud<'_, E>],
) -> Result<()> {
    window.check()?;
    if let Some(cloud) = clouds.iter().find(|cloud| !cloud.points.len().is_multiple_of(2)) {
        let (found, expected) = (cloud.points.len(), cloud.points.len() + 1);
        return Err(FlowError::Length { what: "the list of points".into(), found, expected });
    }
    let points: Vec<_> = clouds.iter().map(|cloud| within(cloud.points, window)).collect();
    // Many points are small and see-through, few are neither.
    let count = points.iter().map(Vec::len).sum::<usize>() as f64;
    let opacity = (60.0 / count.sqrt().max(1.0)).clamp(0.25, 0.9);
    let radius = if count > 3000.0 { px(4) / 3 } else { px(5) / 2 };
    let turns = points.iter().map(Vec::len).max().unwrap_or(0);
    picture(path.as_ref(), (800, 796), |area| {
        let mut chart = chart(area, title, window)?;
        let turns = (0..turns).flat_map(|turn| {
            let one = move |(points, colour): (&Vec<_>, _)| Some((*points.get(turn)?, colour));
            points.iter().zip(SERIES.into_iter().cycle()).filter_map(one)
        });
        chart.draw_series(
            turns.map(|(point, colour)| Circle::new(point, radius, colour.mix(opacity).filled())),
        )?;
        for (cloud, colour) in clouds.iter().zip(SERIES.into_iter().cycle()) {
            if !cloud.name.is_empty() {
                let none: [Circle<(f64, f64), u32>; 0] = [];
                chart.draw_series(none)?.label(cloud.name).legend(move |(x, y)| {
                    Circle::new((x + px(11) as i32, y), px(5), colour.filled())
                });
            }
        }
        axes(&mut chart, ["", ""], false)?;
        match clouds.iter().any(|cloud| !cloud.name.is_empty()) {
            true => legend(&mut chart, SeriesLabelPosition::UpperRight),
            false => Ok(()),
        }
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

    #[test]
    fn clouds_have_colours_and_names_of_their_own() {
        let path = folder("clouds").join("clouds.png");
        let (left, right) = ([-1.0, 0.0, -1.0, 0.5], [1.0, 0.0]);
        let draw = |clouds: &[Cloud<'_, f64>]| {
            super::clouds(&path, "two", Window::square(2.0), clouds).unwrap();
            std::fs::read(&path).unwrap()
        };
        let both = draw(&[Cloud::new("left", &left), Cloud::new("right", &right)]);
        assert_ne!(both, draw(&[Cloud::new("right", &right), Cloud::new("left", &left)]));
        assert_ne!(both, draw(&[Cloud::new("", &left), Cloud::new("", &right)]));
        draw(&[]);
        let odd = [Cloud::new("", &left[..]), Cloud::new("", &right[..1])];
        assert!(super::clouds(&path, "", Window::square(1.0), &odd).is_err());
    }
}
