//! Convolutions with zero padding and stride 1, as products of patches with a matrix.
//!
//! An image is `height × width × channels`, its patches `height·width × kernel·kernel·channels`:
//! around each pixel the square of odd side `kernel`, zero where it leaves the image.

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The side of the square, odd.
    pub(crate) kernel: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Window {
    /// One pixel: a vector.
    pub(crate) const POINT: Self = Self { kernel: 1, height: 1, width: 1 };

    pub(crate) fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Entries of the square.
    pub(crate) fn taps(self) -> usize {
        self.kernel * self.kernel
    }

    /// Writes the patches of an image.
    pub(crate) fn patches<E: Copy + num_traits::Zero>(self, image: &[E], patches: &mut [E]) {
        let channels = image.len() / self.pixels();
        let mut end = 0;
        self.runs(channels, |at, from, len| {
            patches[end..at].fill(E::zero());
            end = at + len;
            patches[at..end].copy_from_slice(&image[from..from + len]);
        });
        patches[end..].fill(E::zero());
    }

    /// The transpose of [`patches`](Self::patches): adds each entry to its pixel.
    pub(crate) fn add_patches<E: Copy + std::ops::AddAssign>(self, patches: &[E], image: &mut [E]) {
        let channels = image.len() / self.pixels();
        self.runs(channels, |at, from, len| {
            let pixels = image[from..from + len].iter_mut();
            pixels.zip(&patches[at..at + len]).for_each(|(pixel, &v)| *pixel += v);
        });
    }

    /// Calls `each(place in the patches, place in the image, length)` for every row of every patch
    /// that lies in the image: what is contiguous in both.
    fn runs(self, channels: usize, mut each: impl FnMut(usize, usize, usize)) {
        let Self { kernel, height, width } = self;
        let reach = kernel / 2;
        for y in 0..height {
            for x in 0..width {
                let patch = (y * width + x) * kernel * kernel;
                let (left, right) = (reach.saturating_sub(x), (width + reach - x).min(kernel));
                for dy in reach.saturating_sub(y)..(height + reach - y).min(kernel) {
                    let at = (patch + dy * kernel + left) * channels;
                    let from = ((y + dy - reach) * width + x + left - reach) * channels;
                    each(at, from, (right - left) * channels);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_what_stands_around_a_pixel() {
        for (kernel, height, width, channels) in
            [(1, 2, 3, 2), (3, 2, 3, 2), (3, 1, 1, 1), (5, 3, 2, 1), (7, 2, 2, 3)]
        {
            let window = Window { kernel, height, width };
            let image: Vec<f64> = (1..=height * width * channels).map(|v| v as f64).collect();
            let mut patches = vec![f64::NAN; window.pixels() * window.taps() * channels];
            window.patches(&image, &mut patches);
            let mut counts = vec![0.0; image.len()];
            window.add_patches(&patches, &mut counts);
            let mut at = 0;
            let mut want_counts = vec![0.0; image.len()];
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for (dy, dx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    for c in 0..channels {
                        let (row, column) = (y + dy, x + dx);
                        let reach = kernel / 2;
                        let inside = (reach..height + reach).contains(&row)
                            && (reach..width + reach).contains(&column);
                        let place = |row, column| (row * width + column) * channels + c;
                        let want = if inside {
                            let place = place(row - reach, column - reach);
                            want_counts[place] += image[place];
                            image[place]
                        } else {
                            0.0
                        };
                        assert_eq!(patches[at], want, "kernel {kernel}, pixel {y}, {x}");
                        at += 1;
                    }
                }
            }
            assert_eq!(counts, want_counts);
        }
    }
}
