//! A masked autoregressive block as kernels for a GPU, data to latent.

use flow_cuda::kernels::affine::Moved;
use flow_cuda::kernels::rows::{gather, Rows};
use flow_cuda::{Op, Slot};

use super::MaskedAutoregressive;
use crate::cuda::{Lowering, Steered};
use crate::transforms::Transform;
use crate::{Result, Scalar};

impl<T: Transform> MaskedAutoregressive<T> {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if backwards {
            return Err(to.unsupported(Some("its sequential direction")));
        }
        let (rows, outputs) = (to.rows(), self.net.width());
        let from = self.net.inputs_from(entries);
        let (width, context) = (from.len(), from.len() - entries.len());
        let from = to.recording().table(from);
        let [input, parameters] = [to.keep(rows * width), to.keep(rows * outputs)];
        to.record(gather(rows, to.x(), to.context(), from, input));
        let [by_parameters, by_input] = match to.keeping() {
            true => [to.scratch(rows * outputs), to.scratch(rows * width)],
            false => [Slot::NONE; 2],
        };
        let net = self.net.record(to, [input, parameters], [by_parameters, by_input]);
        let moved = Moved {
            rows,
            entries: to.table(entries.iter().copied()),
            places: to.table(0..entries.len()),
            inverse: false,
        };
        let parameters = Rows::new(parameters, outputs);
        let mut ops = self.transform.lower(to, Steered { moved, parameters, by_parameters })?;
        if !to.keeping() {
            return Ok(Vec::new());
        }
        ops.extend(net);
        let by_input = Rows::new(by_input, width);
        let each = entries.iter().enumerate().map(|(i, &entry)| (entry, vec![context + i]));
        let pairs: Vec<_> = each.collect();
        ops.push(to.accumulate(to.gradient(), by_input, &pairs));
        if context > 0 {
            let pairs: Vec<_> = (0..context).map(|c| (c, vec![c])).collect();
            ops.push(to.accumulate(to.context_gradient(), by_input, &pairs));
        }
        Ok(ops)
    }
}
