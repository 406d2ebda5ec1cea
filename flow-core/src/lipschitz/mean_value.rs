//! A map on a box, by its value at one point and its Jacobian.

use super::{Interval, IntervalMatrix};
use crate::Result;

/// A box with a point of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The point.
    pub centre: Vec<f64>,
    /// The box.
    pub sides: Vec<Interval>,
}

impl Cell {
    /// The least box that holds both, with that point.
    ///
    /// # Panics
    /// Where they have different lengths.
    pub fn new(centre: Vec<f64>, mut sides: Vec<Interval>) -> Self {
        assert_eq!(centre.len(), sides.len(), "numbers of a point and of a box");
        for (side, &c) in sides.iter_mut().zip(&centre) {
            *side = side.hull(Interval::point(c));
        }
        Self { centre, sides }
    }

    /// A box with its middle.
    pub fn around(sides: Vec<Interval>) -> Self {
        Self::new(sides.iter().map(|side| side.middle()).collect(), sides)
    }

    /// Its point, as a box.
    pub(crate) fn point(&self) -> Vec<Interval> {
        self.centre.iter().map(|&c| Interval::point(c)).collect()
    }

    /// Those numbers of it.
    pub(crate) fn part(&self, numbers: impl Iterator<Item = usize>) -> Self {
        let (centre, sides) = numbers.map(|i| (self.centre[i], self.sides[i])).unzip();
        Self { centre, sides }
    }

    /// How far its points lie from the centre.
    pub(crate) fn offsets(&self) -> IntervalMatrix {
        let each = self.sides.iter().zip(&self.centre);
        let each: Vec<Interval> = each.map(|(&side, &c)| side - Interval::point(c)).collect();
        IntervalMatrix::column(&each)
    }
}

/// What a map `f` makes of a [`Cell`] with centre c: for any two of its points
/// `f(x) − f(y) = J·(x − y)` with a matrix J of [`jacobian`](Self::jacobian), and f(c) lies in
/// [`centre`](Self::centre). So f(x) is in `f(c) + J·(x − c)`: the mean value form (Moore, Kearfott
/// and Cloud 2009, "Introduction to interval analysis", section 6.3).
///
/// All Jacobians at points of the box, and at a kink those on either side, make such a J: a mean of
/// them is the one between two points, and intervals hold means.
///
/// ```
/// use flow_core::lipschitz::{Cell, Interval, IntervalMatrix, MeanValue};
///
/// // x² − x on [0, 0.1]: its slopes there are 2x − 1.
/// let cell = Cell::around(vec![Interval::new(0.0, 0.1)]);
/// let c = Interval::point(cell.centre[0]);
/// let slopes = IntervalMatrix::from_intervals(1, 1, &[Interval::new(-1.0, -0.8)]);
/// let map = MeanValue { centre: vec![c.square() - c], jacobian: slopes };
/// let image = map.image(&cell)[0];
/// assert!(image.contains(0.0) && image.contains(-0.09));
/// // Taken by itself, each x of the difference could be another.
/// assert!(image.high - image.low < 0.11);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MeanValue {
    /// What the centre can become.
    pub centre: Vec<Interval>,
    /// Every Jacobian, a row for each output.
    pub jacobian: IntervalMatrix,
}

impl MeanValue {
    /// Everything that the box can become.
    pub fn image(&self, cell: &Cell) -> Vec<Interval> {
        let moved = self.jacobian.times(&cell.offsets()).intervals();
        self.centre.iter().zip(moved).map(|(&c, moved)| c + moved).collect()
    }

    /// The map of those numbers alone, with the others anywhere in the cell.
    pub(crate) fn of_numbers(&self, cell: &Cell, numbers: &[usize]) -> Self {
        let rows: Vec<usize> = (0..self.centre.len()).collect();
        let jacobian = self.jacobian.taken(&rows, numbers);
        let mut others: Vec<usize> = (0..cell.centre.len()).collect();
        others.retain(|j| !numbers.contains(j));
        if others.is_empty() {
            return Self { centre: self.centre.clone(), jacobian };
        }
        let away = cell.offsets().taken(&others, &[0]);
        let moved = self.jacobian.taken(&rows, &others).times(&away).intervals();
        let centre = self.centre.iter().zip(moved).map(|(&c, moved)| c + moved).collect();
        Self { centre, jacobian }
    }

    /// With a function of each output behind it, which takes the centre's to `centre` and has such
    /// slopes on the box.
    pub(crate) fn then_each(self, centre: Vec<Interval>, slopes: &[Interval]) -> Self {
        let mut columns = self.jacobian.t();
        columns.scale_columns(slopes);
        Self { centre, jacobian: columns.t() }
    }

    /// Of an affine map, from what it makes of boxes.
    ///
    /// # Errors
    /// The map's.
    pub(crate) fn of_affine(
        cell: &Cell,
        mut map: impl FnMut(Vec<Interval>) -> Result<Vec<Interval>>,
    ) -> Result<Self> {
        let d = cell.centre.len();
        let centre = map(cell.point())?;
        let zero = map(vec![Interval::ZERO; d])?;
        let mut entries = vec![Interval::ZERO; centre.len() * d];
        for j in 0..d {
            let mut unit = vec![Interval::ZERO; d];
            unit[j] = Interval::point(1.0);
            for (i, (one, &zero)) in map(unit)?.into_iter().zip(&zero).enumerate() {
                entries[i * d + j] = if zero == Interval::ZERO { one } else { one - zero };
            }
        }
        let jacobian = IntervalMatrix::from_intervals(centre.len(), d, &entries);
        Ok(Self { centre, jacobian })
    }

    /// From the Jacobian of a map's forward direction on a box of its arguments: of that direction, or
    /// of the opposite one, for which the box has to hold everything that it gives. None where one of
    /// the Jacobians may have no inverse.
    pub(crate) fn of_direction(
        centre: Vec<Interval>,
        jacobian: IntervalMatrix,
        backwards: bool,
    ) -> Option<Self> {
        let jacobian = if backwards { jacobian.inverse()? } else { jacobian };
        Some(Self { centre, jacobian })
    }

    /// Of a map of each number alone, from each centre's image and each slope.
    pub(crate) fn of_diagonal(centre: Vec<Interval>, slopes: &[Interval]) -> Self {
        let d = slopes.len();
        let mut entries = vec![Interval::ZERO; d * d];
        entries.iter_mut().step_by(d + 1).zip(slopes).for_each(|(v, &slope)| *v = slope);
        Self { centre, jacobian: IntervalMatrix::from_intervals(d, d, &entries) }
    }
}
