//! Steps of optimisers on a run of parameters.

use super::rows::{add_column_products, fill, Rows, Vectors};
use super::{apart, holds, op, OPTIMIZER};
use crate::{Kernel, Op, Recording, Slot};

const CLIP_FACTOR: Kernel = apart(OPTIMIZER, "clip_factor");
const ADAM: Kernel = apart(OPTIMIZER, "adam");

/// What stays the same in all steps of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the first and second moment.
    pub betas: [f64; 2],
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Multiple of the weights that is added to the gradient.
    pub weight_decay: f64,
}

/// Numbers of a step that [`adam`] reads from memory.
pub const STEP: usize = 3;

impl Adam {
    /// The numbers of update `step`, counted from 1, at that rate; a weight is multiplied by `keep`
    /// first.
    pub fn step(&self, rate: f64, step: u64, keep: f64) -> [f32; STEP] {
        let [first, second] = self.betas.map(|beta| 1.0 - beta.powf(step as f64));
        [rate / first, second.sqrt(), keep].map(|v| v as f32)
    }
}

/// Moves parameters by their gradient, which `clip` may shorten.
pub fn adam(
    adam: Adam,
    parameters: Slot,
    gradient: Slot,
    moments: [Slot; 2],
    step: Slot,
    clip: Option<Slot>,
) -> Op {
    let count = parameters.len;
    holds("the gradient", gradient, count);
    moments.iter().for_each(|&moment| holds("a moment", moment, count));
    holds("the numbers of a step", step, STEP);
    let [first, second] = adam.betas;
    op(ADAM, count)
        .slots([parameters, gradient, moments[0], moments[1], step, clip.unwrap_or(Slot::NONE)])
        .sizes([count, usize::from(clip.is_some())])
        .numbers([1.0 - first, second, 1.0 - second, adam.epsilon, adam.weight_decay])
}

/// Writes to `factor` by how much a gradient must be shortened so that its Euclidean norm over all
/// `parts` is `limit` at most.
pub fn clip_factor(recording: &mut Recording, factor: Slot, parts: &[Slot], limit: f64) -> Vec<Op> {
    let square = recording.scratch(1);
    let mut ops = vec![fill(square, 0.0)];
    for &part in parts {
        // As vectors of one number.
        let vectors = Vectors { count: part.len, features: 1, pixels: 1 };
        let left = Rows::new(part, 1);
        ops.extend(add_column_products(recording, square, vectors, left, None, Some(part), 1.0));
    }
    ops.push(op(CLIP_FACTOR, 1).slots([factor, square]).numbers([limit]));
    ops
}
