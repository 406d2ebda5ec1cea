//! Fixed points of contractions as kernels for a GPU.

use flow_cuda::kernels::contraction::{
    contract, count_open, memory, Contraction as Kernel, Iteration, KNOWN, STATUS,
};
use flow_cuda::kernels::rows::{fill, scaled_copy};
use flow_cuda::{Op, Slot};

use super::{Contraction, Stuck, FLOOR, SLACK, SPARE};
use crate::cuda::{Failure, Lowering};
use crate::{FlowError, Result, Scalar};

impl Contraction {
    /// Solves `x + g(x) = z` for each row of `x`, which holds z before; `g(to, x, out)` makes what
    /// evaluates the map, and `stuck` the error of a row whose answer is not found.
    pub(in crate::blocks) fn ops<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        x: Slot,
        g: impl FnOnce(&mut Lowering<E>, [Slot; 2]) -> Result<Vec<Op>>,
        stuck: impl Fn(Stuck) -> FlowError + Send + Sync + 'static,
    ) -> Result<Vec<Op>> {
        let (rows, rest) = (to.rows(), 1.0 - self.lipschitz);
        let kernel = Kernel {
            coefficient: self.lipschitz,
            tolerance: self.tolerance,
            unit: self.unit,
            floor: FLOOR * E::epsilon().as_f64() / rest,
            spare: SPARE / rest,
            slack: SLACK as f64,
        };
        let at = Iteration {
            x,
            g: to.scratch(x.len),
            z: to.scratch(x.len),
            known: to.scratch(rows * KNOWN),
            memory: to.scratch(memory(rows, x.len / rows)),
        };
        let status = to.recording().frame(STATUS);
        let mut turn = g(to, [x, at.g])?;
        turn.push(contract(kernel, at, rows));
        turn.push(count_open(status, at.known, rows));
        let mut ops = vec![scaled_copy(at.z, x, 1.0), fill(at.known, 0.0)];
        ops.extend(to.repeat(turn, status, move |failure| {
            let Failure { row, place: iterations, value: radius } = failure;
            stuck(Stuck { row, iterations, radius })
        }));
        Ok(ops)
    }
}
