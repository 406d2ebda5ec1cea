//! Update rules on flat slices.

use std::ops::Range;

use super::pieces::pieces;
use super::{Adam, AdamW, Adamax, Optimizer, Sgd};
use crate::engine::each;
use crate::Scalar;

impl Optimizer {
    /// How many moments a parameter has.
    fn moments(&self) -> usize {
        match self {
            Self::Sgd(Sgd { momentum, .. }) => usize::from(*momentum != 0.0),
            _ => 2,
        }
    }

    /// Moments before the first step.
    pub(super) fn start<E: Scalar>(&self, parameters: usize) -> Moments<E> {
        let zeros = |wanted| if wanted { vec![E::zero(); parameters] } else { Vec::new() };
        Moments { steps: 0, first: zeros(self.moments() > 0), second: zeros(self.moments() > 1) }
    }

    /// One step of size `rate` on the trainable parts, which ascend; nothing else is read or written.
    pub(super) fn update<E: Scalar>(
        &self,
        rate: f64,
        moments: &mut Moments<E>,
        parameters: &mut [E],
        gradient: &[E],
        trainable: &[Range<usize>],
    ) {
        moments.steps += 1;
        let Moments { steps, first, second } = moments;
        let steps = *steps;
        let parts = trainable.iter().flat_map(|range| pieces(range.clone()));
        let (mut p, mut m, mut v) = (Rest::of(parameters), Rest::of(first), Rest::of(second));
        let parts = parts.map(|range| {
            let g = &gradient[range.clone()];
            (p.part(&range), g, m.part(&range), v.part(&range))
        });
        let parts: Vec<Slices<'_, E>> = parts.collect();
        each(parts, |(p, g, m, v)| match *self {
            Self::Adam(Adam { betas, epsilon, weight_decay, .. }) => {
                adam(rate, betas, epsilon, steps, weight_decay, 1.0, (p, g, m, v));
            }
            Self::AdamW(AdamW { betas, epsilon, weight_decay, .. }) => {
                let keep = 1.0 - rate * weight_decay;
                adam(rate, betas, epsilon, steps, 0.0, keep, (p, g, m, v));
            }
            Self::Adamax(Adamax { betas, epsilon, weight_decay, .. }) => {
                adamax(rate, betas, epsilon, steps, weight_decay, (p, g, m, v));
            }
            Self::Sgd(sgd) => descend(rate, sgd, p, g, m),
        });
    }
}

/// What an optimiser remembers of earlier steps, under the layout of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moments<E> {
    /// Updates done.
    pub(super) steps: u64,
    pub(super) first: Vec<E>,
    pub(super) second: Vec<E>,
}

/// A slice of which parts are taken, each behind the last.
struct Rest<'a, E> {
    left: &'a mut [E],
    start: usize,
}

impl<'a, E> Rest<'a, E> {
    fn of(all: &'a mut [E]) -> Self {
        Self { left: all, start: 0 }
    }

    /// That part of the whole; nothing of a slice that is empty.
    fn part(&mut self, range: &Range<usize>) -> &'a mut [E] {
        if self.left.is_empty() {
            return &mut [];
        }
        let (_, left) = std::mem::take(&mut self.left).split_at_mut(range.start - self.start);
        let (part, left) = left.split_at_mut(range.len());
        (self.left, self.start) = (left, range.end);
        part
    }
}

/// Parameters, their gradient, and their moments, of which a rule may have fewer.
type Slices<'a, E> = (&'a mut [E], &'a [E], &'a mut [E], &'a mut [E]);

fn adam<E: Scalar>(
    rate: f64,
    betas: [f64; 2],
    epsilon: f64,
    steps: u64,
    decay: f64,
    keep: f64,
    (p, g, m, v): Slices<'_, E>,
) {
    let [first, second] = betas.map(|beta| 1.0 - beta.powf(steps as f64));
    let size = E::of(rate / first);
    let root = E::of(second.sqrt());
    let (epsilon, decay, keep) = (E::of(epsilon), E::of(decay), E::of(keep));
    let (toward, stay, join) = (E::of(1.0 - betas[0]), E::of(betas[1]), E::of(1.0 - betas[1]));
    for ((p, &g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
        let weight = keep * *p;
        let g = g + decay * weight;
        *m += toward * (g - *m);
        *v = stay * *v + join * g * g;
        *p = weight - size * *m / (v.sqrt() / root + epsilon);
    }
}

fn descend<E: Scalar>(rate: f64, sgd: Sgd, p: &mut [E], g: &[E], buffer: &mut [E]) {
    let [rate, decay, momentum] = [rate, sgd.weight_decay, sgd.momentum].map(E::of);
    if buffer.is_empty() {
        return p.iter_mut().zip(g).for_each(|(p, &g)| *p -= rate * (g + decay * *p));
    }
    // A buffer of zeros makes the first one the gradient itself, as PyTorch has it.
    for ((p, &g), b) in p.iter_mut().zip(g).zip(buffer) {
        let g = g + decay * *p;
        *b = momentum * *b + g;
        *p -= rate * if sgd.nesterov { g + momentum * *b } else { *b };
    }
}

fn adamax<E: Scalar>(
    rate: f64,
    betas: [f64; 2],
    epsilon: f64,
    steps: u64,
    decay: f64,
    (p, g, m, u): Slices<'_, E>,
) {
    let size = E::of(rate / (1.0 - betas[0].powf(steps as f64)));
    let (epsilon, decay) = (E::of(epsilon), E::of(decay));
    let (toward, stay) = (E::of(1.0 - betas[0]), E::of(betas[1]));
    for ((p, &g), (m, u)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(u)) {
        let g = g + decay * *p;
        *m += toward * (g - *m);
        *u = (stay * *u).max(g.abs() + epsilon);
        *p -= size * *m / *u;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    const RATE: f64 = 0.05;
    const DECAY: f64 = 0.1;

    /// The formulas of PyTorch's documentation for one weight, straight from the sums that the
    /// moments stand for: nothing is carried from step to step but the weight.
    fn oracle(rule: Optimizer, start: f64, gradients: &[f64]) -> f64 {
        let mut w = start;
        let mut seen = Vec::new();
        for (i, &gradient) in gradients.iter().enumerate() {
            let t = i as i32 + 1;
            let l2 = if matches!(rule, Optimizer::AdamW(_)) { 0.0 } else { DECAY };
            let g = gradient + l2 * w;
            seen.push(g);
            let past = || seen.iter().enumerate().map(|(j, g)| (t - 1 - j as i32, *g));
            let mean = |beta: f64, power: i32| -> f64 {
                let sum: f64 = past().map(|(age, g)| beta.powi(age) * g.powi(power)).sum();
                (1.0 - beta) * sum / (1.0 - beta.powi(t))
            };
            match rule {
                Optimizer::Adam(a) => {
                    w -= RATE * mean(a.betas[0], 1) / (mean(a.betas[1], 2).sqrt() + a.epsilon);
                }
                Optimizer::AdamW(a) => {
                    w -= RATE * DECAY * w;
                    w -= RATE * mean(a.betas[0], 1) / (mean(a.betas[1], 2).sqrt() + a.epsilon);
                }
                Optimizer::Adamax(a) => {
                    let largest = past()
                        .map(|(age, g)| a.betas[1].powi(age) * (g.abs() + a.epsilon))
                        .fold(0.0, f64::max);
                    w -= RATE * mean(a.betas[0], 1) / largest;
                }
                Optimizer::Sgd(s) => {
                    let velocity: f64 = past().map(|(age, g)| s.momentum.powi(age) * g).sum();
                    w -= RATE * if s.nesterov { g + s.momentum * velocity } else { velocity };
                }
            }
        }
        w
    }

    fn rules() -> Vec<Optimizer> {
        let (learning_rate, weight_decay) = (RATE, DECAY);
        // A large epsilon, so that its place in the formula shows.
        let epsilon = 0.03;
        let betas = [0.8, 0.95];
        let sgd = Sgd { learning_rate, weight_decay, ..Sgd::default() };
        vec![
            Adam { learning_rate, weight_decay, epsilon, betas }.into(),
            AdamW { learning_rate, weight_decay, epsilon, betas }.into(),
            Adamax { learning_rate, weight_decay, epsilon, betas }.into(),
            sgd.into(),
            Sgd { momentum: 0.7, ..sgd }.into(),
            Sgd { momentum: 0.7, nesterov: true, ..sgd }.into(),
        ]
    }

    #[test]
    fn each_rule_is_that_of_pytorch() {
        let noise = Noise::seed(1);
        let start: Vec<f64> = (0..5).map(|i| noise.normal(i)).collect();
        let gradients: Vec<Vec<f64>> = (0..12)
            .map(|step| (0..5).map(|i| noise.normal(100 + 5 * step + i)).collect())
            .collect();
        for rule in rules() {
            let mut weights = start.clone();
            let mut moments = rule.start(5);
            for gradient in &gradients {
                rule.update(RATE, &mut moments, &mut weights, gradient, &[0..2, 3..5]);
            }
            for i in [0, 1, 3, 4] {
                let series: Vec<f64> = gradients.iter().map(|g| g[i]).collect();
                let expected = oracle(rule, start[i], &series);
                assert!((weights[i] - expected).abs() < 1e-12, "{}: {i}", rule.name());
            }
            assert_eq!(weights[2], start[2], "{} moved a frozen weight", rule.name());
        }
    }

    #[test]
    fn adam_steps_as_that_of_dfdx() {
        use dfdx::optim::{Adam as Theirs, AdamConfig, Optimizer as _, WeightDecay};
        use dfdx::prelude::{AsArray, Backward, Cpu, Rank1, Tensor, TensorFrom, Trace};
        use dfdx::prelude::{MeanTo, ZeroGrads};
        use std::ops::Mul;
        let settings =
            [(Some(WeightDecay::L2(DECAY)), 0), (Some(WeightDecay::Decoupled(DECAY)), 1)];
        for (weight_decay, which) in settings {
            let ours = rules()[which];
            let mut weights = [0.5, -0.25, 2.0];
            let cpu = Cpu::default();
            let mut tensor: Tensor<Rank1<3>, f64, Cpu> = cpu.tensor(weights);
            let config = AdamConfig { lr: RATE, betas: [0.8, 0.95], eps: 0.03, weight_decay };
            let mut theirs = Theirs::new(&tensor, config);
            let mut moments = ours.start(3);
            for step in 0..7 {
                let factor = cpu.tensor([f64::from(step) - 2.5, 1.0, -0.3]);
                let loss = tensor.trace(tensor.alloc_grads()).mul(factor.clone()).mean();
                theirs.update(&mut tensor, &loss.backward()).unwrap();
                let gradient = factor.array().map(|f| f / 3.0);
                ours.update(
                    RATE,
                    &mut moments,
                    &mut weights,
                    &gradient,
                    std::slice::from_ref(&(0..3)),
                );
            }
            for (ours, theirs) in weights.iter().zip(tensor.array()) {
                assert!((ours - theirs).abs() < 1e-14, "{ours} {theirs}");
            }
        }
    }
}
