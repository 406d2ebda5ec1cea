//! Bounded factors as kernels for a GPU.

use flow_cuda::kernels::gates::Hats;
use flow_cuda::kernels::rows::{add_column_products, Rows, Vectors};
use flow_cuda::{Op, Slot};

use super::{Conditioner, MexicanHat};
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl<N> MexicanHat<N> {
    /// Records the net, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        [input, output]: [Slot; 2],
        [by_output, by_input]: [Slot; 2],
    ) -> Result<Vec<Op>>
    where
        N: Conditioner<E>,
    {
        let net = self.net.lower(to, [input, output], [by_output, by_input])?;
        let [w, b] = [&self.w, &self.b].map(|slot| to.parameter(slot));
        let hats = Hats { w, b, each: self.hats };
        let count = output.len / 2;
        let kept = to.keeping().then(|| to.keep(count));
        to.record(hats.mean(output, kept));
        let Some(kept) = kept else { return Ok(Vec::new()) };
        let [by_b, by_w] = [0; 2].map(|_| to.scratch(count * self.hats));
        let mut ops = vec![hats.product(by_output, kept, [by_b, by_w])];
        // As many vectors as there are pixels in all rows.
        let vectors = Vectors { count: count * self.hats / w.len, features: w.len, pixels: 1 };
        for (slot, by) in [(&self.b, by_b), (&self.w, by_w)] {
            let (into, by) = (to.parameter_gradient(slot), Rows::new(by, w.len));
            ops.extend(add_column_products(to.recording(), into, vectors, by, None, None, 1.0));
        }
        ops.extend(net);
        Ok(ops)
    }
}
