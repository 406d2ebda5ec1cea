//! One number for each row, summed up.

use serde::{Deserialize, Serialize};

/// The levels of a spread's quantiles: steps of 5 %, and 99 %.
pub const LEVELS: [f64; 22] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8,
    0.85, 0.9, 0.95, 0.99, 1.0,
];

/// How one number for each row spreads. NaN and infinities are counted, and stand apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many rows there are.
    pub rows: usize,
    /// For how many of them the number is NaN or infinite.
    pub non_finite: usize,
    /// The first such row.
    pub first_non_finite: Option<usize>,
    /// The other rows; none where there is no other.
    pub finite: Option<Finite>,
}

/// The finite numbers of a [`Spread`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finite {
    /// Their mean.
    pub mean: f64,
    /// Their quantiles at [`LEVELS`], the first the smallest and the last the largest number,
    /// between neighbours by a straight line.
    pub quantiles: Vec<f64>,
    /// The row of the smallest number.
    pub smallest_row: usize,
    /// The row of the largest number.
    pub largest_row: usize,
}

impl Spread {
    /// The spread of each row's number.
    ///
    /// ```
    /// use flow_core::stability::Spread;
    /// let spread = Spread::of(&[3.0, f64::NAN, 1.0, 2.0]);
    /// assert_eq!((spread.rows, spread.non_finite, spread.first_non_finite), (4, 1, Some(1)));
    /// let finite = spread.finite.unwrap();
    /// assert_eq!((finite.mean, finite.median(), finite.largest_row), (2.0, 2.0, 0));
    /// ```
    pub fn of(numbers: &[f64]) -> Self {
        Self::at(numbers, |row| row)
    }

    /// The spread of numbers whose rows have other names.
    pub(super) fn at(numbers: &[f64], name: impl Fn(usize) -> usize) -> Self {
        let mut order: Vec<usize> =
            (0..numbers.len()).filter(|&i| numbers[i].is_finite()).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        let finite = order.first().zip(order.last()).map(|(&smallest, &largest)| {
            // Divided first: a sum of large errors would overflow.
            let mean = order.iter().map(|&i| numbers[i] / order.len() as f64).sum();
            let quantiles = LEVELS.iter().map(|&level| quantile(numbers, &order, level)).collect();
            let (smallest_row, largest_row) = (name(smallest), name(largest));
            Finite { mean, quantiles, smallest_row, largest_row }
        });
        Self {
            rows: numbers.len(),
            non_finite: numbers.len() - order.len(),
            first_non_finite: numbers.iter().position(|v| !v.is_finite()).map(name),
            finite,
        }
    }

    /// The share of rows whose number is NaN or infinite.
    pub fn share_non_finite(&self) -> f64 {
        self.non_finite as f64 / self.rows.max(1) as f64
    }

    /// The row of the worst number: the first that is not finite, else the largest.
    pub fn worst_row(&self) -> Option<usize> {
        self.first_non_finite.or(self.finite.as_ref().map(|finite| finite.largest_row))
    }

    /// The worst number: infinite where one is not finite, else the largest; NaN without rows.
    pub fn worst(&self) -> f64 {
        match &self.finite {
            _ if self.non_finite > 0 => f64::INFINITY,
            Some(finite) => finite.largest(),
            None => f64::NAN,
        }
    }
}

impl Finite {
    /// Their median.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The smallest number.
    pub fn smallest(&self) -> f64 {
        self.at(0.0)
    }

    /// The largest number.
    pub fn largest(&self) -> f64 {
        self.at(1.0)
    }

    /// The quantile of a level, one of [`LEVELS`] (or else that of the next one).
    pub fn at(&self, level: f64) -> f64 {
        let place = LEVELS.iter().position(|&l| l >= level).unwrap_or(LEVELS.len() - 1);
        self.quantiles.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// The quantile of sorted numbers, linear between neighbours (Hyndman and Fan 1996, type 7).
fn quantile(numbers: &[f64], order: &[usize], level: f64) -> f64 {
    let place = level * (order.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(order.len() - 1);
    let (low, high) = (numbers[order[below]], numbers[order[above]]);
    let share = place - below as f64;
    low * (1.0 - share) + high * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_textbook() {
        let numbers: Vec<f64> = (0..101).rev().map(f64::from).collect();
        let finite = Spread::of(&numbers).finite.unwrap();
        for (level, quantile) in LEVELS.iter().zip(&finite.quantiles) {
            assert!((quantile - 100.0 * level).abs() < 1e-12, "{quantile} at {level}");
        }
        assert_eq!((finite.mean.round(), finite.median()), (50.0, 50.0));
        assert_eq!((finite.smallest_row, finite.largest_row), (100, 0));
        let pair = Spread::of(&[1.0, 2.0]).finite.unwrap();
        assert_eq!((pair.median(), pair.at(0.99)), (1.5, 1.99));
        let one = Spread::of(&[7.0]).finite.unwrap();
        assert!(one.quantiles.iter().all(|q| *q == 7.0));
        // A level between two stands for the next.
        assert_eq!(finite.at(0.96), finite.at(0.99));
    }

    #[test]
    fn what_is_not_finite_stands_apart() {
        let spread = Spread::of(&[1.0, f64::INFINITY, 3.0, f64::NAN]);
        assert_eq!((spread.non_finite, spread.worst_row()), (2, Some(1)));
        assert_eq!(spread.share_non_finite(), 0.5);
        assert_eq!(spread.worst(), f64::INFINITY);
        assert_eq!(spread.finite.unwrap().mean, 2.0);
        let none = Spread::of(&[f64::NAN]);
        assert_eq!((none.finite.clone(), none.share_non_finite()), (None, 1.0));
        let empty = Spread::of(&[]);
        assert_eq!((empty.share_non_finite(), empty.worst_row()), (0.0, None));
        assert!(empty.worst().is_nan());
        assert_eq!(Spread::of(&[1.7e308, 1.7e308]).finite.unwrap().mean, 1.7e308);
        assert_eq!(Spread::at(&[1.0, 2.0], |row| 10 * row).worst_row(), Some(10));
    }
}
