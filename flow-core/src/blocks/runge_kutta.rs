//! Explicit Runge-Kutta steps of `dx/dt = f(x, t)`, with the integral of the trace of f's Jacobian.

use super::field::Field;
use super::probe::{add_products, scale_rows, Trace};
use crate::backend::cpu::elementwise::{add, multiply_by};
use crate::engine::{Pass, Scratch};
use crate::nets::{Differentiable, Linearization};
use crate::{Result, Scalar};

/// A method: stage i is at `x + h·Σ a[i][j]·k_j` and `t + c[i]·h`, the step is `h·Σ b[i]·k_i`.
pub(super) struct Method {
    pub(super) a: &'static [&'static [f64]],
    pub(super) b: &'static [f64],
    pub(super) c: &'static [f64],
    /// `b` less the weights of a method of lower order; empty where there is none.
    pub(super) error: &'static [f64],
}

/// The classic method of order 4.
pub(super) const CLASSIC: Method = Method {
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
    error: &[],
};

/// Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae", order 5 with 4 inside.
pub(super) const DORMAND_PRINCE: Method = Method {
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    error: &[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339_200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ],
};

/// An equation and how it is stepped.
#[derive(Clone, Copy)]
pub(super) struct Stepper<'a, N> {
    pub(super) field: &'a Field<N>,
    pub(super) trace: Trace,
    pub(super) method: &'static Method,
}

/// The slopes of a step at its stages: of x, and of the integrated trace.
pub(super) struct Slopes<E> {
    pub(super) x: Vec<Scratch<E>>,
    pub(super) trace: Vec<Scratch<E>>,
}

impl<E: Scalar> Slopes<E> {
    pub(super) fn release(self, pass: &mut Pass<'_, E>) {
        self.x.into_iter().chain(self.trace).for_each(|buffer| pass.give(buffer));
    }
}

/// `into += h·Σ weight·slope`, with one h for each row.
pub(super) fn combine<E: Scalar>(into: &mut [E], h: &[E], weights: &[f64], slopes: &[Scratch<E>]) {
    let width = into.len() / h.len();
    for (&weight, slope) in weights.iter().zip(slopes).filter(|(&weight, _)| weight != 0.0) {
        let rows = into.chunks_exact_mut(width).zip(slope.chunks_exact(width));
        for ((into, slope), &h) in rows.zip(h) {
            let by = h * E::of(weight);
            into.iter_mut().zip(slope).for_each(|(into, &k)| *into += by * k);
        }
    }
}

impl<N> Stepper<'_, N> {
    /// Where a stage is, from the slopes of those before.
    fn stage<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        index: usize,
        (x, t, h): (&[E], &[E], &[E]),
        slopes: &[Scratch<E>],
    ) -> (Scratch<E>, Scratch<E>) {
        let mut at = pass.take_copy(x);
        combine(&mut at, h, self.method.a[index], slopes);
        let mut time = pass.take_copy(t);
        let share = E::of(self.method.c[index]);
        time.iter_mut().zip(h).for_each(|(t, &h)| *t += share * h);
        (at, time)
    }

    /// The slopes of a step of each row from x at time t by h.
    pub(super) fn slopes<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        t: &[E],
        h: &[E],
    ) -> Result<Slopes<E>>
    where
        N: Differentiable<E>,
    {
        let stages = self.method.a.len();
        let mut slopes =
            Slopes { x: Vec::with_capacity(stages), trace: Vec::with_capacity(stages) };
        for index in 0..stages {
            let (at, time) = self.stage(pass, index, (x, t, h), &slopes.x);
            let mut slope = pass.take(x.len());
            let linear = self.field.linearize(pass, &at, &time, &mut slope, false)?;
            slopes.x.push(slope);
            slopes.trace.push(self.trace_of(pass, &linear));
            linear.release(pass);
            pass.give(time);
            pass.give(at);
        }
        Ok(slopes)
    }

    /// The trace of each row's Jacobian.
    fn trace_of<E: Scalar>(&self, pass: &mut Pass<'_, E>, at: &Linearization<E>) -> Scratch<E>
    where
        N: Differentiable<E>,
    {
        let mut traces = pass.take_zeroed(pass.rows());
        for chunk in self.trace.chunks(pass.rows(), self.field.size()) {
            let probes = self.trace.probes(pass, self.field.size(), chunk);
            let mut pushed = pass.take(probes.len());
            self.field.push(pass, at, &probes, &mut pushed);
            add_products(&mut traces, &probes, &pushed, |_| Some(E::one()));
            pass.give(pushed);
            pass.give(probes);
        }
        traces
    }

    /// The product of a step: `gradient` by its end becomes that by its start, where `by_trace`
    /// holds the gradient by each row's integrated trace. Stages are computed once more.
    pub(super) fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        (x, t, h): (&[E], &[E], &[E]),
        gradient: &mut [E],
        by_trace: &[E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        // Stages that the step does not use, only its error, have no part in it.
        let stages = self.method.b.len();
        let mut slopes: Vec<Scratch<E>> = Vec::with_capacity(stages);
        let mut places = Vec::with_capacity(stages);
        for index in 0..stages {
            let (at, time) = self.stage(pass, index, (x, t, h), &slopes);
            if index + 1 < stages {
                let mut slope = pass.take(x.len());
                self.field.evaluate(pass, &at, &time, &mut slope)?;
                slopes.push(slope);
            }
            places.push((at, time));
        }
        slopes.into_iter().for_each(|slope| pass.give(slope));

        // The gradients by the stages' places, the last stage first.
        let mut by_places: Vec<Scratch<E>> = Vec::with_capacity(stages);
        let mut output = pass.take(x.len());
        let mut scale = pass.take(h.len());
        for (index, (at, time)) in places.into_iter().enumerate().rev() {
            let b = self.method.b[index];
            scale.iter_mut().zip(h).for_each(|(v, &h)| *v = h * E::of(b));
            let mut by_slope = pass.take_copy(gradient);
            scale_rows(&mut by_slope, &scale);
            // Later stages stand on this one's slope.
            let later = self.method.a[..stages].iter().skip(index + 1).rev();
            for (row, by_place) in later.zip(&by_places) {
                combine(&mut by_slope, h, &row[index..=index], std::slice::from_ref(by_place));
            }
            multiply_by(&mut scale, by_trace);
            let linear = self.field.linearize(pass, &at, &time, &mut output, true)?;
            let mut by_place = pass.take(x.len());
            self.field.gradient_in_chunks(
                pass,
                &linear,
                self.trace,
                &by_slope,
                &mut by_place,
                |pass, _, probes| {
                    let mut cotangents = pass.take_copy(probes);
                    scale_rows(&mut cotangents, &scale);
                    cotangents
                },
            );
            linear.release(pass);
            by_places.push(by_place);
            [by_slope, at, time].into_iter().for_each(|buffer| pass.give(buffer));
        }
        for by_place in by_places {
            add(gradient, &by_place);
            pass.give(by_place);
        }
        pass.give(scale);
        pass.give(output);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
#[path = "runge_kutta_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;

    /// The conditions of order 1 to 4, and of order 5 where `order` is 5.
    fn check(method: &Method, weights: &[f64], order: usize) {
        let s = weights.len();
        let a = |i: usize, j: usize| method.a[i].get(j).copied().unwrap_or(0.0);
        let c = method.c;
        for (row, &c) in method.a.iter().zip(c) {
            assert!((row.iter().sum::<f64>() - c).abs() < 1e-13, "rows add up to c");
        }
        let all = 0..s;
        let sum = |f: &dyn Fn(usize) -> f64| all.clone().map(|i| weights[i] * f(i)).sum::<f64>();
        let inner =
            |i: usize, f: &dyn Fn(usize) -> f64| -> f64 { (0..i).map(|j| a(i, j) * f(j)).sum() };
        let mut conditions = vec![
            (sum(&|_| 1.0), 1.0),
            (sum(&|i| c[i]), 1.0 / 2.0),
            (sum(&|i| c[i].powi(2)), 1.0 / 3.0),
            (sum(&|i| inner(i, &|j| c[j])), 1.0 / 6.0),
            (sum(&|i| c[i].powi(3)), 1.0 / 4.0),
            (sum(&|i| c[i] * inner(i, &|j| c[j])), 1.0 / 8.0),
            (sum(&|i| inner(i, &|j| c[j].powi(2))), 1.0 / 12.0),
            (sum(&|i| inner(i, &|j| inner(j, &|k| c[k]))), 1.0 / 24.0),
        ];
        if order == 5 {
            conditions.extend([
                (sum(&|i| c[i].powi(4)), 1.0 / 5.0),
                (sum(&|i| inner(i, &|j| inner(j, &|k| inner(k, &|l| c[l])))), 1.0 / 120.0),
                (sum(&|i| c[i] * inner(i, &|j| c[j].powi(2))), 1.0 / 15.0),
            ]);
        }
        for (i, (got, want)) in conditions.into_iter().enumerate() {
            assert!((got - want).abs() < 1e-13, "condition {i}: {got}, not {want}");
        }
    }

    #[test]
    fn methods_have_their_order() {
        check(&CLASSIC, CLASSIC.b, 4);
        check(&DORMAND_PRINCE, DORMAND_PRINCE.b, 5);
        let padded = |i: usize| DORMAND_PRINCE.b.get(i).copied().unwrap_or(0.0);
        let lower: Vec<f64> =
            DORMAND_PRINCE.error.iter().enumerate().map(|(i, e)| padded(i) - e).collect();
        check(&DORMAND_PRINCE, &lower, 4);
    }
}
