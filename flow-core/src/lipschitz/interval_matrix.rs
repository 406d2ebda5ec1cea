//! Matrices of intervals, by their middles and radii.
//!
//! Rump 1999, "Fast and parallel interval arithmetic": three products of plain matrices enclose a
//! product of interval ones. Rounding is carried along as in [`norm`](super::norm): n products and
//! their sum err by at most γ times the sum of the absolute values in whatever order they are added,
//! and by η each where they underflow.

use super::norm::norm;
use super::rounding::{gamma, ETA};
use super::{up, Interval};
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::blocks::square::invert;

/// All matrices each of whose entries lies in an interval of its own.
///
/// Numbers without a limit make entries that are not finite, and these spread: whoever uses one asks
/// [`is_finite`](Self::is_finite) at the end.
///
/// ```
/// use flow_core::lipschitz::{Interval, IntervalMatrix};
///
/// let a = IntervalMatrix::from_intervals(1, 2, &[Interval::new(1.0, 2.0), Interval::point(3.0)]);
/// let b = IntervalMatrix::from_intervals(2, 1, &[Interval::point(-1.0), Interval::point(0.5)]);
/// let product = a.times(&b).entry(0, 0);
/// assert!(product.contains(-0.5) && product.contains(0.5) && !product.contains(0.6));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalMatrix {
    rows: usize,
    columns: usize,
    middle: Vec<f64>,
    radius: Vec<f64>,
}

impl IntervalMatrix {
    /// Of those intervals, row by row.
    ///
    /// # Panics
    /// Where there are not `rows · columns` of them.
    pub fn from_intervals(rows: usize, columns: usize, entries: &[Interval]) -> Self {
        assert_eq!(entries.len(), rows * columns, "a {rows} × {columns} matrix");
        let middle: Vec<f64> = entries.iter().map(|v| v.middle()).collect();
        let around = entries.iter().zip(&middle);
        let radius = around.map(|(v, m)| match v.low == v.high {
            true => 0.0,
            false => up((v.high - m).max(m - v.low)),
        });
        Self { rows, columns, radius: radius.collect(), middle }
    }

    /// The one matrix of those entries, row by row.
    pub(crate) fn point(rows: usize, columns: usize, entries: Vec<f64>) -> Self {
        Self::around(rows, columns, entries, vec![0.0; rows * columns])
    }

    /// Of those middles and radii, row by row.
    pub(crate) fn around(rows: usize, columns: usize, middle: Vec<f64>, radius: Vec<f64>) -> Self {
        assert_eq!(middle.len(), rows * columns, "a {rows} × {columns} matrix");
        assert_eq!(radius.len(), rows * columns, "a {rows} × {columns} matrix");
        Self { rows, columns, middle, radius }
    }

    /// A vector as a matrix of one column.
    pub(crate) fn column(entries: &[Interval]) -> Self {
        Self::from_intervals(entries.len(), 1, entries)
    }

    /// The identity.
    pub fn identity(side: usize) -> Self {
        let mut middle = vec![0.0; side * side];
        middle.iter_mut().step_by(side + 1).for_each(|v| *v = 1.0);
        Self::point(side, side, middle)
    }

    /// Its number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The same entries in rows of another length.
    pub(crate) fn reshaped(self, rows: usize, columns: usize) -> Self {
        Self::around(rows, columns, self.middle, self.radius)
    }

    /// The transpose.
    pub(crate) fn t(&self) -> Self {
        let turn = |v: &[f64]| {
            let each =
                (0..self.columns).flat_map(|j| (0..self.rows).map(move |i| i * self.columns + j));
            each.map(|i| v[i]).collect()
        };
        Self::around(self.columns, self.rows, turn(&self.middle), turn(&self.radius))
    }

    /// With those of its rows and columns, in that order.
    pub(crate) fn taken(&self, rows: &[usize], columns: &[usize]) -> Self {
        let places =
            rows.iter().flat_map(|row| columns.iter().map(move |j| row * self.columns + j));
        let (middle, radius) = places.map(|i| (self.middle[i], self.radius[i])).unzip();
        Self { rows: rows.len(), columns: columns.len(), middle, radius }
    }

    /// One entry.
    ///
    /// # Panics
    /// Where there is no such row or column.
    pub fn entry(&self, row: usize, column: usize) -> Interval {
        assert!(
            row < self.rows && column < self.columns,
            "entry ({row}, {column}) of {} × {}",
            self.rows,
            self.columns
        );
        self.at(row * self.columns + column)
    }

    fn at(&self, i: usize) -> Interval {
        let (m, r) = (self.middle[i], self.radius[i]);
        if r == 0.0 {
            return Interval::point(m);
        }
        Interval::new((m - r).next_down(), (m + r).next_up())
    }

    /// Replaces a row.
    pub(crate) fn set_row(&mut self, row: usize, entries: &[Interval]) {
        let one = Self::from_intervals(1, self.columns, entries);
        let at = row * self.columns;
        self.middle[at..at + self.columns].copy_from_slice(&one.middle);
        self.radius[at..at + self.columns].copy_from_slice(&one.radius);
    }

    /// Multiplies each column by a number of an interval.
    pub(crate) fn scale_columns(&mut self, by: &[Interval]) {
        let by = Self::from_intervals(1, self.columns, by);
        let rows = self.middle.chunks_exact_mut(self.columns.max(1));
        for (middle, radius) in rows.zip(self.radius.chunks_exact_mut(self.columns.max(1))) {
            let factors = by.middle.iter().zip(&by.radius);
            for ((m, r), (&f, &s)) in middle.iter_mut().zip(radius).zip(factors) {
                // |m|·s + r·(|f| + s), and the rounding of m·f.
                let size = m.abs();
                let around = up(up(size * s) + up(*r * up(f.abs() + s)));
                *m *= f;
                *r = up(around + up(m.abs() * f64::EPSILON));
            }
        }
    }

    /// All entries, row by row.
    pub(crate) fn intervals(&self) -> Vec<Interval> {
        (0..self.middle.len()).map(|i| self.at(i)).collect()
    }

    /// The middles, row by row.
    pub(crate) fn middles(&self) -> &[f64] {
        &self.middle
    }

    /// The radii, row by row.
    pub(crate) fn radii(&self) -> &[f64] {
        &self.radius
    }

    /// Whether every entry has limits.
    pub fn is_finite(&self) -> bool {
        self.middle.iter().chain(&self.radius).all(|v| v.is_finite())
    }

    /// Every product of one of these matrices and one of the others.
    ///
    /// # Panics
    /// Where the sizes do not fit.
    pub fn times(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows, "inner sizes of a product");
        let (m, n, k) = (self.rows, other.columns, self.columns);
        let left = |v: &[f64], out: &mut [f64], into, by: &[f64]| {
            multiply(out, into, Matrix::new(v, m, k), Matrix::new(by, k, n));
        };
        let mut middle = vec![0.0; m * n];
        left(&self.middle, &mut middle, Into::Replace, &other.middle);
        // |A|·(r(B) + γ|B|) + r(A)·(|B| + r(B)).
        let lost = gamma(k + 2);
        let sizes = other.middle.iter().zip(&other.radius);
        let rounded: Vec<f64> = sizes.clone().map(|(b, r)| up(up(lost * b.abs()) + r)).collect();
        let absolute: Vec<f64> = self.middle.iter().map(|a| a.abs()).collect();
        let mut radius = vec![0.0; m * n];
        left(&absolute, &mut radius, Into::Replace, &rounded);
        if self.radius.iter().any(|&r| r != 0.0) {
            let most: Vec<f64> = sizes.map(|(b, r)| up(b.abs() + r)).collect();
            left(&self.radius, &mut radius, Into::Add, &most);
        }
        let underflow = (4 * k + 4) as f64 * ETA;
        let above = 1.0 + 2.0 * gamma(2 * k + 4);
        radius.iter_mut().for_each(|r| *r = up(*r * above + underflow));
        Self { rows: m, columns: n, middle, radius }
    }

    /// Every sum of one of these matrices and one of the others.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let both = self.intervals().into_iter().zip(other.intervals());
        let sums: Vec<Interval> = both.map(|(a, b)| a + b).collect();
        Self::from_intervals(self.rows, self.columns, &sums)
    }

    /// Whether no two of them differ by more than some per cent of their norm.
    pub(crate) fn is_close(&self) -> bool {
        let size = |m: &[f64]| m.iter().map(|v| v * v).sum::<f64>().sqrt();
        let side = self.rows.min(self.columns) as f64;
        size(&self.radius) * side.sqrt() <= 0.02 * size(&self.middle)
    }

    /// An upper bound of the norms of all of them: of the middle plus that of the radius, or that of
    /// the largest absolute values, which no matrix of smaller ones exceeds.
    pub fn norm(&self) -> f64 {
        if !self.is_finite() {
            return f64::INFINITY;
        }
        let size = |m: &[f64]| norm(m, self.rows, self.columns);
        let sizes = self.middle.iter().zip(&self.radius);
        let most: Vec<f64> = sizes.map(|(m, r)| up(m.abs() + r)).collect();
        size(&most).min(up(size(&self.middle) + size(&self.radius)))
    }

    /// All their inverses; none where one of them may have none.
    pub fn inverse(&self) -> Option<Self> {
        let d = self.rows;
        if d != self.columns || !self.is_finite() {
            return None;
        }
        let mut near = self.middle.clone();
        invert(&mut near, d, &mut vec![0.0; d]);
        self.inverse_near(near)
    }

    /// All their inverses, of which one is near to `near`.
    ///
    /// With `R` near to the inverse of each matrix A, `RA = I + E` and |E| ≤ H. Where some v > 0 has
    /// `u = v − Hv` > 0, the powers of H sum up, and entry by entry
    /// `|A⁻¹ − R| ≤ H(I − H)⁻¹|R|` with `(I − H)⁻¹w ≤ v·maxᵢ(wᵢ/uᵢ)` for w ≥ 0 (Neumaier 1990,
    /// "Interval methods for systems of equations", section 3.6, 3.7). Two terms of the series are
    /// taken as they are: `H(I − H)⁻¹ = H + H² + H²·H(I − H)⁻¹`.
    pub(crate) fn inverse_near(&self, near: Vec<f64>) -> Option<Self> {
        let d = self.rows;
        let near = Self::point(d, d, near);
        if !near.is_finite() {
            return None;
        }
        let mut rest = near.times(self);
        rest.middle.iter_mut().step_by(d + 1).for_each(|v| *v -= 1.0);
        // The difference is exact up to a rounding of what is near to 0.
        let sizes = rest.middle.iter().zip(&rest.radius);
        let h: Vec<f64> = sizes.map(|(m, r)| up(up(m.abs() * (1.0 + f64::EPSILON)) + r)).collect();
        let times = |a: &[f64], b: &[f64], columns: usize| {
            let mut out = vec![0.0; d * columns];
            multiply(&mut out, Into::Replace, Matrix::new(a, d, d), Matrix::new(b, d, columns));
            let above = 1.0 + 2.0 * gamma(d + 2);
            out.iter_mut().for_each(|v| *v = up(*v * above + d as f64 * ETA));
            out
        };
        let (v, u) = witness(d, |v| times(&h, v, 1))?;
        let most = |j: usize| (0..d).map(|i| (h[i * d + j] / u[i]).next_up()).fold(0.0, f64::max);
        let most: Vec<f64> = (0..d).map(most).collect();
        let square = times(&h, &h, d);
        let far = times(&square, &v, 1);
        let series: Vec<f64> =
            (0..d * d).map(|i| up(up(h[i] + square[i]) + up(far[i / d] * most[i % d]))).collect();
        let absolute: Vec<f64> = near.middle.iter().map(|v| v.abs()).collect();
        let radius = times(&series, &absolute, d);
        let found = Self { rows: d, columns: d, middle: near.middle, radius };
        found.is_finite().then_some(found)
    }
}

/// Some v > 0 with `u = v − Hv` > 0, from products with H that are rounded up; none where a few
/// terms of `Σ Hᵏ·1` are none.
fn witness(d: usize, product: impl Fn(&[f64]) -> Vec<f64>) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut v = vec![1.0; d];
    for _ in 0..40 {
        let moved = product(&v);
        let u: Vec<f64> = v.iter().zip(&moved).map(|(v, h)| (v - h).next_down()).collect();
        if u.iter().all(|&u| u > 0.0) {
            return Some((v, u));
        }
        v = moved.iter().map(|h| 1.0 + h).collect();
        if !v.iter().all(|v| *v < 1e100) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    #[test]
    #[should_panic(expected = "entry (0, 2) of 2 × 2")]
    fn a_column_that_is_not_there_is_no_entry_of_the_next_row() {
        IntervalMatrix::identity(2).entry(0, 2);
    }

    fn random(noise: &Noise, rows: usize, columns: usize, width: f64) -> IntervalMatrix {
        let each = (0..(rows * columns) as u64).map(|i| {
            let (middle, half) = (noise.normal(2 * i), width * noise.uniform(2 * i + 1));
            Interval::new(middle - half, middle + half)
        });
        IntervalMatrix::from_intervals(rows, columns, &each.collect::<Vec<_>>())
    }

    /// A matrix of those, often with entries at their ends.
    fn member(noise: &Noise, of: &IntervalMatrix) -> Vec<f64> {
        let each = of.intervals().into_iter().enumerate().map(|(i, v)| {
            let share = (2.0 * noise.uniform(i as u64) - 0.5).clamp(0.0, 1.0);
            (v.low + share * (v.high - v.low)).clamp(v.low, v.high)
        });
        each.collect()
    }

    fn holds(matrix: &IntervalMatrix, found: &[f64], slack: f64) {
        for (v, interval) in found.iter().zip(matrix.intervals()) {
            let wide = interval.widened(slack) + Interval::new(-slack, slack);
            assert!(wide.contains(*v), "{v} outside {interval:?}");
        }
    }

    #[test]
    fn products_and_inverses_hold_those_of_members() {
        let mut inverted = 0;
        for k in 0..300 {
            let noise = Noise::seed(k);
            let width = [0.0, 1e-9, 1e-3, 0.1][k as usize % 4];
            let (m, n, o) = (1 + k as usize % 4, 1 + k as usize % 5, 1 + k as usize % 3);
            let a = random(&noise.named("a"), m, n, width);
            let b = random(&noise.named("b"), n, o, width);
            let square = random(&noise.named("c"), n, n, width);
            let (product, inverse) = (a.times(&b), square.inverse());
            inverted += usize::from(inverse.is_some());
            for l in 0..8 {
                let noise = noise.at(l);
                let (a, b) = (member(&noise.named("x"), &a), member(&noise.named("y"), &b));
                let at = |i: usize, j: usize| (0..n).map(|l| a[i * n + l] * b[l * o + j]).sum();
                let exact: Vec<f64> = (0..m * o).map(|i| at(i / o, i % o)).collect();
                holds(&product, &exact, 1e-15);
                if let Some(inverse) = &inverse {
                    let mut c = member(&noise.named("z"), &square);
                    invert(&mut c, n, &mut vec![0.0; n]);
                    holds(inverse, &c, 1e-11);
                }
            }
        }
        assert!(inverted > 200, "only {inverted} of 300 were inverted");
    }

    #[test]
    fn rounding_is_carried_along() {
        // 1 + 2⁻⁶⁰ − 1 is 2⁻⁶⁰, of which a sum in f64 sees nothing.
        let small = f64::powi(2.0, -60);
        // The order in which it is made decides whether any is lost.
        let (one, b) = (1.0, IntervalMatrix::point(3, 1, vec![1.0; 3]));
        for a in [[one, small, -one], [one, -one, small], [small, one, -one]] {
            let found = IntervalMatrix::point(1, 3, a.to_vec()).times(&b).entry(0, 0);
            assert!(found.contains(small) && found.high < 1e-14, "{found:?}");
        }
    }

    #[test]
    fn the_norm_is_above_that_of_each_member() {
        for k in 0..100 {
            let noise = Noise::seed(k);
            let a = random(&noise, 3, 4, 0.3);
            let bound = a.norm();
            for l in 0..8 {
                let found = norm(&member(&noise.at(l), &a), 3, 4) / 1.0051;
                assert!(found <= bound, "{found} over {bound}");
            }
        }
    }

    #[test]
    fn an_inverse_is_sharp_and_keeps_zeros() {
        // [[1, 0], [m, g]] with an inverse of [[1, 0], [−m/g, 1/g]].
        let wide = |middle: f64| Interval::new(middle - 0.01, middle + 0.01);
        let entries = [Interval::point(1.0), Interval::ZERO, wide(3.0), wide(0.5)];
        let inverse = IntervalMatrix::from_intervals(2, 2, &entries).inverse().expect("one");
        let near = |v: Interval, low: f64, high: f64| {
            let wide = (high - low) * 0.1 + 1e-14;
            v.low <= low && v.low >= low - wide && v.high >= high && v.high <= high + wide
        };
        assert!(near(inverse.entry(0, 0), 1.0, 1.0) && near(inverse.entry(0, 1), 0.0, 0.0));
        assert!(near(inverse.entry(1, 1), 1.0 / 0.51, 1.0 / 0.49), "{inverse:?}");
        let many = IntervalMatrix::from_intervals(2, 2, &[Interval::new(-1.0, 1.0); 4]);
        assert_eq!(many.inverse(), None);
        assert_eq!(IntervalMatrix::point(2, 2, vec![0.0; 4]).inverse(), None);
    }

    #[test]
    fn what_is_not_finite_has_no_bound() {
        let entries = [Interval::EVERYTHING, Interval::ZERO, Interval::ZERO, Interval::point(1.0)];
        let all = IntervalMatrix::from_intervals(2, 2, &entries);
        let again = IntervalMatrix::identity(2).times(&all);
        assert!(!all.is_finite() && !again.is_finite());
        assert_eq!((all.norm(), again.norm()), (f64::INFINITY, f64::INFINITY));
        assert_eq!((all.inverse(), again.inverse()), (None, None));
    }
}
