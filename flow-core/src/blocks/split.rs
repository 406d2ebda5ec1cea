use crate::{FlowError, Result, Shape};

/// Which features pass a coupling unchanged and feed its net; the others are transformed.
///
/// With d features and h = ⌊d/2⌋.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Keeps 0..h.
    First,
    /// Keeps h..d.
    Second,
    /// Keeps 0, 2, … of a vector.
    Even,
    /// Keeps 1, 3, … of a vector.
    Odd,
    /// Keeps the pixels of an image whose row + column is even, in all channels.
    CheckerEven,
    /// Keeps the pixels of an image whose row + column is odd, in all channels.
    CheckerOdd,
}

/// The two parts of a row, by the entries that they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The features that the net reads at every pixel.
    pub(crate) read: usize,
    /// The features that the net writes at every pixel.
    pub(crate) written: usize,
    /// The kept entries of a row: `(place among all pixels' read features, entry)`.
    pub(crate) kept: Vec<(usize, usize)>,
    /// The transformed entries: `(place among all pixels' written features, entry)`.
    pub(crate) moved: Vec<(usize, usize)>,
}

impl Split {
    /// The parts of a row of that shape.
    pub(crate) fn parts(self, shape: Shape) -> Result<Parts> {
        let d = shape.features();
        let vector = shape.sides().is_none();
        let keeps = |i: usize| match self {
            Self::First => Ok(i < d / 2),
            Self::Second => Ok(i >= d / 2),
            Self::Even if vector => Ok(i.is_multiple_of(2)),
            Self::Odd if vector => Ok(i % 2 == 1),
            Self::CheckerEven | Self::CheckerOdd if !vector => Ok(true),
            _ => Err(FlowError::option(
                "keep",
                format!("{self:?} on {shape}"),
                "first or second; even or odd on a vector; a checkerboard on an image",
            )),
        };
        let checker = matches!(self, Self::CheckerEven | Self::CheckerOdd);
        let (mut kept, mut moved) = (Vec::new(), Vec::new());
        for i in 0..d {
            if keeps(i)? { &mut kept } else { &mut moved }.push(i);
        }
        if checker {
            moved = kept.clone();
        }
        let width = shape.sides().map_or(1, |(_, width)| width);
        let even = |pixel: usize| (pixel / width + pixel % width).is_multiple_of(2);
        let passes = |pixel: usize| even(pixel) == (self == Self::CheckerEven);
        // The entries of all pixels, of those that `at` names where there is a checkerboard.
        let entries = |features: &[usize], at: &dyn Fn(usize) -> bool| {
            let mut entries = Vec::new();
            for pixel in (0..shape.pixels()).filter(|&pixel| !checker || at(pixel)) {
                let each = features.iter().enumerate();
                entries.extend(each.map(|(k, i)| (pixel * features.len() + k, pixel * d + i)));
            }
            entries
        };
        let parts = Parts {
            read: kept.len(),
            written: moved.len(),
            kept: entries(&kept, &passes),
            moved: entries(&moved, &|pixel| !passes(pixel)),
        };
        if parts.moved.is_empty() {
            return Err(FlowError::option(
                "keep",
                format!("{self:?} on {shape}, which leaves nothing to transform"),
                "a part that leaves at least one feature",
            ));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(part: &[(usize, usize)]) -> Vec<usize> {
        part.iter().map(|&(_, entry)| entry).collect()
    }

    fn places(part: &[(usize, usize)]) -> Vec<usize> {
        part.iter().map(|&(place, _)| place).collect()
    }

    #[test]
    fn parts_are_those_of_the_definition() {
        let five = Shape::vector(5);
        for (split, kept, moved) in [
            (Split::First, vec![0, 1], vec![2, 3, 4]),
            (Split::Second, vec![2, 3, 4], vec![0, 1]),
            (Split::Even, vec![0, 2, 4], vec![1, 3]),
            (Split::Odd, vec![1, 3], vec![0, 2, 4]),
        ] {
            let parts = split.parts(five).unwrap();
            assert_eq!((entries(&parts.kept), entries(&parts.moved)), (kept, moved), "{split:?}");
            assert_eq!(places(&parts.moved), (0..parts.written).collect::<Vec<_>>());
        }
        let one = Split::First.parts(Shape::vector(1)).unwrap();
        assert_eq!((entries(&one.kept), entries(&one.moved)), (vec![], vec![0]));
    }

    #[test]
    fn images_are_split_by_channels_or_by_pixels() {
        // Channels last: entry 3·pixel + channel.
        let image = Shape::image(3, 1, 2);
        let parts = Split::First.parts(image).unwrap();
        assert_eq!((entries(&parts.kept), entries(&parts.moved)), (vec![0, 3], vec![1, 2, 4, 5]));
        assert_eq!(places(&parts.moved), [0, 1, 2, 3]);
        let image = Shape::image(2, 2, 2);
        let parts = Split::CheckerEven.parts(image).unwrap();
        assert_eq!(
            (entries(&parts.kept), entries(&parts.moved)),
            (vec![0, 1, 6, 7], vec![2, 3, 4, 5])
        );
        assert_eq!((parts.read, parts.written), (2, 2));
        assert_eq!(places(&parts.kept), [0, 1, 6, 7]);
        assert_eq!(places(&parts.moved), [2, 3, 4, 5]);
        let parts = Split::CheckerOdd.parts(image).unwrap();
        assert_eq!(entries(&parts.kept), [2, 3, 4, 5]);
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        for (split, shape, says) in [
            (Split::CheckerEven, Shape::vector(4), "CheckerEven on Vector<4>"),
            (Split::Second, Shape::vector(1), "nothing to transform"),
            (Split::CheckerEven, Shape::image(3, 1, 1), "nothing to transform"),
            (Split::Even, Shape::image(2, 3, 3), "a vector"),
        ] {
            let error = split.parts(shape).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
