use super::field::Field;
use super::probe::Trace;
use super::runge_kutta::{combine, Method, Slopes, Stepper, CLASSIC, DORMAND_PRINCE};
use crate::backend::cpu::elementwise::add;
use crate::engine::{Buffer, Builder, Pass, State, Values};
use crate::lipschitz::{Amplification, Probe};
use crate::nets::{Differentiable, LastLayer};
use crate::{Block, Facts, FlowError, LogDet, Result, Scalar, Shape};

#[path = "ode_enclosure.rs"]
mod enclosure;

/// How the equation of an [`Ode`] block is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Solver {
    /// The classic Runge-Kutta method of order 4 with equal steps.
    Rk4 {
        /// How many.
        steps: usize,
    },
    /// The method of Dormand and Prince (1980), of order 5, with steps that each row chooses for
    /// itself: its estimated error in every step is at most the tolerance, relative to 1 and the
    /// size of each number, in the mean square of x and in the log-determinant.
    Dopri5 {
        /// What is asked of a step; no less than 64 times the spacing of the numbers at 1.
        tolerance: f64,
    },
}

/// Steps that are tried for one row before it is given up.
const MOST_STEPS: usize = 10_000;

/// `dx/dt = f(x, t)` from 0 to `time`, with the integral of the trace of ∂f/∂x as the
/// log-determinant (Chen et al. 2018, "Neural ordinary differential equations"; Grathwohl et al.
/// 2019, "FFJORD").
///
/// The net reads at every pixel the features of x, then the context, then t. The log-determinant is
/// integrated by the same steps as x, so it is that of the discrete map to the order of the solver.
/// The inverse solves from `time` back to 0: it undoes the forward direction to the order of the
/// solver, not to rounding, and no radius is proven for it.
///
/// Certified bounds are those of the two maps that are run, from 0 to `time` and from `time` to 0, where
/// the steps are those of [`Solver::Rk4`]. The steps of [`Solver::Dopri5`] depend on x, and jump where
/// one is refused: of its map no bound is proved. It has that of the exact solution, where the net
/// keeps a Lipschitz constant, and nothing is known of what it makes of a box.
/// In a flow on a data box, the inverses of the blocks before this one are bounded at the points of
/// the box; the inverse that is run meets those to the order of the solver.
///
/// Gradients are those of the steps as they were taken, whose lengths count as constants: exact for
/// [`Solver::Rk4`]. A pass keeps x before each step, and computes the stages once more.
#[derive(Clone, Debug)]
pub struct Ode<N> {
    field: Field<N>,
    time: f64,
    solver: Solver,
    trace: Trace,
    path: String,
}

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
    /// A block with `context` numbers of context a row, whose net
    /// `net(builder, inputs, outputs, last_layer)` makes, with one input more for the time.
    ///
    /// # Errors
    /// [`FlowError::Option`] for a time or tolerance that is not a finite number above 0 and for no
    /// steps; and the net's own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        time: f64,
        solver: Solver,
        trace: Trace,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self> {
        let positive = |what: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(FlowError::option(what, value, "a finite number above 0"))
        };
        positive("time of an ode", time)?;
        match solver {
            Solver::Rk4 { steps: 0 } => {
                return Err(FlowError::option("steps of rk4", 0, "at least 1"));
            }
            Solver::Dopri5 { tolerance } => positive("tolerance of dopri5", tolerance)?,
            Solver::Rk4 { .. } => {}
        }
        let path = builder.path();
        let field = Field::new(builder, shape, context, true, net)?;
        Ok(Self { field, time, solver, trace, path })
    }

    fn stepper(&self) -> Stepper<'_, N> {
        let method: &'static Method = match self.solver {
            Solver::Rk4 { .. } => &CLASSIC,
            Solver::Dopri5 { .. } => &DORMAND_PRINCE,
        };
        Stepper { field: &self.field, trace: self.trace, method }
    }

    /// Integrates x and the trace from `start` by `span`, and saves what each step started from.
    fn integrate<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &mut [E],
        log_det: &mut [E],
        (start, span): (f64, f64),
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let mut integral = pass.take_zeroed(pass.rows());
        let count = match self.solver {
            Solver::Rk4 { steps } => {
                let step = span / steps as f64;
                for index in 0..steps {
                    let now = (start + step * index as f64, step);
                    let record = self.record(pass, x, |_| now);
                    let (_, t, h) = self.parts(&record);
                    let slopes = self.stepper().slopes(pass, x, t, h)?;
                    combine(x, h, CLASSIC.b, &slopes.x);
                    combine(&mut integral, h, CLASSIC.b, &slopes.trace);
                    slopes.release(pass);
                    pass.save_or_give(record);
                }
                steps
            }
            Solver::Dopri5 { tolerance } => {
                let tolerance = tolerance.max(64.0 * E::epsilon().as_f64());
                self.adapt(pass, x, &mut integral, (start, span), tolerance)?
            }
        };
        add(log_det, &integral);
        pass.give(integral);
        if pass.saving() {
            let mut steps = pass.take(1);
            steps[0] = E::of(count as f64);
            pass.save(steps);
        }
        Ok(())
    }

    /// What a step starts from: x of all rows, then each row's time, then each row's step.
    fn record<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        now: impl Fn(usize) -> (f64, f64),
    ) -> Buffer<E> {
        let rows = pass.rows();
        let mut record = pass.take(x.len() + 2 * rows);
        let (place, times) = record.split_at_mut(x.len());
        place.copy_from_slice(x);
        for row in 0..rows {
            let (t, h) = now(row);
            (times[row], times[rows + row]) = (E::of(t), E::of(h));
        }
        record
    }

    /// The parts of a record.
    fn parts<'r, E: Scalar>(&self, record: &'r [E]) -> (&'r [E], &'r [E], &'r [E]) {
        let size = self.field.size();
        let rows = record.len() / (size + 2);
        let (x, times) = record.split_at(rows * size);
        let (t, h) = times.split_at(rows);
        (x, t, h)
    }

    /// Integrates with steps that each row chooses, and returns how many were saved. A row that
    /// rests, or whose step is refused, takes one of length 0.
    fn adapt<E: Scalar>(
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
        let first = total * tolerance.powf(0.2).min(1.0);
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
                let stands = way.step < 4.0 * E::epsilon().as_f64() * total;
                if way.left > 0.0 && (way.tried >= MOST_STEPS || stands) {
                    let reached = start + sign * (total - way.left);
                    return Err(self.lost(pass.number(row), way.tried, reached));
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

    /// The error of a row that does not come through.
    fn lost(&self, row: usize, tried: usize, reached: f64) -> FlowError {
        let reason = format!(
            "row {row} came no further than time {reached:.3e} of {} in {tried} steps of dopri5\nhelp: \
             a larger `tolerance`, `lipschitz = c` on the net, or `solver = rk4(n)`",
            self.time
        );
        FlowError::Block { block: "ode", path: self.path.clone(), reason }
    }

    /// The product of either direction: the saved steps, the last one first.
    fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        log_det: &[E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let count = pass.restore();
        let steps = count[0].as_f64() as usize;
        pass.give(count);
        for _ in 0..steps {
            let record = pass.restore();
            self.stepper().product(pass, self.parts(&record), gradient, log_det)?;
            pass.give(record);
        }
        Ok(())
    }
}

/// Where a step would lead, and its estimated error.
struct Next<E> {
    x: Buffer<E>,
    integral: Buffer<E>,
    x_error: Buffer<E>,
    integral_error: Buffer<E>,
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

impl<E: Scalar, N: Differentiable<E>> Block<E> for Ode<N> {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.integrate(pass, x, log_det, (0.0, self.time))
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        (0..pass.rows()).for_each(|row| pass.inexact(row, f64::INFINITY));
        self.integrate(pass, z, log_det, (self.time, -self.time))
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, log_det)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.field.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.field.finish(state, derived_gradient, gradient)
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        Ok(self.on_box(probe))
    }

    /// Two solutions part at most by the factor exp(c·T), in either direction of time (Grönwall);
    /// those of the classic method too, as their factor is the exponential's series cut in each step.
    fn facts(&self) -> Facts {
        let bound = (self.field.net().lipschitz() * self.time).exp();
        Facts {
            invertible: true,
            analytic_inverse: false,
            log_det: LogDet::Varying,
            bi_lipschitz: self.field.net().is_lipschitz(),
            memory_saving: false,
            forward: bound,
            inverse: bound,
        }
    }
}

#[cfg(test)]
#[path = "ode_tests.rs"]
mod tests;
