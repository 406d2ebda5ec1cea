//! Steps towards a zero that learn the Jacobian on the way, row by row.

use crate::Scalar;

/// Rows of more numbers would carry matrices that are large beside them.
const WIDEST: usize = 8;

/// Finds zeros of `r(x) = x + g(x) − z` for a contraction g, one for each row, by Broyden's method
/// (Broyden 1965, "A class of methods for solving nonlinear simultaneous equations"): each row keeps a
/// matrix H ≈ (I + ∂g)⁻¹ and moves by `−H·r`.
///
/// The plain step `−r` makes a residual smaller by the contraction's coefficient. A step that does not
/// do as well is taken back and the plain one taken instead, so rows arrive no later than by twice
/// as many plain steps, and in few dimensions much sooner. Where even a plain step does not, the map is
/// no such contraction, and the row goes on by plain steps, whose failure shows it.
pub(super) struct Broyden<E> {
    size: usize,
    coefficient: f64,
    rows: Vec<Row>,
    /// Of each row the last point, its residual, and H.
    points: Vec<E>,
    residuals: Vec<f64>,
    inverses: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Row {
    /// The length of the residual at the last point.
    length: f64,
    last: Last,
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    None,
    Plain,
    Learned,
    /// A plain step did not do what the coefficient promises: there, or within rounding of a zero,
    /// nothing but plain steps is to be trusted.
    Broken,
}

impl<E: Scalar> Broyden<E> {
    /// For `rows` rows of `size` numbers; none where that is too many.
    pub(super) fn new(rows: usize, size: usize, coefficient: f64) -> Option<Self> {
        (size <= WIDEST).then(|| Self {
            size,
            coefficient,
            rows: vec![Row { length: 0.0, last: Last::None }; rows],
            points: vec![E::zero(); rows * size],
            residuals: vec![0.0; rows * size],
            inverses: vec![0.0; rows * size * size],
        })
    }

    /// Moves a row from `x`, where the residual is `r`. Whether the step to `x` was taken back.
    pub(super) fn step(&mut self, row: usize, x: &mut [E], r: &mut [f64]) -> bool {
        let (d, at) = (self.size, row * self.size);
        let point = &mut self.points[at..at + d];
        let residual = &mut self.residuals[at..at + d];
        let inverse = &mut self.inverses[at * d..(at + d) * d];
        let state = &mut self.rows[row];
        let length = r.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A length that is no number is worse.
        let worse = length.is_nan() || length > self.coefficient * state.length;
        let back = state.last == Last::Learned && worse;
        if back {
            // Back, and on from there by the plain step.
            x.copy_from_slice(point);
            r.copy_from_slice(residual);
            state.last = Last::None;
        } else if state.last == Last::Broken || state.last == Last::Plain && worse {
            state.last = Last::Broken;
        } else {
            if state.last == Last::None {
                inverse.fill(0.0);
                inverse.iter_mut().step_by(d + 1).for_each(|v| *v = 1.0);
            } else {
                learn(inverse, x, r, point, residual);
            }
            point.copy_from_slice(x);
            residual.copy_from_slice(r);
            state.length = length;
            state.last = if state.last == Last::None { Last::Plain } else { Last::Learned };
        }
        let mut moved = [E::zero(); WIDEST];
        if state.last == Last::Learned {
            for (i, moved) in moved[..d].iter_mut().enumerate() {
                let by: f64 = inverse[i * d..][..d].iter().zip(&*r).map(|(h, r)| h * r).sum();
                *moved = E::of(x[i].as_f64() - by);
            }
            if moved[..d].iter().all(|v| v.is_finite()) {
                x.copy_from_slice(&moved[..d]);
                return back;
            }
            state.last = Last::Plain;
        }
        x.iter_mut().zip(&*r).for_each(|(x, r)| *x = E::of(x.as_f64() - r));
        back
    }
}

/// With `s = x − point` and `y = r − residual`: `H += (s − H·y)·sᵀH/(sᵀH·y)`, so that `H·y = s`.
fn learn<E: Scalar>(inverse: &mut [f64], x: &[E], r: &[f64], point: &[E], residual: &[f64]) {
    let d = r.len();
    let (mut rest, mut left) = ([0.0; WIDEST], [0.0; WIDEST]);
    let mut divisor = 0.0;
    for i in 0..d {
        let s = x[i].as_f64() - point[i].as_f64();
        let line = &inverse[i * d..][..d];
        let along: f64 = (0..d).map(|j| line[j] * (r[j] - residual[j])).sum();
        rest[i] = s - along;
        divisor += s * along;
        left.iter_mut().zip(line).for_each(|(left, h)| *left += s * h);
    }
    // A step of nothing teaches nothing.
    if divisor.abs() > f64::MIN_POSITIVE {
        for i in 0..d {
            for j in 0..d {
                inverse[i * d + j] += rest[i] * left[j] / divisor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evaluations until the residual of `x + g(x) − z` is below 1e-12, from `z` on.
    fn evaluations(c: f64, g: impl Fn(&[f64]) -> Vec<f64>, z: &[f64]) -> usize {
        let mut all = Broyden::<f64>::new(1, z.len(), c).unwrap();
        let mut x = z.to_vec();
        for count in 1..2000 {
            let g = g(&x);
            let mut r: Vec<f64> = (0..z.len()).map(|i| x[i] + g[i] - z[i]).collect();
            if r.iter().map(|v| v * v).sum::<f64>().sqrt() < 1e-12 {
                return count;
            }
            all.step(0, &mut x, &mut r);
        }
        panic!("no zero");
    }

    #[test]
    fn linear_systems_are_solved_within_twice_their_size() {
        for d in 1..=WIDEST {
            let noise = crate::Noise::seed(d as u64);
            let map: Vec<f64> =
                (0..d * d).map(|i| 0.9 / d as f64 * noise.normal(i as u64).tanh()).collect();
            let g = |x: &[f64]| -> Vec<f64> {
                (0..d).map(|i| (0..d).map(|j| map[i * d + j] * x[j]).sum()).collect()
            };
            let z: Vec<f64> = (0..d).map(|i| 1.0 + i as f64).collect();
            let count = evaluations(0.9, g, &z);
            assert!(count <= 2 * d + 3, "{count} evaluations for {d} numbers");
        }
    }

    #[test]
    fn a_step_that_does_worse_is_taken_back() {
        let mut all = Broyden::<f64>::new(1, 1, 0.5).unwrap();
        let (mut x, step) =
            ([1.0], |all: &mut Broyden<f64>, x: &mut [f64], r: f64| all.step(0, x, &mut [r]));
        assert!(!step(&mut all, &mut x, 1.0) && x == [0.0], "a plain step");
        assert!(!step(&mut all, &mut x, 0.4), "0.4 is less than half of 1");
        assert!((x[0] + 0.4 / 0.6).abs() < 1e-15, "a learned step: the slope was 0.6, not {x:?}");
        assert!(step(&mut all, &mut x, 0.3), "0.3 is more than half of 0.4");
        assert_eq!(x, [-0.4], "from 0 on by the plain step");
    }

    #[test]
    fn a_turning_map_is_no_trap() {
        // The slope jumps between its bounds, so that what was learned is often wrong.
        for c in [0.5, 0.9, 0.99] {
            let g = |x: &[f64]| -> Vec<f64> {
                x.iter()
                    .map(|v| c * ((8.0 * v).sin() / 8.0 + (v - v.floor() - 0.5).abs()) / 2.0)
                    .collect()
            };
            let plain = (1e-13_f64.ln() / f64::ln(c)).ceil() as usize;
            for start in [-3.0, 0.1, 0.77, 5.4] {
                let count = evaluations(c, g, &[start, 0.3 - start]);
                assert!(count <= 2 * plain + 3, "{count} evaluations for c = {c}");
            }
        }
    }
}
