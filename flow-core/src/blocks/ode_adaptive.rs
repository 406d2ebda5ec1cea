//! Steps that each row chooses for itself.

use super::Ode;
use crate::blocks::runge_kutta::{combine, Method, Slopes, DORMAND_PRINCE};
use crate::engine::{Pass, Scratch};
use crate::nets::Differentiable;
use crate::{FlowError, Result, Scalar};

/// Steps that are tried for one row before it is given up.
pub(super) const MOST_STEPS: usize = 10_000;

/// A row's way through time.
#[derive(Clone, Copy)]
struct Way {
    /// The step to try next, without its sign.
    step: f64,
    /// What is left, without its sign.
    left: f64,
    tried: usize,
}

impl<N> Ode<N> {
    /// Integrates with steps that each row chooses, and returns how many were saved. A row that
    /// rests, or whose step is refused, takes one of length 0.
    pub(super) fn adapt<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &mut [E],
        integral: &mut [E],
        (start, span): (f64, f64),
        tolerance: f64,
    ) -> Result<usize>
    where
        N: Differentiable<E>,
    {
        let (size, method) = (self.field.size(), &DORMAND_PRINCE);
        let (total, sign) = (span.abs(), span.signum());
        let first = first_step(total, tolerance);
        let mut ways = vec![Way { step: first, left: total, tried: 0 }; pass.rows()];
        let mut count = 0;
        while ways.iter().any(|way| way.left > 0.0) {
            let mut record = self.record(pass, x, |row| {
                let way = ways[row];
                (start + sign * (total - way.left), sign * way.step.min(way.left))
            });
            let (_, t, h) = self.parts(&record);
            let slopes = self.stepper().slopes(pass, x, t, h)?;
            let mut next = Next::new(pass, x, integral);
            next.add(h, method, &slopes);
            slopes.release(pass);
            let steps = x.len() + pass.rows();
            let mut accepted = false;
            for (row, way) in ways.iter_mut().enumerate().filter(|(_, way)| way.left > 0.0) {
                let at = row * size..(row + 1) * size;
                let error = next.error(row, &x[at.clone()], integral[row]) / tolerance;
                let last = way.step >= way.left;
                let taken = way.step.min(way.left);
                way.tried += 1;
                // The error of a step of order 5 with its estimate of order 4 grows as h⁵.
                let better = 0.9 * error.powf(-0.2);
                if error <= 1.0 {
                    accepted = true;
                    x[at.clone()].copy_from_slice(&next.x[at]);
                    integral[row] = next.integral[row];
                    way.left = if last { 0.0 } else { way.left - taken };
                    way.step = taken * better.clamp(0.2, 5.0);
                } else {
                    record[steps + row] = E::zero();
                    // Also where the error is no number.
                    way.step = taken * if better > 0.2 { better.min(0.9) } else { 0.2 };
                }
                let stands = way.step < shortest_step::<E>(total);
                if way.left > 0.0 && (way.tried >= MOST_STEPS || stands) {
                    let reached = start + sign * (total - way.left);
                    return Err(self.lost().error(pass.number(row), way.tried, reached));
                }
            }
            next.release(pass);
            if accepted {
                count += 1;
                pass.save_or_give(record);
            } else {
                pass.give(record);
            }
        }
        Ok(count)
    }

    /// What is said of a row that does not come through.
    pub(super) fn lost(&self) -> Lost {
        Lost { time: self.time, path: self.path.clone() }
    }
}

/// What an error may be in numbers of that kind.
pub(super) fn tolerance_of<E: Scalar>(asked: f64) -> f64 {
    asked.max(64.0 * E::epsilon().as_f64())
}

/// The first step that is tried on a way of that length.
pub(super) fn first_step(total: f64, tolerance: f64) -> f64 {
    total * tolerance.powf(0.2).min(1.0)
}

/// Steps below this no longer move the time.
pub(super) fn shortest_step<E: Scalar>(total: f64) -> f64 {
    4.0 * E::epsilon().as_f64() * total
}

/// A row that does not come through.
pub(super) struct Lost {
    time: f64,
    path: String,
}

impl Lost {
    pub(super) fn error(&self, row: usize, tried: usize, reached: f64) -> FlowError {
        let reason = format!(
            "row {row} came no further than time {reached:.3e} of {} in {tried} steps of dopri5\nhelp: \
             a larger `tolerance`, `lipschitz = c` on the net, or `solver = rk4(n)`",
            self.time
        );
        FlowError::Block { block: "ode", path: self.path.clone(), reason }
    }
}

/// Where a step would lead, and its estimated error.
struct Next<E> {
    x: Scratch<E>,
    integral: Scratch<E>,
    x_error: Scratch<E>,
    integral_error: Scratch<E>,
}

impl<E: Scalar> Next<E> {
    fn new(pass: &mut Pass<'_, E>, x: &[E], integral: &[E]) -> Self {
        Self {
            x: pass.take_copy(x),
            integral: pass.take_copy(integral),
            x_error: pass.take_zeroed(x.len()),
            integral_error: pass.take_zeroed(integral.len()),
        }
    }

    fn add(&mut self, h: &[E], method: &Method, slopes: &Slopes<E>) {
        combine(&mut self.x, h, method.b, &slopes.x);
        combine(&mut self.integral, h, method.b, &slopes.trace);
        combine(&mut self.x_error, h, method.error, &slopes.x);
        combine(&mut self.integral_error, h, method.error, &slopes.trace);
    }

    /// A row's error relative to 1 and to what stands before and after the step: the larger of that
    /// of x, in the mean square, and that of the integral.
    fn error(&self, row: usize, x: &[E], integral: E) -> f64 {
        let relative = |error: E, before: E, after: E| {
            error.as_f64() / (1.0 + before.as_f64().abs().max(after.as_f64().abs()))
        };
        let at = row * x.len()..(row + 1) * x.len();
        let each = self.x_error[at.clone()].iter().zip(&self.x[at]).zip(x);
        let squares: f64 = each.map(|((&e, &after), &x)| relative(e, x, after).powi(2)).sum();
        let of_x = (squares / x.len() as f64).sqrt();
        let of_integral = relative(self.integral_error[row], integral, self.integral[row]).abs();
        if of_x.is_nan() || of_integral.is_nan() {
            return f64::NAN;
        }
        of_x.max(of_integral)
    }

    fn release(self, pass: &mut Pass<'_, E>) {
        for buffer in [self.x, self.integral, self.x_error, self.integral_error] {
            pass.give(buffer);
        }
    }
}
