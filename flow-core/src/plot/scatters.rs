//! Clouds of points side by side.

use std::path::Path;

use plotters::element::Circle;
use plotters::style::Color;

use super::canvas::picture;
use super::chart::{axes, chart, px, Window};
use super::colours::SERIES;
use super::scatter::within;
use crate::{FlowError, Result, Scalar};

/// Pixels of a small scatter with its title and axes.
const SIZE: (u32, u32) = (350, 350);

/// One of the small pictures of [`scatters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter<E> {
    /// What stands above it.
    pub title: String,
    /// The part of the plane it shows.
    pub window: Window,
    /// Its points, rows of two coordinates; those outside the window are left out.
    pub points: Vec<E>,
}

/// Draws small scatters, `columns` in a line, each with a window of its own: such as the data after
/// each block of a flow of the plane.
///
/// # Errors
/// [`FlowError::Option`] for no scatters or columns, too many, or an empty window,
/// [`FlowError::Length`] where points are not pairs, and [`FlowError::File`] where the picture cannot
/// be written as a `.png` file.
///
/// ```no_run
/// use flow_core::plot::{scatters, Scatter, Window};
/// let small = |title: &str, points: [f64; 4]| Scatter {
///     title: title.into(),
///     window: Window::square(2.0),
///     points: points.to_vec(),
/// };
/// let both = [small("before", [0.0, 1.0, 0.5, -1.0]), small("after", [0.1, 0.9, 0.4, -0.9])];
/// scatters("both.png", 2, &both)?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn scatters<E: Scalar>(
    path: impl AsRef<Path>,
    columns: usize,
    scatters: &[Scatter<E>],
) -> Result<()> {
    for (what, found) in [("columns", columns), ("scatters", scatters.len())] {
        if found == 0 {
            return Err(FlowError::option(what, 0, "at least 1"));
        }
    }
    for Scatter { title, window, points } in scatters {
        window.check()?;
        if !points.len().is_multiple_of(2) {
            let what = format!("the list of points of `{title}`");
            return Err(FlowError::Length {
                what,
                found: points.len(),
                expected: points.len() + 1,
            });
        }
    }
    let columns = columns.min(scatters.len());
    let lines = scatters.len().div_ceil(columns);
    let side = |count: usize, pixels: u32| count.saturating_mul(pixels as usize);
    picture(path.as_ref(), (side(columns, SIZE.0), side(lines, SIZE.1)), |area| {
        let colour = SERIES[0].mix(0.35).filled();
        for (area, one) in area.split_evenly((lines, columns)).iter().zip(scatters) {
            let mut chart = chart(area, &one.title, one.window)?;
            let points = within(&one.points, one.window);
            chart.draw_series(points.into_iter().map(|at| Circle::new(at, px(1), colour)))?;
            axes(&mut chart, ["", ""], false)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    fn one(title: &str, points: &[f32]) -> Scatter<f32> {
        Scatter { title: title.into(), window: Window::square(2.0), points: points.to_vec() }
    }

    #[test]
    fn lines_fill_from_the_left() {
        let path = folder("scatters").join("five.png");
        let five = vec![one("some", &[0.0, 1.0, f32::NAN, 0.0, 9.0, 9.0]); 5];
        scatters(&path, 3, &five).unwrap();
        let png = std::fs::read(&path).unwrap();
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert_eq!((side(16), side(20)), (3 * SIZE.0, 2 * SIZE.1));
        // The last place is empty, the points of the others are seen.
        let of = |points: &[f32]| {
            scatters(&path, 9, &[one("", points)]).unwrap();
            std::fs::read(&path).unwrap()
        };
        assert_ne!(of(&[0.0, 1.0]), of(&[]));
        assert_eq!(of(&[0.0, 3.0]), of(&[]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let path = folder("scatters-none").join("none.png");
        let text = |columns, some: &[Scatter<f32>]| {
            scatters(&path, columns, some).unwrap_err().to_string()
        };
        assert!(text(0, &[one("", &[])]).starts_with("columns is 0"));
        assert!(text(1, &[]).starts_with("scatters is 0"));
        let odd = text(1, &[one("odd", &[1.0])]);
        assert_eq!(odd, "the list of points of `odd` has 1 numbers, expected 2");
        let flat = Scatter { window: Window::square(0.0), ..one("", &[]) };
        assert!(text(1, &[flat]).starts_with("the window's x"));
        assert!(!path.exists());
    }
}
