//! Convolutions to fewer channels than they read: each pixel times all taps, which are then added up
//! around it. The products are those of patches, and what is moved beside them is as narrow as the
//! output.

use super::Layer;
use crate::backend::cpu::elementwise::add;
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::Pass;
use crate::nets::weights::Weights;
use crate::Scalar;

impl Layer {
    /// Numbers of a pixel for all taps of its outputs.
    fn wide(&self) -> usize {
        self.map.outputs * self.map.window.taps()
    }

    /// [`apply`](Self::apply).
    pub(super) fn scatter<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        input: &[E],
        output: &mut [E],
    ) {
        let (window, wide) = (self.map.window, self.wide());
        let turned = self.turned(pass, weights).expect("kept where a layer scatters");
        let weight = Matrix::new(&turned, self.map.inputs, wide);
        let mut taps = pass.take(window.pixels() * wide);
        output.fill(E::zero());
        let images = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.outputs()));
        for (image, out) in images {
            let image = Matrix::new(image, window.pixels(), self.map.inputs);
            multiply(&mut taps, Into::Replace, image, weight);
            window.add_patches(&taps, out);
        }
        pass.give(taps);
    }

    /// [`apply_transposed`](Self::apply_transposed).
    pub(super) fn scatter_transposed<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        output: &[E],
        input: &mut [E],
    ) {
        let (window, wide) = (self.map.window, self.wide());
        let turned = self.turned(pass, weights).expect("kept where a layer scatters");
        let weight = Matrix::new(&turned, self.map.inputs, wide).t();
        let mut taps = pass.take(window.pixels() * wide);
        let images = input.chunks_exact_mut(self.inputs()).zip(output.chunks_exact(self.outputs()));
        for (image, out) in images {
            window.patches(out, &mut taps);
            multiply(image, Into::Replace, Matrix::new(&taps, window.pixels(), wide), weight);
        }
        pass.give(taps);
    }

    /// [`add_weight_gradient`](Self::add_weight_gradient).
    pub(super) fn scatter_weight_gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        weights: &Weights,
        input: &[E],
        gradient: &[E],
    ) {
        let (pixels, taps) = (self.map.window.pixels(), self.map.window.taps());
        let (wide, inputs, outputs) = (self.wide(), self.map.inputs, self.map.outputs);
        let mut patches = pass.take(pixels * wide);
        let mut by_taps = pass.take_zeroed(wide * inputs);
        let images = input.chunks_exact(self.inputs()).zip(gradient.chunks_exact(self.outputs()));
        for (image, by_output) in images {
            self.map.window.patches(by_output, &mut patches);
            let by_output = Matrix::new(&patches, pixels, wide).t();
            multiply(&mut by_taps, Into::Add, by_output, Matrix::new(image, pixels, inputs));
        }
        // The last tap stands first.
        let by_weight = weights.gradient(pass, self.weight);
        for (k, by_tap) in by_taps.chunks_exact(inputs).enumerate() {
            let at = k % outputs * taps + taps - 1 - k / outputs;
            add(&mut by_weight[at * inputs..][..inputs], by_tap);
        }
        pass.give(by_taps);
        pass.give(patches);
    }
}
