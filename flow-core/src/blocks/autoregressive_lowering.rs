//! A masked autoregressive block as kernels for a GPU.

use flow_cuda::kernels::affine::Moved;
use flow_cuda::kernels::rows::{add_units, fill, gather, gather_units, scatter_units, Rows};
use flow_cuda::{Op, Slot};

use super::MaskedAutoregressive;
use crate::cuda::{Lowering, Steered};
use crate::transforms::Transform;
use crate::{Result, Scalar};

impl<T: Transform> MaskedAutoregressive<T> {
    /// Records what depends on the net's weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>) {
        self.net.record_weights(to);
    }

    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        if backwards {
            return self.record_sequence(to, entries);
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
            step: 1,
        };
        let parameters = Rows::new(parameters, outputs);
        let mut ops = self.transform.lower(
            to,
            Steered { moved, x: to.x(), gradient: to.gradient(), parameters, by_parameters },
        )?;
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

    /// Records latent to data, feature by feature, and its product.
    fn record_sequence<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
    ) -> Result<Vec<Op>> {
        let (rows, net) = (to.rows(), &self.net);
        let at = net.record_start(to);
        let from = net.inputs_from(entries);
        let context = from.len() - entries.len();
        let from = to.recording().table(from);
        let order = to.table(entries.iter().copied());
        to.record(gather_units(rows, to.x(), to.context(), from, at.units));
        // Unit by unit, a row's numbers stand `rows` apart.
        let steered = |to: &mut Lowering<E>, feature: usize, by: Slot| {
            let by_parameters = match to.keeping() {
                true => net.by_parameters(&at, by),
                false => Slot::NONE,
            };
            let moved = Moved {
                rows,
                entries: to.table([(net.first_feature() + feature) * rows]),
                places: to.table([feature * rows]),
                inverse: true,
                step: rows,
            };
            Steered {
                moved,
                x: Rows::new(at.units, 1),
                gradient: Rows::new(by, 1),
                parameters: Rows::new(at.parameters, 1),
                by_parameters,
            }
        };
        let by = if to.keeping() { net.by_units(to) } else { Slot::NONE };
        let mut products = Vec::new();
        for feature in 0..self.features {
            net.record_open(to, &at, feature);
            let steered = steered(to, feature, by);
            products.push(self.transform.lower(to, steered)?);
        }
        net.record_open(to, &at, self.features);
        let features = at.units.part(context * rows, entries.len() * rows);
        to.record(scatter_units(rows, to.x(), order, features));
        if !to.keeping() {
            return Ok(Vec::new());
        }
        let none = Rows::new(Slot::NONE, 0);
        let by_features = by.part(context * rows, entries.len() * rows);
        let mut ops = vec![
            fill(by.part(0, context * rows), 0.0),
            gather_units(rows, to.gradient(), none, order, by_features),
        ];
        ops.extend(net.record_close(to, &at, by, self.features));
        for (feature, product) in products.into_iter().enumerate().rev() {
            ops.extend(product);
            ops.extend(net.record_close(to, &at, by, feature));
        }
        ops.extend(net.record_gradients(to, &at, by));
        ops.push(scatter_units(rows, to.gradient(), order, by_features));
        if context > 0 {
            let by_context = by.part(0, context * rows);
            ops.push(add_units(rows, to.context_gradient(), by_context));
        }
        Ok(ops)
    }
}
