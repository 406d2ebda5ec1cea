//! A picture that is drawn large and made small, so that every edge is smooth.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, FontStyle, IntoDrawingArea, WHITE};
use plotters::style::register_font;

use crate::io::write_atomically;
use crate::{FlowError, Result};

/// Pixels drawn for a pixel of the file, each way.
pub(super) const SCALE: u32 = 3;

/// The name under which the crate's own font is registered.
pub(super) const FONT: &str = "flow-core Noto Sans";

/// Where a chart is drawn: all lengths are [`SCALE`] times those of the file.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// What drawing can run into.
pub(super) type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

/// Draws a picture of a width and height in pixels and writes it as PNG.
pub(super) fn picture(
    path: &Path,
    size: (usize, usize),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<()> {
    check(path)?;
    let size = sides(size)?;
    let failed = |error: &dyn std::fmt::Display| {
        FlowError::file(path, format_args!("cannot be drawn: {error}"))
    };
    register_font(FONT, FontStyle::Normal, ttf_noto_sans::REGULAR)
        .map_err(|_| failed(&"its font is damaged"))?;
    let large = (size.0 * SCALE, size.1 * SCALE);
    let mut pixels = vec![0; (large.0 * large.1 * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        draw(&area).map_err(|error| failed(&error))?;
    }
    let small = averaged(&pixels, size);
    write(path, size, &small)
}

/// A width and height that the backend can count the bytes of, also drawn large.
pub(super) fn sides((width, height): (usize, usize)) -> Result<(u32, u32)> {
    const MOST: usize = (u32::MAX / (3 * SCALE * SCALE)) as usize;
    if width.checked_mul(height).is_none_or(|pixels| pixels > MOST) {
        return Err(FlowError::option(
            "the size of the picture",
            format_args!("{width} × {height} pixels"),
            format_args!("at most {MOST} pixels\nhelp: draw several pictures"),
        ));
    }
    Ok((width as u32, height as u32))
}

fn check(path: &Path) -> Result<()> {
    let png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !png {
        return Err(FlowError::file(path, "is not a picture by its name, expected .png"));
    }
    Ok(())
}

/// Writes pixels of three bytes each as PNG: the whole picture or none.
pub(super) fn write(path: &Path, (width, height): (u32, u32), pixels: &[u8]) -> Result<()> {
    check(path)?;
    write_atomically(path, |file| {
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        Ok(writer.finish()?)
    })
}

/// Each pixel the mean of the [`SCALE`]² it covers.
fn averaged(large: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let (width, height, scale) = (width as usize, height as usize, SCALE as usize);
    let line = 3 * width * scale;
    let mut small = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let covered = (0..scale * scale).map(|i| {
                    let (row, column) = (y * scale + i / scale, x * scale + i % scale);
                    u32::from(large[row * line + 3 * column + channel])
                });
                small.push((covered.sum::<u32>() / (SCALE * SCALE)) as u8);
            }
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn a_pixel_is_the_mean_of_those_it_covers() {
        let large: Vec<u8> = (0..2 * 9 * 3).map(|i| if i % 3 == 0 { 90 } else { 0 }).collect();
        assert_eq!(averaged(&large, (2, 1)), [90, 0, 0, 90, 0, 0]);
        let mut large = vec![0; 27];
        large[0] = 90;
        assert_eq!(averaged(&large, (1, 1)), [10, 0, 0]);
    }

    #[test]
    fn a_picture_too_large_is_an_error() {
        for size in [(100_000, 100_000), (usize::MAX, 2), (1, 1 << 32)] {
            let error = picture(Path::new("a.png"), size, |_| Ok(())).unwrap_err().to_string();
            assert!(error.starts_with("the size of the picture is"), "{error}");
        }
        assert_eq!(sides((159_072_862, 1)), Ok((159_072_862, 1)));
    }

    #[test]
    fn only_png_files_are_written() {
        let error = picture(Path::new("a.jpg"), (9, 9), |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "a.jpg: is not a picture by its name, expected .png");
        let error = picture(Path::new("none/a.png"), (9, 9), |_| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("none/a.png: cannot be written"), "{error}");
    }

    #[test]
    fn a_picture_is_written_whole_or_not_at_all() {
        let folder = folder("pictures");
        let path = folder.join("a.png");
        let pixels: Vec<u8> = (0..5 * 3 * 3).map(|i| (17 * i % 251) as u8).collect();
        write(&path, (5, 3), &pixels).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut reader = png::Decoder::new(&whole[..]).read_info().unwrap();
        let mut back = vec![0; reader.output_buffer_size()];
        let info = reader.next_frame(&mut back).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (5, 3, png::ColorType::Rgb));
        assert_eq!(back, pixels);

        // One that fails half way leaves the picture that was there, and nothing beside it.
        let error = write(&path, (5, 4), &pixels).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be written", path.display())), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
