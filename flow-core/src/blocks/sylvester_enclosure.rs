//! The map on boxes.

use super::Sylvester;
use crate::blocks::curves::{Curve, Tanh};
use crate::blocks::NARROWINGS;
use crate::lipschitz::triangle::Triangle;
use crate::lipschitz::{
    affine, up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe,
};
use crate::Scalar;

/// An upper triangle with `tanh` of its diagonal, in exact arithmetic.
fn enclosed_triangle(raw: &[f64], rank: usize) -> Vec<Interval> {
    let entry = |i: usize| match (i % rank).cmp(&(i / rank)) {
        std::cmp::Ordering::Less => Interval::ZERO,
        std::cmp::Ordering::Equal => Interval::point(raw[i]).tanh(),
        std::cmp::Ordering::Greater => Interval::point(raw[i]),
    };
    (0..rank * rank).map(entry).collect()
}

/// `1 + tanh(a)·tanh(b)` in exact arithmetic: the sum and the quotient, each where it loses less.
fn enclosed_kappa(a: f64, b: f64) -> Interval {
    let (a, b) = (Interval::point(a), Interval::point(b));
    let sum = Interval::point(1.0) + a.tanh() * b.tanh();
    // log(2·cosh v) is an even function, which rises on either side of 0.
    let log = |v: Interval| {
        let at = |size: f64| {
            let small = (Interval::point(-2.0) * Interval::point(size)).exp();
            Interval::point(size) + (Interval::point(1.0) + small).ln()
        };
        let near = if v.contains(0.0) { 0.0 } else { v.low.abs().min(v.high.abs()) };
        Interval::new(at(near).low, at(v.magnitude()).high)
    };
    let quotient = (Interval::point(2.0).ln() + log(a + b) - log(a) - log(b)).exp();
    sum.meet(quotient).unwrap_or(sum)
}

/// A matrix of intervals times a vector of as many as it has columns.
fn times(matrix: &[Interval], x: &[Interval]) -> Vec<Interval> {
    let row =
        |row: &[Interval]| row.iter().zip(x).fold(Interval::ZERO, |sum, (&a, &x)| sum + a * x);
    matrix.chunks_exact(x.len()).map(row).collect()
}

/// The map in exact arithmetic.
pub(super) struct Enclosed {
    /// The product of all reflections, of which the frame `Q` is the first columns.
    q: Vec<f64>,
    /// How far that may be off, in norm.
    rounding: f64,
    features: usize,
    rank: usize,
    /// `R`.
    left: Vec<Interval>,
    /// `R̃`.
    right: Vec<Interval>,
    /// `1 + rᵢ·r̃ᵢ`.
    kappas: Vec<Interval>,
    b: Vec<f64>,
    backwards: bool,
}

/// What it makes of a box.
struct On {
    /// What goes in.
    x: Vec<Interval>,
    /// What comes out.
    y: Vec<Interval>,
    /// `1 − tanh²` of each hidden unit.
    slopes: Vec<Interval>,
}

impl Sylvester {
    pub(super) fn map<E: Scalar>(&self, probe: &Probe<'_, E>) -> Enclosed {
        let m = self.rank;
        let wide =
            |slot| -> Vec<f64> { probe.parameter(slot).iter().map(|v| v.as_f64()).collect() };
        let (outer, inner) = (wide(&self.outer), wide(&self.inner));
        let (q, rounding) = self.turn.exact(probe);
        let kappa = |i: usize| enclosed_kappa(outer[i * (m + 1)], inner[i * (m + 1)]);
        Enclosed {
            q,
            rounding,
            features: self.features,
            rank: m,
            left: enclosed_triangle(&outer, m),
            right: enclosed_triangle(&inner, m),
            kappas: (0..m).map(kappa).collect(),
            b: wide(&self.b),
            backwards: probe.backwards(),
        }
    }

    /// The Jacobian is `I + Q·R·S·R̃·Qᵀ` with `S = diag(1 − tanh²)`: its singular values are those of
    /// the triangle `I + R·S·R̃`, and 1 where the rank is less than the features.
    pub(super) fn amplify<E: Scalar>(&self, probe: &mut Probe<'_, E>) -> Amplification {
        let map = self.map(probe);
        let region = std::mem::take(probe.region());
        let On { x, y, slopes } = map.on_box(&region);
        *probe.region() = if map.backwards { x } else { y };

        let m = self.rank;
        let mut triangle = Triangle::new(m);
        for i in 0..m {
            // Linear in the slope.
            let at = |s: f64| {
                let s = Interval::point(s);
                (Interval::point(1.0) - s) + s * map.kappas[i]
            };
            *triangle.entry(i, i) = at(slopes[i].low).hull(at(slopes[i].high.min(1.0)));
            for j in i + 1..m {
                let terms = (i..=j).map(|k| map.left[i * m + k] * slopes[k] * map.right[k * m + j]);
                *triangle.entry(j, i) = terms.fold(Interval::ZERO, |sum, term| sum + term);
            }
        }
        let (forward, inverse) = triangle.norms();
        let found = Amplification::certified(forward, inverse);
        if m < self.features {
            found.beside_identity()
        } else {
            found
        }
    }
}

impl Enclosed {
    /// What a vector of that length may miss by the rounding of `Q`.
    fn around(&self, length: f64) -> Interval {
        let by = if length == 0.0 { 0.0 } else { up(length * self.rounding) };
        Interval::new(-by, by)
    }

    /// `R̃·Qᵀ·x + b`.
    fn arguments(&self, x: &[Interval]) -> Vec<Interval> {
        let d = self.features;
        let slack = self.around(length(x));
        let turned = affine(|i, j| self.q[j * d + i], self.rank, x, |_| 0.0);
        let turned: Vec<Interval> = turned.into_iter().map(|v| v + slack).collect();
        let each = times(&self.right, &turned).into_iter().zip(&self.b);
        each.map(|(v, &b)| v + Interval::point(b)).collect()
    }

    /// `Q·R·t`.
    fn moved(&self, t: &[Interval]) -> Vec<Interval> {
        let d = self.features;
        let h = times(&self.left, t);
        let slack = self.around(length(&h));
        affine(|i, j| self.q[i * d + j], d, &h, |_| 0.0).into_iter().map(|v| v + slack).collect()
    }

    /// On the box of what goes in, or of what comes out where the probe goes backwards.
    fn on_box(&self, region: &[Interval]) -> On {
        let mut x = region.to_vec();
        if self.backwards {
            let from = |t: &[Interval]| -> Vec<Interval> {
                region.iter().zip(self.moved(t)).map(|(&y, h)| y - h).collect()
            };
            let mut t = vec![Interval::new(-1.0, 1.0); self.rank];
            x = from(&t);
            for _ in 0..NARROWINGS {
                let found = self.arguments(&x);
                t.iter_mut().zip(found).for_each(|(t, v)| *t = t.meet(v.tanh()).unwrap_or(*t));
                x = from(&t);
            }
        }
        let arguments = self.arguments(&x);
        let t: Vec<Interval> = arguments.iter().map(|v| v.tanh()).collect();
        let y = x.iter().zip(self.moved(&t)).map(|(&x, h)| x + h).collect();
        let slopes = arguments.iter().map(|&v| Tanh.enclose(v).1).collect();
        On { x, y, slopes }
    }

    /// The Jacobian's entries, or those of its inverse on a box that holds the preimage.
    pub(super) fn mean_value(&self, cell: &Cell) -> Option<MeanValue> {
        let (d, m) = (self.features, self.rank);
        let slopes = self.on_box(&cell.sides).slopes;
        let On { x, y, .. } = self.on_box(&cell.point());
        // No entry of a matrix is larger than its norm.
        let around = self.around(1.0);
        let frame: Vec<Interval> =
            (0..d * m).map(|i| Interval::point(self.q[i / m * d + i % m]) + around).collect();
        let frame = IntervalMatrix::from_intervals(d, m, &frame);
        let mut left = IntervalMatrix::from_intervals(m, m, &self.left);
        left.scale_columns(&slopes);
        let inner = left.times(&IntervalMatrix::from_intervals(m, m, &self.right));
        let moved = frame.times(&inner).times(&frame.t());
        let jacobian = IntervalMatrix::identity(d).plus(&moved);
        MeanValue::of_direction(if self.backwards { x } else { y }, jacobian, self.backwards)
    }
}

/// An upper bound of the length of every vector of a box.
fn length(x: &[Interval]) -> f64 {
    x.iter().fold(Interval::ZERO, |sum, v| sum + v.square()).sqrt().high
}
