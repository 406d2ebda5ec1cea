//! Channel attention as kernels for a GPU.

use flow_cuda::kernels::gates::Images;
use flow_cuda::kernels::product::Epilogue;
use flow_cuda::{Op, Slot};

use super::Attention;
use crate::cuda::Lowering;
use crate::nets::weights::Weights;
use crate::Scalar;

/// What the product of attention needs.
#[derive(Clone, Copy, Debug)]
pub(in crate::nets) struct Gated {
    means: Slot,
    between: Slot,
    slopes: Option<Slot>,
    gates: Slot,
    /// The images as they came.
    values: Option<Slot>,
}

impl Attention {
    fn images<E: Scalar>(&self, to: &Lowering<E>) -> Images {
        let channels = self.squeeze.inputs();
        Images { count: to.rows(), channels, pixels: self.image / channels }
    }

    /// Records the gates of the images in `values`.
    pub(in crate::nets) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        values: Slot,
    ) -> Gated {
        let images = self.images(to);
        let [means, gates] = [0; 2].map(|_| to.keep(images.count * images.channels));
        let between = to.keep(images.count * self.squeeze.outputs());
        let slopes = to.keeping().then(|| to.keep(between.len));
        let kept = to.keeping().then(|| to.keep(values.len));
        to.record(images.means(means, values));
        let function = Some(self.activation.lowered());
        let bent = Epilogue { function, slopes, ..Epilogue::default() };
        self.squeeze.record(to, weights, means, between, bent);
        self.excite.record(to, weights, between, gates, Epilogue::default());
        to.record(images.gate(values, gates, kept));
        Gated { means, between, slopes, gates, values: kept }
    }

    /// The product, which changes the gradient by the images in place.
    pub(in crate::nets) fn product<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        weights: &Weights,
        gated: Gated,
        gradient: Slot,
    ) -> Vec<Op> {
        let Gated { means, between, slopes, gates, values } = gated;
        let Some(values) = values else { return Vec::new() };
        let mark = to.recording().mark();
        let images = self.images(to);
        let [by_gates, by_means] = [0; 2].map(|_| to.scratch(means.len));
        let by_between = to.scratch(between.len);
        let mut ops = vec![images.gate_product(gradient, gates, values, by_gates)];
        ops.extend(self.excite.product(to, weights, between, by_gates, by_between, slopes));
        ops.extend(self.squeeze.product(to, weights, means, by_between, by_means, None));
        ops.push(images.spread(gradient, by_means));
        to.recording().reuse(mark);
        ops
    }
}
