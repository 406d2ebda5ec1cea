use super::field::Field;
use super::probe::Trace;
use super::runge_kutta::{combine, Method, Stepper, CLASSIC, DORMAND_PRINCE};
use crate::backend::cpu::elementwise::add;
use crate::engine::{Builder, Pass, Scratch, State, Values};
use crate::lipschitz::{Amplification, Probe};
use crate::nets::{Differentiable, LastLayer};
use crate::{Block, Facts, FlowError, LogDet, Result, Scalar, Shape};

#[path = "ode_adaptive.rs"]
mod adaptive;
#[path = "ode_enclosure.rs"]
mod enclosure;
#[cfg(feature = "cuda")]
#[path = "ode_lowering.rs"]
mod lowering;

use adaptive::tolerance_of;

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

/// `dx/dt = f(x, t)` from 0 to `time`, with the integral of the trace of ∂f/∂x as the
/// log-determinant (Chen et al. 2018, "Neural ordinary differential equations"; Grathwohl et al.
/// 2019, "FFJORD").
///
/// The net reads at every pixel the features of x, then the context, then t. The log-determinant is
/// integrated by the same steps as x, so it is that of the discrete map to the order of the solver.
/// Parameters are those of the net, whose last layer starts at zero: the block starts as the identity.
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
                self.adapt(pass, x, &mut integral, (start, span), tolerance_of::<E>(tolerance))?
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
    ) -> Scratch<E> {
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

    super::lowered!(record_block, record_weights);

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
