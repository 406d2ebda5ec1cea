//! Curves over a common axis, such as the history of a training.

use std::path::Path;

use plotters::chart::SeriesLabelPosition;
use plotters::element::{Circle, PathElement};
use plotters::style::Color;

use super::canvas::picture;
use super::chart::{axes, chart, legend, px, Window};
use super::colours::SERIES;
use crate::Result;

/// Points of a curve that can be told apart.
const MOST_POINTS: usize = 400;

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

/// Draws curves with a legend, under a title and over two named axes. Where a curve has more than
/// 400 points, means of neighbours are drawn.
///
/// # Errors
/// [`FlowError::Option`](crate::FlowError::Option) where the points reach further than `f64` counts,
/// and [`FlowError::File`](crate::FlowError::File) where the picture cannot be written as a `.png`
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
    let parts: Vec<Vec<Points>> = curves.iter().map(|curve| between_gaps(&curve.points)).collect();
    let all: Vec<f64> = parts.iter().flatten().flatten().flat_map(|&(x, y)| [x, y]).collect();
    let window = Window::around(&all);
    window.check()?;
    picture(path.as_ref(), (960, 600), |area| {
        let mut chart = chart(area, title, window)?;
        axes(&mut chart, axis_names, true)?;
        for ((curve, parts), colour) in curves.iter().zip(&parts).zip(SERIES.into_iter().cycle()) {
            let line = colour.stroke_width(px(2));
            // One piece at a time: the joints of a thick line shoot far beyond a sharp turn.
            let pieces = parts.iter().flat_map(|part| part.windows(2));
            let drawn = chart.draw_series(pieces.map(|ends| PathElement::new(ends, line)))?;
            if !curve.name.is_empty() {
                drawn
                    .label(&curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + px(22) as i32, y)], line));
            }
            let joints = parts.iter().flatten();
            chart.draw_series(joints.map(|&point| Circle::new(point, px(1), colour.filled())))?;
        }
        if curves.iter().any(|curve| !curve.name.is_empty()) {
            let at = free(window, &parts, curves.iter().map(|curve| curve.name.as_str()));
            legend(&mut chart, at)?;
        }
        Ok(())
    })
}

type Points = Vec<(f64, f64)>;

/// Where a legend of those names hides least of the curves.
fn free<'n>(
    window: Window,
    curves: &[Vec<Points>],
    names: impl Iterator<Item = &'n str>,
) -> SeriesLabelPosition {
    use SeriesLabelPosition::*;
    // Shares of the chart's sides, from the sizes of its text.
    let (mut width, mut height) = (0.0, 0.03);
    for name in names.filter(|name| !name.is_empty()) {
        width = f64::max(width, 0.08 + 0.0105 * name.chars().count() as f64);
        height += 0.045;
    }
    let share = |v: f64, (low, high): (f64, f64)| (v - low) / (high - low);
    let ends = curves.iter().flatten().flat_map(|part| part.windows(2));
    let points: Points = ends
        .flat_map(|ends| (0..=8).map(|i| (ends[0], ends[1], f64::from(i) / 8.0)))
        .map(|(a, b, t)| (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)))
        .map(|(x, y)| (share(x, window.x), share(y, window.y)))
        .collect();
    let hidden = |(left, low): (f64, f64)| {
        let over = |from: f64, size: f64, v: f64| (from..=from + size).contains(&v);
        points.iter().filter(|(x, y)| over(left, width, *x) && over(low, height, *y)).count()
    };
    let (right, top) = (1.0 - width, 1.0 - height);
    let corners = [
        (UpperRight, (right, top)),
        (LowerRight, (right, 0.0)),
        (UpperLeft, (0.0, top)),
        (LowerLeft, (0.0, 0.0)),
        (MiddleRight, (right, 0.5 * top)),
        (MiddleLeft, (0.0, 0.5 * top)),
    ];
    // Of those that hide as little, the first.
    let best = corners.into_iter().min_by_key(|(_, corner)| hidden(*corner));
    best.map_or(UpperRight, |(at, _)| at)
}

/// The curve between its gaps. Where there are more points than can be told apart, means of
/// neighbours stand for them.
fn between_gaps(points: &[(f64, f64)]) -> Vec<Points> {
    let share = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |some: &[(f64, f64)]| {
        let (x, y) = some.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (x / some.len() as f64, y / some.len() as f64)
    };
    let gaps = points.split(|(x, y)| !(x.is_finite() && y.is_finite()));
    gaps.map(|part| part.chunks(share).map(mean).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn many_points_become_means_and_gaps_stay() {
        let few = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)];
        assert_eq!(between_gaps(&few), [vec![(0.0, 1.0), (1.0, 2.0)], vec![(3.0, 4.0)]]);
        let many: Vec<_> = (0..800).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let drawn = between_gaps(&many);
        assert_eq!((drawn.len(), drawn[0].len()), (1, 400));
        assert_eq!(drawn[0][3], (6.5, 0.5));
    }

    #[test]
    fn a_legend_stands_where_it_hides_least() {
        let window = Window { x: (0.0, 10.0), y: (0.0, 1.0) };
        let at = |points: &[(f64, f64)]| {
            format!("{:?}", free(window, &[vec![points.to_vec()]], ["a name"; 3].into_iter()))
        };
        assert_eq!(at(&[(0.0, 1.0), (10.0, 0.0)]), "UpperRight");
        assert_eq!(at(&[(0.0, 0.0), (10.0, 1.0)]), "LowerRight");
        assert_eq!(at(&[(0.0, 0.0), (10.0, 0.0), (10.0, 1.0)]), "UpperLeft");
        assert_eq!(at(&[(0.0, 0.0), (9.0, 0.0), (9.0, 1.0), (0.0, 1.0)]), "MiddleLeft");
    }

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
