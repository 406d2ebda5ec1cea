//! The Jacobian of a residual net.

use super::ResNet;
use crate::backend::cpu::elementwise::{add, multiply_each, products, unbend};
use crate::engine::{Pass, Scratch};
use crate::nets::{Differentiable, Linearization, Pushed};
use crate::{FlowError, Result, Scalar};

/// One activation as [`Differentiable::linearize`] keeps it: after the net's input, and before the
/// input of its last layer, two for each block.
struct Bend<'a, E> {
    values: &'a [E],
    slopes: &'a [E],
    curvatures: &'a [E],
}

/// Buffers that a block keeps of tangents.
const PUSHED: usize = 4;

impl<'a, E: Scalar> Bend<'a, E> {
    const BUFFERS: usize = 3;

    /// The two of a block.
    fn both(at: &'a Linearization<E>, block: usize) -> [Self; 2] {
        [0, 1].map(|i| {
            let first = 1 + Self::BUFFERS * (2 * block + i);
            let [values, slopes, curvatures] = &at.kept[first..first + Self::BUFFERS] else {
                unreachable!("a slice of that length");
            };
            Self { values, slopes, curvatures }
        })
    }

    /// Carries gradients back through the activation: `by_value` from its value to what it read,
    /// `by_tangent` likewise for tangents, of which it read `raw`.
    fn back(&self, by_value: &mut [E], by_tangent: &mut [E], raw: &[E], width: usize) {
        unbend(by_value, by_tangent, raw, self.slopes, self.curvatures, width);
    }
}

impl<E: Scalar> Differentiable<E> for ResNet {
    fn linearize(
        &self,
        pass: &mut Pass<'_, E>,
        input: &[E],
        output: &mut [E],
        twice: bool,
    ) -> Result<Linearization<E>> {
        self.check_jacobian()?;
        let weights = &self.weights;
        let mut kept = Vec::with_capacity(2 + 2 * Bend::<E>::BUFFERS * self.blocks.len());
        kept.push(pass.take_copy(input));
        let mut sum = pass.take(pass.rows() * self.initial.outputs());
        self.initial.apply_with_bias(pass, weights, input, &mut sum);
        for block in &self.blocks {
            let outer = pass.take_copy(&sum);
            let inner = self.bend(pass, &mut kept, outer, &block.first, twice);
            let branch = self.bend(pass, &mut kept, inner, &block.second, twice);
            add(&mut sum, &branch);
            pass.give(branch);
        }
        self.last.apply_with_bias(pass, weights, &sum, output);
        kept.push(sum);
        Ok(Linearization { kept })
    }

    #[cfg(feature = "cuda")]
    fn lower_at(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        places: [flow_cuda::Slot; 2],
    ) -> Result<crate::nets::Linearized> {
        self.check_jacobian()?;
        Ok(self.record_at(to, places))
    }

    #[cfg(feature = "cuda")]
    fn lower_push(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &crate::nets::Linearized,
        count: usize,
        places: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        self.push_ops(to, at, count, places)
    }

    #[cfg(feature = "cuda")]
    fn lower_pull(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &crate::nets::Linearized,
        count: usize,
        places: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        self.pull_ops(to, at, count, places)
    }

    #[cfg(feature = "cuda")]
    fn lower_gradient(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &crate::nets::Linearized,
        places: [flow_cuda::Slot; 2],
        pairs: Option<crate::nets::Pairs>,
    ) -> Vec<flow_cuda::Op> {
        self.gradient_ops(to, at, places, pairs)
    }

    fn push(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) {
        let (weights, width) = (&self.weights, self.initial.outputs());
        let count = tangents.len() / self.initial.inputs();
        let mut sum = pass.take(count * width);
        self.initial.apply(pass, weights, tangents, &mut sum);
        let mut inner = pass.take(sum.len());
        for (i, block) in self.blocks.iter().enumerate() {
            let [first, second] = Bend::both(at, i);
            let mut outer = pass.take_copy(&sum);
            multiply_each(&mut outer, first.slopes, width);
            block.first.apply(pass, weights, &outer, &mut inner);
            multiply_each(&mut inner, second.slopes, width);
            block.second.apply(pass, weights, &inner, &mut outer);
            add(&mut sum, &outer);
            pass.give(outer);
        }
        self.last.apply(pass, weights, &sum, output);
        pass.give(inner);
        pass.give(sum);
    }

    /// Keeps what the first layer read, for each block what its first activation read, what the first
    /// layer behind it read and made, and what the second one read; and what the last layer read.
    fn push_keeping(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) -> Pushed<E> {
        let (weights, width) = (&self.weights, self.initial.outputs());
        let count = tangents.len() / self.initial.inputs();
        let mut kept = Vec::with_capacity(2 + PUSHED * self.blocks.len());
        kept.push(pass.take_copy(tangents));
        let mut sum = pass.take(count * width);
        self.initial.apply(pass, weights, tangents, &mut sum);
        for (i, block) in self.blocks.iter().enumerate() {
            let [first, second] = Bend::both(at, i);
            let mut outer = pass.take(sum.len());
            products(&mut outer, &sum, first.slopes, width);
            let mut raw = pass.take(sum.len());
            block.first.apply(pass, weights, &outer, &mut raw);
            let mut inner = pass.take(sum.len());
            products(&mut inner, &raw, second.slopes, width);
            let mut branch = pass.take(sum.len());
            block.second.apply(pass, weights, &inner, &mut branch);
            add(&mut branch, &sum);
            kept.extend([std::mem::replace(&mut sum, branch), outer, raw, inner]);
        }
        self.last.apply(pass, weights, &sum, output);
        kept.push(sum);
        Pushed { kept }
    }

    fn pull(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        cotangents: &[E],
        input: &mut [E],
    ) {
        let (weights, width) = (&self.weights, self.initial.outputs());
        let count = cotangents.len() / self.last.outputs();
        let mut sum = pass.take(count * width);
        self.last.apply_transposed(pass, weights, cotangents, &mut sum);
        let (mut inner, mut outer) = (pass.take(sum.len()), pass.take(sum.len()));
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let [first, second] = Bend::both(at, i);
            block.second.apply_transposed(pass, weights, &sum, &mut inner);
            multiply_each(&mut inner, second.slopes, width);
            block.first.apply_transposed(pass, weights, &inner, &mut outer);
            multiply_each(&mut outer, first.slopes, width);
            add(&mut sum, &outer);
        }
        self.initial.apply_transposed(pass, weights, &sum, input);
        [inner, outer, sum].into_iter().for_each(|buffer| pass.give(buffer));
    }

    fn gradient(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: Pushed<E>,
        output_gradient: &[E],
        cotangents: &[E],
        input_gradient: &mut [E],
    ) {
        // A layer's part in ⟨w, J v⟩ is linear in both.
        let (weights, width) = (&self.weights, self.initial.outputs());
        let mut pushed = tangents.kept;
        let mut pop = || pushed.pop().expect("what was kept of the tangents");
        let values = at.kept.last().expect("the input of the last layer");
        self.last.add_weight_gradient(pass, weights, values, output_gradient);
        self.last.add_bias_gradient(pass, output_gradient);
        let mut by_tangent = pop();
        self.last.add_weight_gradient(pass, weights, &by_tangent, cotangents);
        self.last.apply_transposed(pass, weights, cotangents, &mut by_tangent);
        let mut by_value = pass.take(values.len());
        self.last.apply_transposed(pass, weights, output_gradient, &mut by_value);
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let (mut value, mut tangent) = (pass.take_copy(&by_value), pass.take_copy(&by_tangent));
            let layers = [&block.first, &block.second].into_iter().zip(Bend::both(at, i));
            for (layer, bend) in layers.rev() {
                let (read, raw) = (pop(), pop());
                layer.add_weight_gradient(pass, weights, bend.values, &value);
                layer.add_bias_gradient(pass, &value);
                layer.add_weight_gradient(pass, weights, &read, &tangent);
                let (mut below, mut tangent_below) = (pass.take(value.len()), read);
                layer.apply_transposed(pass, weights, &value, &mut below);
                layer.apply_transposed(pass, weights, &tangent, &mut tangent_below);
                bend.back(&mut below, &mut tangent_below, &raw, width);
                pass.give(raw);
                pass.give(std::mem::replace(&mut value, below));
                pass.give(std::mem::replace(&mut tangent, tangent_below));
            }
            add(&mut by_value, &value);
            add(&mut by_tangent, &tangent);
            pass.give(value);
            pass.give(tangent);
        }
        self.initial.add_weight_gradient(pass, weights, &at.kept[0], &by_value);
        self.initial.add_bias_gradient(pass, &by_value);
        let first = pop();
        self.initial.add_weight_gradient(pass, weights, &first, &by_tangent);
        self.initial.apply_transposed(pass, weights, &by_value, input_gradient);
        [first, by_value, by_tangent].into_iter().for_each(|buffer| pass.give(buffer));
    }
}

impl ResNet {
    /// An error where there is attention, whose Jacobian is not available.
    fn check_jacobian(&self) -> Result<()> {
        if self.blocks.iter().any(|block| block.attention.is_some()) {
            let expected = "false in a block that uses the Jacobian of its net";
            return Err(FlowError::option("attention", true, expected));
        }
        Ok(())
    }

    /// An activation, of which everything is kept, and the layer behind it.
    fn bend<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        kept: &mut Vec<Scratch<E>>,
        mut values: Scratch<E>,
        layer: &super::Layer,
        twice: bool,
    ) -> Scratch<E> {
        let mut slopes = pass.take(values.len());
        let mut curvatures = pass.take(if twice { values.len() } else { 0 });
        self.activation.apply(&mut values, &[], &mut slopes, &mut curvatures);
        let mut above = pass.take(values.len());
        layer.apply_with_bias(pass, &self.weights, &values, &mut above);
        kept.extend([values, slopes, curvatures]);
        above
    }
}
