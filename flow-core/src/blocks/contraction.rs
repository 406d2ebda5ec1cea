//! Fixed points of contractions, with a proven error.

use super::broyden::Broyden;
use crate::engine::Pass;
use crate::{Result, Scalar};

/// No tolerance is asked below `FLOOR·ε/(1 − c)` of the larger of the unit, ‖x‖ and ‖z‖, with ε the
/// spacing of the numbers: that is what rounding of sums of such vectors allows.
const FLOOR: f64 = 8.0;

/// Where rounding keeps the steps from shrinking before, an answer with SPARE/(1 − c) times the
/// floor counts as one: a step can hold the rounding errors of some 1/(1 − c) iterations.
const SPARE: f64 = 16.0;

/// Iterations beyond those that the contraction needs.
const SLACK: usize = 20;

/// A map g with ‖g(a) − g(b)‖ ≤ c‖a − b‖, c < 1: x + g(x) = z has one solution x*, which
/// x ← z − g(x) finds.
///
/// The residual r = x + g(x) − z of any x proves ‖x − x*‖ ≤ ‖r‖/(1 − c), as I + g parts points by
/// at least 1 − c; the plain step is −r, and the point after it is within c/(1 − c)·‖r‖ (Banach). Short
/// rows get there by [`Broyden`]'s steps, and every answer ends with a plain one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contraction {
    /// The certified coefficient c.
    pub(super) lipschitz: f64,
    /// What the radius of an answer may be, relative to the larger of the unit and ‖x‖.
    pub(super) tolerance: f64,
    /// The length below which the tolerance is no longer relative: 1 for data, 0 for gradients.
    pub(super) unit: f64,
}

/// A row whose fixed point was not found.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) row: usize,
    pub(super) iterations: usize,
    /// The radius that was reached, relative to the larger of the unit and ‖x‖.
    pub(super) radius: f64,
}

/// How far one row is.
#[derive(Clone, Copy)]
struct Progress {
    done: bool,
    /// The length of a step, and the iteration that took it: the last one that was at most half as
    /// long as the one that stood here before.
    step: f64,
    since: usize,
    /// The iteration by which the contraction must have brought the row to its tolerance.
    limit: usize,
}

impl Contraction {
    /// Solves `x + g(x) = z` for each row of `z`, which becomes x, and tells each row's certified
    /// radius to `found`. A row's answer does not depend on the others. Where g takes `any` rows in
    /// the place of all, it is asked only for those that are not there yet.
    pub(super) fn solve<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        z: &mut [E],
        any: bool,
        mut g: impl FnMut(&mut Pass<'_, E>, &[E], &mut [E]) -> Result<()>,
        mut found: impl FnMut(&mut Pass<'_, E>, usize, f64),
    ) -> Result<Result<(), Stuck>> {
        let c = self.lipschitz;
        let size = z.len() / pass.rows();
        let target = pass.take_copy(z);
        let (mut points, mut steps) = (pass.take(z.len()), pass.take(z.len()));
        let mut asked: Vec<usize> = (0..pass.rows()).collect();
        let mut broyden = Broyden::new(pass.rows(), size, c);
        let mut residual = vec![0.0; size];
        let mut rows = vec![Progress { done: false, step: 0.0, since: 0, limit: 0 }; pass.rows()];
        let half_life = (0.5_f64.ln() / c.ln()).ceil() as usize;
        let mut result = Ok(());
        'iterations: for iteration in 0.. {
            // `z` holds x.
            let points = &mut points[..asked.len() * size];
            for (point, &row) in points.chunks_exact_mut(size).zip(&asked) {
                point.copy_from_slice(&z[row * size..(row + 1) * size]);
            }
            let steps = &mut steps[..points.len()];
            pass.part(0..asked.len(), |pass| g(pass, points, steps))?;
            for (&row, step) in asked.iter().zip(steps.chunks_exact_mut(size)) {
                let state = &mut rows[row];
                if state.done {
                    continue;
                }
                let at = row * size..(row + 1) * size;
                let (mut moved, mut length, mut aim) = (0.0, 0.0, 0.0);
                let x = &mut z[at.clone()];
                for (((x, next), &z), r) in
                    x.iter().zip(step.iter_mut()).zip(&target[at]).zip(&mut residual)
                {
                    *next = z - *next;
                    *r = (*x - *next).as_f64();
                    moved += r.powi(2);
                    length += next.as_f64().powi(2);
                    aim += z.as_f64().powi(2);
                }
                let (moved, length) = (moved.sqrt(), length.sqrt().max(self.unit));
                let reached = c / (1.0 - c) * moved;
                let aim = aim.sqrt();
                let rounding = FLOOR * E::epsilon().as_f64() / (1.0 - c) * length.max(aim);
                let wanted = rounding.max(self.tolerance * length);
                if iteration == 0 {
                    // The answer may turn out shorter than x is now.
                    let shortest = self.unit.max(f64::MIN_POSITIVE);
                    let least = (rounding / length.max(aim) * aim).max(self.tolerance * shortest);
                    state.limit = self.iterations(reached / least);
                }
                // In exact arithmetic steps shrink by c, so a half takes no longer than this.
                let rounded = iteration > state.since + half_life && moved > 0.5 * state.step;
                if moved <= 0.5 * state.step || iteration == 0 {
                    (state.step, state.since) = (moved, iteration);
                }
                state.done =
                    reached <= wanted || rounded && reached <= SPARE / (1.0 - c) * rounding;
                let mut back = false;
                match &mut broyden {
                    Some(broyden) if !state.done => back = broyden.step(row, x, &mut residual),
                    _ => x.copy_from_slice(step),
                }
                if state.done {
                    found(pass, row, reached + rounding);
                } else if iteration >= state.limit || !(back || moved.is_finite()) {
                    let radius = reached / length;
                    result = Err(Stuck { row, iterations: iteration + 1, radius });
                    break 'iterations;
                }
            }
            if rows.iter().all(|state| state.done) {
                break;
            }
            if any {
                asked.retain(|&row| !rows[row].done);
            }
        }
        pass.give(points);
        pass.give(steps);
        pass.give(target);
        Ok(result)
    }

    /// Evaluations after which an error is certainly so many times smaller, though every second one
    /// is taken back.
    fn iterations(&self, times: f64) -> usize {
        let needed = 2.0 * times.ln() / -self.lipschitz.ln();
        SLACK + if needed.is_finite() { needed.ceil().max(0.0) as usize } else { 0 }
    }
}

#[cfg(feature = "cuda")]
#[path = "contraction_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Builder, Gradients, Workspace};

    /// Solves x + c·R x = z with R a rotation by a right angle.
    fn rotation<E: Scalar>(c: f64, tolerance: f64, z: &mut [E]) -> (Result<(), Stuck>, Vec<f64>) {
        let (_, state) = Builder::<E>::new(0).finish();
        let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
        let rows = z.len() / 2;
        let mut pass = Pass::new(rows, &state, &[], &mut workspace, &mut none);
        let mut radii = vec![f64::NAN; rows];
        let solved = Contraction { lipschitz: c, tolerance, unit: 1.0 }.solve(
            &mut pass,
            z,
            true,
            |_, x, out| {
                for (x, out) in x.chunks_exact(2).zip(out.chunks_exact_mut(2)) {
                    (out[0], out[1]) = (E::of(-c) * x[1], E::of(c) * x[0]);
                }
                Ok(())
            },
            |_, row, radius| radii[row] = radius,
        );
        (solved.unwrap(), radii)
    }

    /// The solution by hand: (I + cR)⁻¹ = (I − cR)/(1 + c²).
    fn exact(c: f64, z: &[f64]) -> Vec<f64> {
        let pairs = z.chunks_exact(2);
        pairs.flat_map(|z| [z[0] + c * z[1], z[1] - c * z[0]].map(|v| v / (1.0 + c * c))).collect()
    }

    #[test]
    fn radii_hold_and_are_within_the_tolerance() {
        for c in [0.1, 0.5, 0.9, 0.99, 0.999] {
            for tolerance in [1e-2, 1e-6, 1e-300] {
                let z = [0.3, -2.0, 1e6, 3e5, 0.0, 0.0, 1e-9, 0.0];
                let want = exact(c, &z);
                let mut x = z;
                let (solved, radii) = rotation(c, tolerance, &mut x);
                assert!(solved.is_ok());
                for (row, radius) in radii.into_iter().enumerate() {
                    let at = row * 2..row * 2 + 2;
                    let error = crate::testing::distance(&x[at.clone()], &want[at.clone()]);
                    let length = crate::testing::distance(&want[at], &[0.0; 2]).max(1.0);
                    assert!(error <= radius, "c = {c}: off by {error:e}, not {radius:e}");
                    let floor = 2.0 * FLOOR * f64::EPSILON / (1.0 - c);
                    let most = tolerance + (2.0 + SPARE / (1.0 - c)) * floor;
                    assert!(radius <= most * length, "c = {c}: a radius of {radius:e}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_see_the_others() {
        let mut alone = [0.3, -2.0];
        let mut among = [1e6, 3e5, 0.3, -2.0, 0.0, 0.0];
        rotation(0.9, 1e-9, &mut alone).0.ok().unwrap();
        rotation(0.9, 1e-9, &mut among).0.ok().unwrap();
        assert_eq!(alone, among[2..4]);
    }

    #[test]
    fn single_precision_ends_at_its_floor() {
        let z = [0.3_f32, -2.0, 1e6, 3e5];
        let want = exact(0.99, &z.map(f64::from));
        let mut x = z;
        let (solved, radii) = rotation(0.99, 1e-14, &mut x);
        assert!(solved.is_ok());
        for (row, radius) in radii.into_iter().enumerate() {
            let at = row * 2..row * 2 + 2;
            let got: Vec<f64> = x[at.clone()].iter().map(|&v| f64::from(v)).collect();
            assert!(crate::testing::distance(&got, &want[at]) <= radius);
        }
    }

    #[test]
    fn a_map_that_is_no_contraction_is_found_out() {
        // R with c = 1.2 under a claim of 0.5.
        let (_, state) = Builder::<f64>::new(0).finish();
        let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
        let mut pass = Pass::new(2, &state, &[], &mut workspace, &mut none);
        let claim = Contraction { lipschitz: 0.5, tolerance: 1e-9, unit: 1.0 };
        let grow = |_: &mut Pass<'_, f64>, x: &[f64], out: &mut [f64]| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = 1.2 * x);
            Ok(())
        };
        let solved = claim.solve(&mut pass, &mut [0.0, 1.0], false, grow, |_, _, _| ()).unwrap();
        let stuck = solved.expect_err("no answer");
        assert!(stuck.row == 1 && stuck.radius > 1.0);
        assert!(stuck.iterations < 100, "{}", stuck.iterations);
    }
}
