//! Maps side by side, so that models can be compared.

use std::path::Path;

use super::canvas::{picture, Area, Drawn};
use super::chart::{count, px, text, Window};
use super::heat::{draw_cells, draw_scale, Heat, Scale};
use crate::{FlowError, Result};

/// Pixels of a map with its title and axes, and of the scale beside it.
const MAP: (u32, u32) = (430, 440);
const BAR: u32 = 112;
/// Pixels of a row's name and of each line of its notes.
const NAME: u32 = 40;
const NOTE: u32 = 24;

/// A column of [`panels`]: what its maps show, on one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What stands above each of its maps.
    pub name: String,
    /// How its numbers become colours.
    pub heat: Heat,
    /// The numbers of the darkest and the lightest colour, which numbers beyond share; those of all
    /// maps of the column where there are none.
    pub range: Option<(f64, f64)>,
}

/// A row of [`panels`]: one model's maps.
#[derive(Clone, Debug, PartialEq)]
pub struct PanelRow {
    /// What stands above the row.
    pub name: String,
    /// Lines in small print below the name.
    pub notes: Vec<String>,
    /// A map for each column, each of `cells²` numbers, row by row from below.
    pub maps: Vec<Vec<f64>>,
}

/// Draws a grid of heat maps of one window: a row for each model, a column for each quantity. All
/// maps of a column have the same scale. Cells whose number is NaN or infinite are green, which no
/// number is.
///
/// # Errors
/// [`FlowError::Option`] for an empty window, an empty range, or no rows or columns or too many,
/// [`FlowError::Length`] where a row has not a map for each column or a map not `cells²` numbers,
/// and [`FlowError::File`] where the picture cannot be written as a `.png` file.
///
/// ```no_run
/// use flow_core::plot::{panels, Column, Heat, PanelRow, Window};
/// let column = Column { name: "error".into(), heat: Heat::Logarithmic, range: Some((1e-8, 1.0)) };
/// let row = |name: &str, map: [f64; 4]| PanelRow {
///     name: name.into(),
///     notes: vec!["after 1,000 steps".into()],
///     maps: vec![map.to_vec()],
/// };
/// let rows = [row("first", [1e-7, 1e-6, 1e-3, 0.1]), row("second", [1e-7, 1e-7, 1e-6, 1e-7])];
/// panels("errors.png", Window::square(8.0), 2, &[column], &rows)?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn panels(
    path: impl AsRef<Path>,
    window: Window,
    cells: usize,
    columns: &[Column],
    rows: &[PanelRow],
) -> Result<()> {
    window.check()?;
    check(cells, columns, rows)?;
    let scales: Vec<Scale> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| match column.range {
            Some(range) => Scale::between(column.heat, range),
            None => {
                let all: Vec<f64> = rows.iter().flat_map(|row| &row.maps[i]).copied().collect();
                Scale::of(column.heat, &all)
            }
        })
        .collect();
    let width = columns.len().saturating_mul((MAP.0 + BAR) as usize);
    let total = rows.iter().map(height).fold(0, usize::saturating_add);
    picture(path.as_ref(), (width, total), |area| {
        let mut rest = area.clone();
        for row in rows {
            let (this, below) = rest.split_vertically(px(height(row) as u32));
            draw_row(&this, window, cells, columns, &scales, row)?;
            rest = below;
        }
        Ok(())
    })
}

/// Pixels of a row.
fn height(row: &PanelRow) -> usize {
    (NAME + MAP.1) as usize + NOTE as usize * row.notes.len()
}

fn check(cells: usize, columns: &[Column], rows: &[PanelRow]) -> Result<()> {
    for (what, found) in [("columns", columns.len()), ("rows", rows.len()), ("cells", cells)] {
        if found == 0 {
            return Err(FlowError::option(what, 0, "at least 1"));
        }
    }
    for Column { name, heat, range } in columns {
        let least = if *heat == Heat::Logarithmic { 0.0 } else { f64::NEG_INFINITY };
        if let Some((low, high)) = range {
            if !(least < *low && low < high && *high < f64::INFINITY) {
                return Err(FlowError::option(
                    format_args!("the range of `{name}`"),
                    format_args!("{low} to {high}"),
                    "two finite numbers, the first one smaller, above 0 on a logarithmic scale",
                ));
            }
        }
    }
    let numbers = count(cells)?;
    for PanelRow { name, maps, .. } in rows {
        let lengths = maps.iter().map(|map| ("a map", map.len(), numbers));
        let all = ("the maps", maps.len(), columns.len());
        for (what, found, expected) in [all].into_iter().chain(lengths) {
            if found != expected {
                let what = format!("{what} of `{name}`");
                return Err(FlowError::Length { what, found, expected });
            }
        }
    }
    Ok(())
}

fn draw_row(
    area: &Area<'_>,
    window: Window,
    cells: usize,
    columns: &[Column],
    scales: &[Scale],
    row: &PanelRow,
) -> Drawn {
    let left = px(16) as i32;
    area.draw_text(&row.name, &text(28), (left, px(10) as i32))?;
    for (i, note) in row.notes.iter().enumerate() {
        area.draw_text(note, &text(17), (left, px(NAME + 4 + NOTE * i as u32) as i32))?;
    }
    let (_, mut rest) = area.split_vertically(px(height(row) as u32 - MAP.1));
    for ((column, scale), values) in columns.iter().zip(scales).zip(&row.maps) {
        let (map, beside) = rest.split_horizontally(px(MAP.0));
        let (bar, next) = beside.split_horizontally(px(BAR));
        draw_cells(&map, &column.name, window, cells, |i| scale.colour(values[i]))?;
        let note = if values.iter().all(|v| v.is_finite()) { "" } else { "not finite" };
        draw_scale(&bar, &column.name, &scale.labels(), note)?;
        rest = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    fn column(range: Option<(f64, f64)>) -> Column {
        Column { name: "error".into(), heat: Heat::Logarithmic, range }
    }

    fn row(notes: usize, values: &[f64]) -> PanelRow {
        let notes = vec!["a line".into(); notes];
        PanelRow { name: "model".into(), notes, maps: vec![values.to_vec(); 2] }
    }

    #[test]
    fn a_picture_has_room_for_every_row_and_column() {
        let path = folder("panels").join("grid.png");
        let columns = [column(None), column(Some((1e-3, 10.0)))];
        let rows = [row(0, &[1.0, 2.0, f64::NAN, 4.0]), row(2, &[1e-9, 1e9, 0.0, 1.0])];
        panels(&path, Window::square(1.0), 2, &columns, &rows).unwrap();
        let png = std::fs::read(&path).unwrap();
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert_eq!((side(16), side(20)), (2 * (MAP.0 + BAR), 2 * (NAME + MAP.1) + 2 * NOTE));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let path = folder("panels").join("none.png");
        let window = Window::square(1.0);
        let good = [column(None), column(None)];
        let text = |cells, columns: &[Column], rows: &[PanelRow]| {
            panels(&path, window, cells, columns, rows).unwrap_err().to_string()
        };
        let rows = [row(0, &[1.0; 4])];
        assert!(text(2, &good[..1], &rows).contains("the maps of `model`"));
        assert!(text(3, &good, &rows).contains("a map of `model`"));
        assert!(text(2, &[], &rows).contains("columns"));
        assert!(text(2, &good, &[]).contains("rows"));
        for range in [(0.0, 1.0), (1.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)] {
            let found = text(2, &[column(Some(range)), column(None)], &rows);
            assert!(found.contains("the range of `error`"), "{found}");
        }
        assert!(panels(&path, Window::square(0.0), 2, &good, &rows).is_err());
        assert!(text(1 << 32, &good, &rows).starts_with("cells is 4294967296, expected"));
        let many = vec![row(0, &[1.0]); 10_000];
        assert!(text(1, &good, &many).starts_with("the size of the picture is 1084 × 4800000"));
        assert!(!path.exists());
    }
}
