//! What the net can give on a box.

use super::ResNet;
use crate::engine::State;
use crate::lipschitz::{norm, up, Enclosure, Interval};
use crate::Scalar;

impl ResNet {
    /// All outputs on a box, layer by layer. The Jacobian of a block is `I + W₂·D₂·W₁·D₁` with the
    /// activations' slopes D, so that its norm is at most `1 + ‖W₂‖·‖D₂·W₁‖·‖D₁‖`.
    pub(super) fn on_box<E: Scalar>(
        &self,
        state: &State<E>,
        input: &[Interval],
        beside: usize,
    ) -> Enclosure {
        let weights = &self.weights;
        let (weight, map) = self.initial.map_of_features(state, weights, beside);
        let first = norm::scaled(&weight, map, |_| 1.0);
        let mut before = up(first * self.initial.growth::<E>(weights));
        let mut sum = self.initial.enclose(state, weights, input);
        for block in &self.blocks {
            let (outer, steepest) = self.activated(&sum);
            let steepest = steepest.into_iter().fold(0.0, f64::max);
            let (inner, slopes) = self.activated(&block.first.enclose(state, weights, &outer));
            let mut branch = block.second.enclose(state, weights, &inner);
            let bent = up(block.first.norm(state, weights, |row| slopes[row]) * steepest);
            let mut gain = up(block.second.norm(state, weights, |_| 1.0) * bent);
            if let Some(attention) = &block.attention {
                gain = attention.enclose(state, weights, &mut branch, gain);
            }
            sum.iter_mut().zip(branch).for_each(|(sum, branch)| *sum = *sum + branch);
            before = up(before * up(1.0 + gain));
        }
        let (weight, map) = self.last.linear_map(state, weights);
        before = up(before * self.last.growth::<E>(weights));
        Enclosure::layered(self.last.enclose(state, weights, &sum), before, weight, map)
    }

    /// The activation on the channels of an image, with the largest slope of each channel.
    fn activated(&self, image: &[Interval]) -> (Vec<Interval>, Vec<f64>) {
        let mut slopes = vec![0.0_f64; self.hidden];
        let each = image.iter().enumerate().map(|(i, &v)| {
            let (value, slope) = self.activation.enclose(v);
            slopes[i % self.hidden] = slopes[i % self.hidden].max(slope);
            value
        });
        (each.collect(), slopes)
    }
}
