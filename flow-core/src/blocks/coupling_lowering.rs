//! A coupling as kernels for a GPU.

use flow_cuda::kernels::affine::Moved;
use flow_cuda::kernels::rows::{fill, gather, Rows};
use flow_cuda::Op;

use super::Coupling;
use crate::cuda::{Lowering, Steered};
use crate::nets::Conditioner;
use crate::transforms::Transform;
use crate::{Result, Scalar};

impl<N, T: Transform> Coupling<N, T> {
    /// Records what depends on the net's weights alone.
    pub(super) fn record_weights<E: Scalar>(&self, to: &mut Lowering<E>)
    where
        N: Conditioner<E>,
    {
        self.net.lower_weights(to);
    }

    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &[usize],
        backwards: bool,
    ) -> Result<Vec<Op>>
    where
        N: Conditioner<E>,
    {
        let (rows, parts) = (to.rows(), &self.parts);
        let (each, pixels) = (parts.read + self.context, self.shape.pixels());
        let width = each * pixels;
        // What the net reads: zeros where a checkerboard hides a pixel.
        let mut from = vec![-1; width];
        for &(place, entry) in &parts.kept {
            from[place] = entries[entry] as isize;
        }
        for pixel in 0..pixels {
            for c in 0..self.context {
                from[pixel * each + parts.read + c] = -2 - c as isize;
            }
        }
        let from = to.recording().table(from);
        let input = to.keep(rows * width);
        to.record(gather(rows, to.x(), to.context(), from, input));

        let outputs = self.net.outputs();
        let parameters = to.keep(rows * outputs);
        let [by_parameters, by_input] = match to.keeping() {
            true => [to.scratch(rows * outputs), to.scratch(rows * width)],
            false => [flow_cuda::Slot::NONE; 2],
        };
        let net = self.net.lower(to, [input, parameters], [by_parameters, by_input])?;
        let moved = Moved {
            rows,
            entries: to.table(parts.moved.iter().map(|&(_, entry)| entries[entry])),
            places: to.table(parts.moved.iter().map(|&(place, _)| place)),
            inverse: backwards,
            step: 1,
        };
        let parameters = Rows::new(parameters, outputs);
        let bent = self.transform.lower(
            to,
            Steered { moved, x: to.x(), gradient: to.gradient(), parameters, by_parameters },
        )?;
        if !to.keeping() {
            return Ok(Vec::new());
        }

        let mut ops = Vec::new();
        if !self.reads_all() {
            ops.push(fill(by_parameters, 0.0));
        }
        ops.extend(bent);
        ops.extend(net);
        let by_input = Rows::new(by_input, width);
        let each_kept = parts.kept.iter().map(|&(place, entry)| (entries[entry], vec![place]));
        let pairs: Vec<_> = each_kept.collect();
        ops.push(to.accumulate(to.gradient(), by_input, &pairs));
        if self.context > 0 {
            let places = |c| (0..pixels).map(|pixel| pixel * each + parts.read + c).collect();
            let pairs: Vec<_> = (0..self.context).map(|c| (c, places(c))).collect();
            ops.push(to.accumulate(to.context_gradient(), by_input, &pairs));
        }
        Ok(ops)
    }
}
