//! A set of points on its way through maps, with the Jacobian of all of them together.
//!
//! Boxes that stand along the axes grow with every map that turns them, and so do bounds of a
//! product by its factors. Lohner's remedy (Lohner 1987, "Enclosing the solutions of ordinary initial
//! and boundary value problems"; Nedialkov, Jackson and Corliss 1999, "Validated solutions of initial
//! value problems for ordinary differential equations", section 6): with a frame Q of nearly
//! orthonormal columns, chosen such that `Q'ᵀ·J·Q` is nearly upper triangular for the next map's
//! Jacobian J and its frame Q', only what differs from the middle of each J is ever added up.

use super::{Cell, Interval, IntervalMatrix, MeanValue};

/// What maps in a row, F, have made of a box so far.
///
/// For each of its points `x`, with c₀ the box's centre:
/// - `F(x) − F(c₀) = Q·R·(x − c₀)` with a matrix R of `product`, Q the frame;
/// - `F(c₀) = c + Q·e` with a vector e of `error`;
/// - the inverse of F's Jacobian is `P·Q⁻¹` with a matrix P of `inverse`.
#[derive(Clone, Debug)]
pub(super) struct Aligned {
    /// `x − c₀`.
    offsets: IntervalMatrix,
    centre: Vec<f64>,
    frame: IntervalMatrix,
    unframe: IntervalMatrix,
    product: IntervalMatrix,
    inverse: Option<IntervalMatrix>,
    error: IntervalMatrix,
}

impl Aligned {
    /// A box, before any map; none where it has no limits.
    pub(super) fn new(sides: Vec<Interval>) -> Option<Self> {
        if !sides.iter().all(|side| side.is_bounded()) {
            return None;
        }
        let cell = Cell::around(sides);
        let d = cell.centre.len();
        let one = IntervalMatrix::identity(d);
        Some(Self {
            offsets: cell.offsets(),
            frame: one.clone(),
            unframe: one.clone(),
            product: one.clone(),
            inverse: Some(one),
            error: IntervalMatrix::column(&vec![Interval::ZERO; d]),
            centre: cell.centre,
        })
    }

    /// The point that stands for F(c₀).
    pub(super) fn centre(&self) -> &[f64] {
        &self.centre
    }

    /// A box that holds F(x) for every point.
    pub(super) fn hull(&self) -> Vec<Interval> {
        let moved = self.jacobian().times(&self.offsets).intervals();
        let error = self.frame.times(&self.error).intervals();
        let each = self.centre.iter().zip(moved).zip(error);
        each.map(|((&c, moved), error)| Interval::point(c) + moved + error).collect()
    }

    /// All Jacobians of F.
    fn jacobian(&self) -> IntervalMatrix {
        self.frame.times(&self.product)
    }

    /// Upper bounds of the norms of F's Jacobian and of its inverse, infinite where there is none.
    pub(super) fn norms(&self) -> (f64, f64) {
        let apart = |a: &IntervalMatrix, b: &IntervalMatrix| (a.norm() * b.norm()).next_up();
        let forward = self.jacobian().norm().min(apart(&self.frame, &self.product));
        let inverse = self.inverse.as_ref().map_or(f64::INFINITY, |inverse| {
            inverse.times(&self.unframe).norm().min(apart(inverse, &self.unframe))
        });
        (forward, inverse)
    }

    /// With a map of the numbers from `start` on behind it; none where that left the numbers.
    pub(super) fn then(&self, map: &MeanValue, start: usize) -> Option<Self> {
        let jacobian = beside_identity(&map.jacobian, start);
        let turned = jacobian.times(&self.frame);
        let (frame, unframe) = frame(&turned)?;
        let step = unframe.times(&turned);
        let mut centre = self.centre.clone();
        let mut missed = vec![Interval::ZERO; centre.len()];
        for ((c, missed), image) in
            centre[start..].iter_mut().zip(&mut missed[start..]).zip(&map.centre)
        {
            *c = image.middle();
            *missed = *image - Interval::point(*c);
        }
        let missed = unframe.times(&IntervalMatrix::column(&missed));
        let inverse = self.inverse.as_ref().and_then(|inverse| {
            Some(inverse.times(&step.inverse()?)).filter(IntervalMatrix::is_finite)
        });
        let next = Self {
            offsets: self.offsets.clone(),
            product: step.times(&self.product),
            error: step.times(&self.error).plus(&missed),
            centre,
            frame,
            unframe,
            inverse,
        };
        let finite = next.product.is_finite() && next.error.is_finite();
        finite.then_some(next)
    }

    /// With the numbers from `start` on in another order: `order` says where each comes from, counted
    /// from there.
    pub(super) fn reorder(&mut self, order: &[usize], start: usize) {
        let d = self.centre.len();
        let whole: Vec<usize> = (0..start).chain(order.iter().map(|&from| start + from)).collect();
        let all: Vec<usize> = (0..d).collect();
        self.centre = whole.iter().map(|&from| self.centre[from]).collect();
        self.frame = self.frame.taken(&whole, &all);
        self.unframe = self.unframe.taken(&all, &whole);
    }
}

/// A matrix in the lower right of an identity.
fn beside_identity(matrix: &IntervalMatrix, start: usize) -> IntervalMatrix {
    if start == 0 {
        return matrix.clone();
    }
    let (m, d) = (matrix.rows(), start + matrix.rows());
    let (mut middle, mut radius) = (vec![0.0; d * d], vec![0.0; d * d]);
    (0..start).for_each(|i| middle[i * d + i] = 1.0);
    for i in 0..m {
        let at = (start + i) * d + start;
        middle[at..at + m].copy_from_slice(&matrix.middles()[i * m..][..m]);
        radius[at..at + m].copy_from_slice(&matrix.radii()[i * m..][..m]);
    }
    IntervalMatrix::around(d, d, middle, radius)
}

/// Nearly orthonormal columns that span what the first of a matrix's middle do, one after the other,
/// and the inverse of that matrix; none where the columns do not stand apart.
fn frame(matrix: &IntervalMatrix) -> Option<(IntervalMatrix, IntervalMatrix)> {
    let d = matrix.rows();
    let from = matrix.middles();
    // Columns as rows.
    let mut q: Vec<f64> = (0..d * d).map(|i| from[i % d * d + i / d]).collect();
    for k in 0..d {
        let (done, rest) = q.split_at_mut(k * d);
        let own = &mut rest[..d];
        let most = own.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        own.iter_mut().for_each(|v| *v /= most);
        // Twice is enough (Giraud, Langou and Rozložník 2005).
        for _ in 0..2 {
            for other in done.chunks_exact(d) {
                let along: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(v, by)| *v -= along * by);
            }
        }
        let length = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        own.iter_mut().for_each(|v| *v /= length);
    }
    let columns: Vec<f64> = (0..d * d).map(|i| q[i % d * d + i / d]).collect();
    let frame = IntervalMatrix::point(d, d, columns);
    let unframe = frame.inverse_near(q)?;
    Some((frame, unframe))
}

#[cfg(test)]
#[path = "aligned_tests.rs"]
mod tests;
