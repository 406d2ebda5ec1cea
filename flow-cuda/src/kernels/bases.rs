//! Distributions of latents other than the normal one. Rows of `z` are dense.

use super::{apart, holds, op, BASES};
use crate::{Kernel, Op, Slot};

const UNIFORM_LOG_PROB: Kernel = apart(BASES, "uniform_log_prob");
const LOGISTIC_LOG_PROB: Kernel = apart(BASES, "logistic_log_prob");
const LOGISTIC_PRODUCT: Kernel = apart(BASES, "logistic_product");
const MIXTURE_JOINT: Kernel = apart(BASES, "mixture_joint");
const MIXTURE_LOG_PROB: Kernel = apart(BASES, "mixture_log_prob");
const MIXTURE_PRODUCT: Kernel = apart(BASES, "mixture_product");
const MIXTURE_PARAMETERS: Kernel = apart(BASES, "mixture_parameters");
const MIXTURE_LOGITS: Kernel = apart(BASES, "mixture_logits");

/// `log_prob[row]` becomes −∞ where a number of the row lies outside of `[0, 1]`.
pub fn uniform_log_prob(log_prob: Slot, z: Slot) -> Op {
    let rows = log_prob.len;
    op(UNIFORM_LOG_PROB, rows).slots([log_prob, z]).sizes([rows, z.len / rows])
}

/// Adds the log-density of standard logistics.
pub fn logistic_log_prob(log_prob: Slot, z: Slot) -> Op {
    let rows = log_prob.len;
    op(LOGISTIC_LOG_PROB, rows).slots([log_prob, z]).sizes([rows, z.len / rows])
}

/// Its product with `weight[row]`.
pub fn logistic_product(gradient: Slot, weight: Slot, z: Slot) -> Op {
    holds("z", z, gradient.len);
    let width = gradient.len / weight.len;
    op(LOGISTIC_PRODUCT, gradient.len).slots([gradient, weight, z]).sizes([gradient.len, width])
}

/// A mixture of diagonal Gaussians.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// The logarithms of their weights, up to a constant: as many as there are components.
    pub logits: Slot,
    /// Their means, component after component.
    pub means: Slot,
    /// The logarithms of their scales.
    pub log_scales: Slot,
}

impl Mixture {
    fn check(&self, width: usize) -> usize {
        let count = self.logits.len;
        holds("the means", self.means, count * width);
        holds("the log-scales", self.log_scales, count * width);
        count
    }

    /// Adds its log-density; `shares` gets each component's part in it, row after row.
    pub fn log_prob(self, log_prob: Slot, z: Slot, shares: Slot) -> [Op; 2] {
        let (rows, width) = (log_prob.len, z.len / log_prob.len);
        let count = self.check(width);
        holds("the shares", shares, rows * count);
        let constant = 0.5 * width as f64 * std::f64::consts::TAU.ln();
        let Self { logits, means, log_scales } = self;
        [
            op(MIXTURE_JOINT, rows * count)
                .slots([shares, z, logits, means, log_scales])
                .sizes([rows, count, width])
                .numbers([constant]),
            op(MIXTURE_LOG_PROB, rows).slots([log_prob, shares, logits]).sizes([rows, count]),
        ]
    }

    /// The product with `weight[row]`: adds the gradient by z, and those by the logits, the means and
    /// the log-scales to `by`.
    pub fn product(
        self,
        gradient: Slot,
        weight: Slot,
        z: Slot,
        shares: Slot,
        by: [Slot; 3],
    ) -> [Op; 3] {
        let (rows, width) = (weight.len, z.len / weight.len);
        let count = self.check(width);
        holds("the shares", shares, rows * count);
        holds("the gradient", gradient, z.len);
        let [by_logits, by_means, by_scales] = by;
        holds("the gradient by logits", by_logits, count);
        holds("the gradient by means", by_means, count * width);
        holds("the gradient by log-scales", by_scales, count * width);
        let Self { logits, means, log_scales } = self;
        [
            op(MIXTURE_PRODUCT, z.len)
                .slots([gradient, weight, z, shares, means, log_scales])
                .sizes([z.len, width, count]),
            op(MIXTURE_PARAMETERS, count * width)
                .slots([Slot::NONE, weight, z, shares, means, log_scales, by_means, by_scales])
                .sizes([rows, width, count]),
            op(MIXTURE_LOGITS, count)
                .slots([by_logits, weight, shares, logits])
                .sizes([rows, count]),
        ]
    }
}
