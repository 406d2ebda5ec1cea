//! A permutation on a GPU: numbers stay where they are, and blocks after it read elsewhere.

use flow_cuda::Op;

use super::Order;
use super::Permute;
use crate::blocks::permutation::index;
use crate::cuda::Lowering;
use crate::{Result, Scalar};

impl Permute {
    /// Records the block, and returns its product.
    pub(super) fn record<E: Scalar>(
        &self,
        to: &mut Lowering<E>,
        entries: &mut [usize],
        backwards: bool,
    ) -> Result<Vec<Op>> {
        let state = to.state();
        let before = entries.to_vec();
        let d = self.features;
        let from: Vec<usize> = match &self.order {
            Order::Reverse => (0..d).rev().collect(),
            Order::Roll(by) if backwards => (0..d).map(|i| (i + d - by) % d).collect(),
            Order::Roll(by) => (0..d).map(|i| (i + by) % d).collect(),
            Order::Shuffle { inverse, .. } if backwards => {
                inverse.of(&state.derived).iter().map(|&p| index(p)).collect()
            }
            Order::Shuffle { permutation, .. } => {
                state.values.buffer(permutation).iter().map(|&p| index(p)).collect()
            }
        };
        for (to, before) in entries.chunks_exact_mut(d).zip(before.chunks_exact(d)) {
            to.iter_mut().zip(&from).for_each(|(entry, &from)| *entry = before[from]);
        }
        Ok(Vec::new())
    }
}
