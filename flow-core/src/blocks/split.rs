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
    /// Keeps 0, 2, …
    Even,
    /// Keeps 1, 3, …
    Odd,
    /// Keeps the pixels of an image whose row + column is even.
    CheckerEven,
    /// Keeps the pixels of an image whose row + column is odd.
    CheckerOdd,
}

impl Split {
    /// The features of a vector that pass, and those that are transformed, both ascending.
    pub(crate) fn features(self, shape: Shape) -> Result<(Vec<usize>, Vec<usize>)> {
        if shape.sides().is_some() {
            return Err(FlowError::option("shape of a coupling", shape, "a vector"));
        }
        let d = shape.features();
        let keeps = |i: usize| match self {
            Self::First => Ok(i < d / 2),
            Self::Second => Ok(i >= d / 2),
            Self::Even => Ok(i.is_multiple_of(2)),
            Self::Odd => Ok(i % 2 == 1),
            Self::CheckerEven | Self::CheckerOdd => Err(FlowError::option(
                "keep",
                format!("a checkerboard on {shape}"),
                "first, second, even or odd on a vector",
            )),
        };
        let (mut kept, mut moved) = (Vec::new(), Vec::new());
        for i in 0..d {
            if keeps(i)? { &mut kept } else { &mut moved }.push(i);
        }
        if moved.is_empty() {
            return Err(FlowError::option(
                "keep",
                format!("{self:?} on {shape}, which leaves nothing to transform"),
                "a part that leaves at least one feature",
            ));
        }
        Ok((kept, moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_definition() {
        let five = Shape::vector(5);
        for (split, kept, moved) in [
            (Split::First, vec![0, 1], vec![2, 3, 4]),
            (Split::Second, vec![2, 3, 4], vec![0, 1]),
            (Split::Even, vec![0, 2, 4], vec![1, 3]),
            (Split::Odd, vec![1, 3], vec![0, 2, 4]),
        ] {
            assert_eq!(split.features(five).unwrap(), (kept, moved), "{split:?}");
        }
        assert_eq!(Split::First.features(Shape::vector(1)).unwrap(), (vec![], vec![0]));
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        for (split, shape, says) in [
            (Split::CheckerEven, Shape::vector(4), "a checkerboard on Vector<4>"),
            (Split::Second, Shape::vector(1), "nothing to transform"),
            (Split::First, Shape::image(2, 3, 3), "expected a vector"),
        ] {
            let error = split.features(shape).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
