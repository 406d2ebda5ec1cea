use std::ops::Range;

use crate::{Element, LANES};

/// Lines in a run of vectors, at most.
const LINES: usize = 8;

/// How numbers lie in runs: the rows are cut into blocks, at most 128 vectors or one image each, and
/// a block holds one run of numbers for each feature.
///
/// The numbers of a block are close together, so that a product walks through them in order. In the
/// run of an image its pixels stand line after line, with a margin of zeros between the lines and
/// around all of them, so that a square around any pixel is found at fixed distances. One row alone
/// has no margin: its features stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    rows: usize,
    /// Rows in a block.
    each: usize,
    height: usize,
    width: usize,
    /// Pixels around an image that a kernel reaches.
    reach: usize,
    /// From one feature to the next.
    stride: usize,
    /// Where the first pixel of a run is.
    start: usize,
    /// Numbers from `start` on that kernels compute.
    filled: usize,
}

impl Runs {
    /// The layout of that many vectors.
    pub fn of(rows: usize) -> Self {
        let lines = rows.div_ceil(LANES).clamp(1, LINES);
        // An odd number of lines from run to run spreads the features over the whole cache.
        let (each, stride) = if rows == 1 { (1, 1) } else { (lines * LANES, (lines | 1) * LANES) };
        Self { rows, each, height: 1, width: 1, reach: 0, stride, start: 0, filled: each }
    }

    /// The layout of that many images of some height and width, for convolutions that reach so many
    /// pixels to each side.
    pub fn of_images(rows: usize, reach: usize, (height, width): (usize, usize)) -> Self {
        let line = width + reach;
        let start = reach * line + reach;
        let filled = (height * line).div_ceil(LANES) * LANES;
        // An odd number of lines from run to run spreads the features over the whole cache.
        let stride = ((start + filled + start).div_ceil(LANES) | 1) * LANES;
        Self { rows, each: 1, height, width, reach, stride, start, filled }
    }

    /// Rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Numbers of a buffer of that many features.
    pub fn len(self, features: usize) -> usize {
        self.blocks() * self.block(features)
    }

    /// Where the pixels of a row have one of so many features, line after line.
    pub fn lines(
        self,
        row: usize,
        feature: usize,
        features: usize,
    ) -> impl Iterator<Item = Range<usize>> {
        let block = row / self.each * self.block(features);
        let start = block + feature * self.stride + self.start + row % self.each;
        let (line, width) = (self.width + self.reach, self.width);
        (0..self.height).map(move |y| start + y * line..start + y * line + width)
    }

    pub(crate) fn blocks(self) -> usize {
        self.rows.div_ceil(self.each).max(1)
    }

    /// Numbers of a block of that many features.
    pub(crate) fn block(self, features: usize) -> usize {
        features * self.stride
    }

    /// Numbers from one feature to the next.
    pub(crate) fn stride(self) -> usize {
        self.stride
    }

    /// Whether features stand side by side.
    pub(crate) fn is_single(self) -> bool {
        self.stride == 1
    }

    /// The part of a run that kernels compute.
    pub(crate) fn computed(self) -> Range<usize> {
        self.start..self.start + self.filled
    }

    /// The distance to each pixel of a square around a pixel, line after line.
    ///
    /// # Panics
    /// Where the square reaches farther than the margin.
    pub(crate) fn offsets(self, kernel: usize) -> impl Iterator<Item = isize> + Clone {
        assert!(kernel / 2 <= self.reach, "a kernel of {kernel} in a margin of {}", self.reach);
        let (line, reach) = ((self.width + self.reach) as isize, (kernel / 2) as isize);
        (0..(kernel * kernel) as isize).map(move |tap| {
            let kernel = kernel as isize;
            (tap / kernel - reach) * line + tap % kernel - reach
        })
    }

    /// Puts rows into runs, and zeros into the margin. A row holds the features of one pixel after
    /// those of another; rows begin `every` numbers apart.
    ///
    /// # Panics
    /// Where `rows` ends early, or `into` is not a whole number of features.
    pub fn gather<E: Element>(self, rows: &[E], every: usize, into: &mut [E]) {
        E::gather(self, rows, every, into);
    }

    /// Takes runs back into rows.
    ///
    /// # Panics
    /// As [`gather`](Self::gather).
    pub fn scatter<E: Element>(self, from: &[E], every: usize, rows: &mut [E]) {
        E::scatter(self, from, every, rows);
    }

    /// Sets the margin to zero where there are kernels to reach into it.
    pub fn clear<E: Element>(self, runs: &mut [E]) {
        if self.reach > 0 {
            self.clear_all(runs);
        }
    }

    fn clear_all<E: Element>(self, runs: &mut [E]) {
        let Self { height, width, reach, stride, start, .. } = self;
        let line = width + reach;
        for run in runs.chunks_exact_mut(stride) {
            run[..start].fill(E::default());
            let (lines, rest) = run[start..].split_at_mut(height * line);
            lines.chunks_exact_mut(line).for_each(|line| line[width..].fill(E::default()));
            rest.fill(E::default());
        }
    }

    fn features(self, numbers: usize) -> usize {
        let features = numbers / self.len(1);
        assert_eq!(numbers, self.len(features), "runs of {} rows", self.rows);
        features
    }
}

/// [`Runs::gather`].
#[inline(always)]
pub(crate) fn gather<E: Element>(runs: Runs, rows: &[E], every: usize, into: &mut [E]) {
    if runs.is_single() {
        return into.copy_from_slice(&rows[..into.len()]);
    }
    let features = runs.features(into.len());
    if features == 0 || runs.rows == 0 {
        return into.fill(E::default());
    }
    if runs.reach > 0 || runs.height * runs.width > 1 {
        runs.clear_all(into);
        for row in 0..runs.rows {
            for feature in 0..features {
                let mut from = rows[row * every + feature..].iter().step_by(features);
                for line in runs.lines(row, feature, features) {
                    into[line].iter_mut().zip(&mut from).for_each(|(to, &v)| *to = v);
                }
            }
        }
        return;
    }
    for (k, block) in into.chunks_exact_mut(runs.block(features).max(1)).enumerate() {
        let first = k * runs.each;
        for row in 0..runs.stride {
            let to = block[row..].iter_mut().step_by(runs.stride);
            if row < runs.each && first + row < runs.rows {
                let from = &rows[(first + row) * every..][..features];
                to.zip(from).for_each(|(to, &v)| *to = v);
            } else {
                to.for_each(|to| *to = E::default());
            }
        }
    }
}

/// [`Runs::scatter`].
#[inline(always)]
pub(crate) fn scatter<E: Element>(runs: Runs, from: &[E], every: usize, rows: &mut [E]) {
    if runs.is_single() {
        return rows[..from.len()].copy_from_slice(from);
    }
    let features = runs.features(from.len());
    if features == 0 {
        return;
    }
    if runs.reach > 0 || runs.height * runs.width > 1 {
        for row in 0..runs.rows {
            for feature in 0..features {
                let mut to = rows[row * every + feature..].iter_mut().step_by(features);
                for line in runs.lines(row, feature, features) {
                    from[line].iter().zip(&mut to).for_each(|(&v, to)| *to = v);
                }
            }
        }
        return;
    }
    for row in 0..runs.rows {
        let block = &from[row / runs.each * runs.block(features)..];
        let to = &mut rows[row * every..][..features];
        let from = block[row % runs.each..].iter().step_by(runs.stride);
        to.iter_mut().zip(from).for_each(|(to, &v)| *to = v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layouts() -> impl Iterator<Item = Runs> {
        let vectors = [1, 2, 3, 16, 37, 64, 125, 0].map(Runs::of);
        let images =
            [(1, 1, (3, 4)), (2, 1, (1, 1)), (3, 2, (2, 5)), (2, 0, (4, 4)), (0, 1, (2, 2))];
        vectors
            .into_iter()
            .chain(images.map(|(rows, reach, sides)| Runs::of_images(rows, reach, sides)))
    }

    #[test]
    fn runs_hold_the_features_and_a_margin_of_zeros() {
        for layout in layouts() {
            for (features, beside) in [(1, 0), (3, 0), (19, 0), (2, 5)] {
                let size = layout.height * layout.width * features;
                let every = size + beside;
                let rows: Vec<f32> = (1..=layout.rows * every).map(|v| v as f32).collect();
                let mut runs = vec![f32::NAN; layout.len(features)];
                layout.gather(&rows, every, &mut runs);
                let filled = runs.iter().filter(|&&v| v != 0.0).count();
                assert_eq!(filled, layout.rows * size, "{layout:?}");
                for (row, k) in (0..layout.rows).flat_map(|r| (0..features).map(move |k| (r, k))) {
                    for (y, line) in layout.lines(row, k, features).enumerate() {
                        for (x, at) in line.enumerate() {
                            let pixel = y * layout.width + x;
                            let want = rows[row * every + pixel * features + k];
                            assert_eq!(runs[at], want, "{layout:?}");
                            let place = at % layout.stride;
                            assert!(layout.is_single() || layout.computed().contains(&place));
                        }
                    }
                }
                let mut back = rows.clone();
                (0..layout.rows).for_each(|r| back[r * every..][..size].fill(0.0));
                layout.scatter(&runs, every, &mut back);
                assert_eq!(back, rows, "{layout:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "runs of 3 rows")]
    fn a_part_of_a_run_is_refused() {
        Runs::of(3).gather(&[0.0; 3], 1, &mut [0.0; 8]);
    }
}
