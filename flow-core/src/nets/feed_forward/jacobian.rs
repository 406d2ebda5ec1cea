//! The Jacobian of a feed-forward net.

use super::FeedForward;
use crate::backend::cpu::elementwise::{multiply_each, products, unbend};
use crate::engine::Pass;
use crate::nets::{Differentiable, Linearization, Pushed};
#[cfg(feature = "cuda")]
use crate::nets::{Linearized, Pairs};
use crate::{Result, Scalar};

/// What [`Differentiable::linearize`] keeps of a net of this kind: for each layer its input, and
/// for each activation its slopes and curvatures, which are empty where nobody will ask for them.
mod kept {
    pub(super) const EACH: usize = 3;
    pub(super) const INPUT: usize = 0;
    pub(super) const SLOPE: usize = 1;
    pub(super) const CURVATURE: usize = 2;
}

impl<E: Scalar> Differentiable<E> for FeedForward {
    fn linearize(
        &self,
        pass: &mut Pass<'_, E>,
        input: &[E],
        output: &mut [E],
        twice: bool,
    ) -> Result<Linearization<E>> {
        let (last, hidden) = self.split();
        let mut kept = Vec::with_capacity(kept::EACH * hidden.len() + 1);
        let mut below = pass.take_copy(input);
        for layer in hidden {
            let mut above = pass.take(pass.rows() * layer.outputs());
            layer.apply(pass, &self.weights, &below, &mut above);
            let mut slopes = pass.take(above.len());
            let mut curvatures = pass.take(if twice { above.len() } else { 0 });
            let bias = layer.bias(pass);
            self.activation.apply(&mut above, bias, &mut slopes, &mut curvatures);
            kept.extend([below, slopes, curvatures]);
            below = above;
        }
        last.apply_with_bias(pass, &self.weights, &below, output);
        kept.push(below);
        Ok(Linearization { kept })
    }

    #[cfg(feature = "cuda")]
    fn lower_at(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        places: [flow_cuda::Slot; 2],
    ) -> Result<Linearized> {
        Ok(self.record_at(to, places))
    }

    #[cfg(feature = "cuda")]
    fn lower_push(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        count: usize,
        places: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        self.push_ops(to, at, count, places)
    }

    #[cfg(feature = "cuda")]
    fn lower_pull(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        count: usize,
        places: [flow_cuda::Slot; 2],
    ) -> Vec<flow_cuda::Op> {
        self.pull_ops(to, at, count, places)
    }

    #[cfg(feature = "cuda")]
    fn lower_gradient(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        at: &Linearized,
        places: [flow_cuda::Slot; 2],
        pairs: Option<Pairs>,
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
        let (last, hidden) = self.split();
        let count = tangents.len() / self.layers[0].inputs();
        let mut below = pass.take_copy(tangents);
        for (i, layer) in hidden.iter().enumerate() {
            let mut above = pass.take(count * layer.outputs());
            layer.apply(pass, &self.weights, &below, &mut above);
            multiply_each(&mut above, &at.kept[kept::EACH * i + kept::SLOPE], layer.outputs());
            pass.give(std::mem::replace(&mut below, above));
        }
        last.apply(pass, &self.weights, &below, output);
        pass.give(below);
    }

    /// Keeps what the first layer read, and for each activation what came before it and after.
    fn push_keeping(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) -> Pushed<E> {
        let (last, hidden) = self.split();
        let count = tangents.len() / self.layers[0].inputs();
        let mut kept = Vec::with_capacity(2 * hidden.len() + 1);
        let mut below = pass.take_copy(tangents);
        for (i, layer) in hidden.iter().enumerate() {
            let mut raw = pass.take(count * layer.outputs());
            layer.apply(pass, &self.weights, &below, &mut raw);
            let mut above = pass.take(raw.len());
            let slopes = &at.kept[kept::EACH * i + kept::SLOPE];
            products(&mut above, &raw, slopes, layer.outputs());
            kept.extend([std::mem::replace(&mut below, above), raw]);
        }
        last.apply(pass, &self.weights, &below, output);
        kept.push(below);
        Pushed { kept }
    }

    fn pull(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        cotangents: &[E],
        input: &mut [E],
    ) {
        let count = cotangents.len() / self.split().0.outputs();
        let mut above = pass.take_copy(cotangents);
        for (i, layer) in self.layers.iter().enumerate().skip(1).rev() {
            let mut below = pass.take(count * layer.inputs());
            layer.apply_transposed(pass, &self.weights, &above, &mut below);
            multiply_each(&mut below, &at.kept[kept::EACH * (i - 1) + kept::SLOPE], layer.inputs());
            pass.give(std::mem::replace(&mut above, below));
        }
        self.layers[0].apply_transposed(pass, &self.weights, &above, input);
        pass.give(above);
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
        // A layer's part in ⟨w, J v⟩ is linear in both, an activation's is φ'(a)·ȧ, whose gradient
        // by a is φ''(a)·ȧ.
        let mut pushed = tangents.kept;
        let mut by_value = pass.take_copy(output_gradient);
        let mut by_tangent = pass.take_copy(cotangents);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let input = &at.kept[kept::EACH * i + kept::INPUT];
            layer.add_weight_gradient(pass, &self.weights, input, &by_value);
            layer.add_bias_gradient(pass, &by_value);
            let tangent = pushed.pop().expect("one for each layer");
            layer.add_weight_gradient(pass, &self.weights, &tangent, &by_tangent);
            if i == 0 {
                layer.apply_transposed(pass, &self.weights, &by_value, input_gradient);
                pass.give(tangent);
                break;
            }
            let mut below = pass.take(input.len());
            layer.apply_transposed(pass, &self.weights, &by_value, &mut below);
            let mut tangent_below = tangent;
            layer.apply_transposed(pass, &self.weights, &by_tangent, &mut tangent_below);
            let raw = pushed.pop().expect("one for each activation");
            let (slopes, curvatures) = (
                &at.kept[kept::EACH * (i - 1) + kept::SLOPE],
                &at.kept[kept::EACH * (i - 1) + kept::CURVATURE],
            );
            unbend(&mut below, &mut tangent_below, &raw, slopes, curvatures, layer.inputs());
            pass.give(raw);
            pass.give(std::mem::replace(&mut by_value, below));
            pass.give(std::mem::replace(&mut by_tangent, tangent_below));
        }
        pass.give(by_value);
        pass.give(by_tangent);
    }
}
