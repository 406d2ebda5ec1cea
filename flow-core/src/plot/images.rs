//! Images side by side.

use std::path::Path;

use super::canvas::{sides, write};
use crate::{FlowError, Result, Scalar, Shape};

/// White between two images, in pixels of the file.
const GAP: usize = 2;
/// An image is drawn at least this wide and high, each of its pixels as a square.
const SIDE: usize = 64;
/// What stands where a number is not finite: no image has it by chance.
const BROKEN: [u8; 3] = [255, 0, 255];

/// Draws images of one channel (grey) or three (red, green, blue), `columns` in a line; an image is
/// its channels, rows and columns one after the other, of numbers between 0 (dark) and 1. What lies
/// outside counts as the nearer of the two, and what is not finite is drawn magenta.
///
/// # Errors
/// [`FlowError::Option`] for a vector, another number of channels, no columns, or no images or too many,
/// [`FlowError::Length`] for a last image that is cut off, and [`FlowError::File`] where the picture
/// cannot be written as a `.png` file.
///
/// ```no_run
/// use flow_core::plot::images;
/// use flow_core::Shape;
/// let two = vec![0.5; 2 * 3 * 8 * 8];
/// images("two.png", Shape::image(3, 8, 8), 2, &two)?;
/// # Ok::<(), flow_core::FlowError>(())
/// ```
pub fn images<E: Scalar>(
    path: impl AsRef<Path>,
    shape: Shape,
    columns: usize,
    numbers: &[E],
) -> Result<()> {
    let (channels, Some((height, width))) = (shape.features(), shape.sides()) else {
        return Err(FlowError::option("the shape of the images", shape, "an image"));
    };
    if ![1, 3].contains(&channels) || shape.size() == 0 {
        return Err(FlowError::option("the shape of the images", shape, "one channel or three"));
    }
    if columns == 0 || numbers.is_empty() {
        let found = format!("{} numbers in {columns} columns", numbers.len());
        return Err(FlowError::option("the picture", found, "at least one image and column"));
    }
    if !numbers.len().is_multiple_of(shape.size()) {
        let expected = numbers.len().next_multiple_of(shape.size());
        let what = "the list of images".into();
        return Err(FlowError::Length { what, found: numbers.len(), expected });
    }
    let zoom = SIDE.div_ceil(height.max(width));
    let (step_x, step_y) = (width * zoom + GAP, height * zoom + GAP);
    let count = numbers.len() / shape.size();
    let lines = count.div_ceil(columns);
    let columns = columns.min(count);
    let size = (columns * step_x + GAP, lines * step_y + GAP);
    let sides = sides(size)?;
    let mut pixels = vec![255; size.0 * size.1 * 3];
    for (i, image) in numbers.chunks_exact(shape.size()).enumerate() {
        let (left, top) = (GAP + i % columns * step_x, GAP + i / columns * step_y);
        for (y, x) in (0..height * zoom).flat_map(|y| (0..width * zoom).map(move |x| (y, x))) {
            let at = y / zoom * width + x / zoom;
            let colour: [u8; 3] = std::array::from_fn(|channel| {
                let value = image[channel % channels * height * width + at].as_f64();
                if value.is_finite() {
                    (value.clamp(0.0, 1.0) * 255.0).round() as u8
                } else {
                    BROKEN[channel]
                }
            });
            let place = ((top + y) * size.0 + left + x) * 3;
            pixels[place..place + 3].copy_from_slice(&colour);
        }
    }
    write(path.as_ref(), sides, &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn images_are_drawn_and_bad_ones_refused() {
        let path = folder("images").join("all.png");
        let grey: Vec<f32> = (0..5 * 6).map(|i| i as f32 / 25.0 - 0.1).collect();
        images(&path, Shape::image(1, 2, 3), 3, &grey).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        images(&path, Shape::image(3, 1, 1), 9, &[f64::NAN, 0.0, 1.0]).unwrap();
        for (shape, columns, count) in [
            (Shape::vector(6), 1, 6),
            (Shape::image(2, 1, 3), 1, 6),
            (Shape::image(1, 2, 3), 0, 6),
            (Shape::image(1, 2, 3), 1, 7),
            (Shape::image(1, 2, 3), 1, 0),
        ] {
            assert!(images(&path, shape, columns, &vec![0.0; count]).is_err(), "{shape}");
        }
    }
}
