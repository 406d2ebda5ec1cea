//! How the net's norm on everything changes with its weights.

use super::ResNet;
use crate::engine::State;
use crate::lipschitz::{norm, Slopes};
use crate::nets::layer::Layer;
use crate::Scalar;

impl ResNet {
    /// The norm is `‖W_first‖·Π (1 + gᵢ)·‖W_last‖` with `gᵢ = L²·‖W₂‖·‖W₁‖` for the two layers of a
    /// block and the activation's constant L, so that its logarithm changes with that of a layer of
    /// a block by `gᵢ/(1 + gᵢ)`. False with attention, which has no bound.
    pub(super) fn add_slopes<E: Scalar>(
        &self,
        state: &State<E>,
        beside: usize,
        slopes: &mut Slopes<E>,
        by_log: impl Fn(f64) -> f64,
    ) -> bool {
        if self.blocks.iter().any(|block| block.attention.is_some()) {
            return false;
        }
        let of = |layer: &Layer, beside: usize| {
            let (weight, map) = layer.map_of_features(state, &self.weights, beside);
            norm::norm_and_direction(&weight, map)
        };
        let (first, last) = (of(&self.initial, beside), of(&self.last, 0));
        let mut whole = first.0 * last.0;
        let mut parts = vec![(&self.initial, 1.0, first.1), (&self.last, 1.0, last.1)];
        for block in &self.blocks {
            let (inner, outer) = (of(&block.first, 0), of(&block.second, 0));
            let gain = self.activation.lipschitz().powi(2) * inner.0 * outer.0;
            whole *= 1.0 + gain;
            let share = gain / (1.0 + gain);
            parts.extend([(&block.first, share, inner.1), (&block.second, share, outer.1)]);
        }
        // At zero, where it has a kink, nothing pulls.
        let by = if whole > 0.0 { by_log(whole) } else { 0.0 };
        for (layer, share, direction) in
            parts.into_iter().filter(|&(_, share, _)| by * share != 0.0)
        {
            let gradient = self.weights.slopes(slopes, layer.weight());
            gradient.iter_mut().zip(direction).for_each(|(g, v)| *g += E::of(by * share * v));
        }
        true
    }
}
