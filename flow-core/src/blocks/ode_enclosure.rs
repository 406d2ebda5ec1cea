//! What the steps of the classic method make of a box.

use super::{Ode, Solver, CLASSIC};
use crate::lipschitz::{up, Amplification, Interval, Probe};
use crate::nets::Differentiable;
use crate::{Block, Scalar};

impl<N> Ode<N> {
    /// Carries a probe's box through the equation, and back again for the bound of the opposite
    /// direction, which is a map of its own.
    pub(super) fn on_box<E: Scalar>(&self, probe: &mut Probe<'_, E>) -> Amplification
    where
        N: Differentiable<E>,
    {
        let Solver::Rk4 { steps } = self.solver else {
            probe.lose_region();
            return Amplification::architectural(Block::<E>::facts(self));
        };
        let region = std::mem::take(probe.region());
        let backwards = probe.backwards();
        let (ahead, behind) = ((0.0, self.time), (self.time, -self.time));
        let (there, back) = if backwards { (behind, ahead) } else { (ahead, behind) };
        let (image, out) = self.travel(probe, region, steps, there);
        let (_, again) = self.travel(probe, image.clone(), steps, back);
        *probe.region() = image;
        let found = Amplification { inverse: again.forward, ..out };
        if backwards {
            found.turned()
        } else {
            found
        }
    }

    /// The box after all steps from a time on, and the product of the steps' amplification.
    fn travel<E: Scalar>(
        &self,
        probe: &Probe<'_, E>,
        mut x: Vec<Interval>,
        steps: usize,
        (start, span): (f64, f64),
    ) -> (Vec<Interval>, Amplification)
    where
        N: Differentiable<E>,
    {
        // The scalar's own times and steps lie within.
        let rounded = 4.0 * E::epsilon().as_f64();
        let step = span / steps as f64;
        let h = Interval::point(step).widened(rounded);
        let off = rounded * self.time;
        let mut all = Amplification::certified(1.0, 1.0);
        for index in 0..steps {
            let now = start + step * index as f64;
            let time = Interval::new(now - off, now + off);
            let (next, growth) = self.step(probe, &x, time, h);
            x = next;
            all = all.then(Amplification::certified(growth, 1.0));
        }
        (x, all)
    }

    /// One step. Where the net's Jacobian at stage i is at most cᵢ, that of its slope by the step's
    /// start is at most `Kᵢ = cᵢ·(1 + h·Σ aᵢⱼ·Kⱼ)`, and that of the step `1 + h·Σ bᵢ·Kᵢ`.
    fn step<E: Scalar>(
        &self,
        probe: &Probe<'_, E>,
        x: &[Interval],
        time: Interval,
        h: Interval,
    ) -> (Vec<Interval>, f64)
    where
        N: Differentiable<E>,
    {
        let ones = vec![1.0; self.field.features()];
        let mut slopes: Vec<Vec<Interval>> = Vec::new();
        let mut gains: Vec<f64> = Vec::new();
        for (weights, &share) in CLASSIC.a.iter().zip(CLASSIC.c) {
            let at = moved(x, h, weights, &slopes);
            let net = self.field.enclose_at(probe, &at, time + Interval::point(share) * h);
            gains.push(up(net.norm(&ones) * growth(h, weights, &gains)));
            slopes.push(net.output);
        }
        (moved(x, h, CLASSIC.b, &slopes), growth(h, CLASSIC.b, &gains))
    }
}

/// A weight of the method, which is rounded.
fn exact(weight: f64) -> Interval {
    Interval::point(weight).widened(f64::EPSILON)
}

/// `x + h·Σ weight·slope`.
fn moved(x: &[Interval], h: Interval, weights: &[f64], slopes: &[Vec<Interval>]) -> Vec<Interval> {
    let mut at = x.to_vec();
    for (&weight, slope) in weights.iter().zip(slopes).filter(|(&weight, _)| weight != 0.0) {
        let by = h * exact(weight);
        at.iter_mut().zip(slope).for_each(|(at, &k)| *at = *at + by * k);
    }
    at
}

/// `1 + |h|·Σ |weight|·gain`.
fn growth(h: Interval, weights: &[f64], gains: &[f64]) -> f64 {
    let each = weights.iter().zip(gains).filter(|(&weight, _)| weight != 0.0);
    each.fold(1.0, |sum, (&weight, &gain)| {
        up(sum + up(up(h.magnitude() * exact(weight).magnitude()) * gain))
    })
}
