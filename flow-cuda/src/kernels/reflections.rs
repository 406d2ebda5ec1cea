//! Products of reflections, with their gradients.

use super::product::{product, Epilogue, Matrix};
use super::{holds, op, together, REFLECTIONS};
use crate::plan::to_u32;
use crate::{Kernel, Launch, Op, Recording, Slot};

const UNITS: Kernel = together(REFLECTIONS, "reflection_units");
const MULTIPLY: Kernel = together(REFLECTIONS, "multiply_reflections");
const FINISH: Kernel = together(REFLECTIONS, "reflections_finish");

/// Threads of a block that works on a whole vector, or on a whole matrix.
const TEAM: u32 = 256;

/// `Q = H₁…Hₖ` with `H = I − 2vvᵀ/‖v‖²` for each of some vectors. One at zero counts as the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflections {
    /// The vectors, one after the other.
    pub vectors: Slot,
    /// Numbers of each.
    pub features: usize,
}

impl Reflections {
    fn count(self) -> usize {
        self.vectors.len / self.features
    }

    /// The vectors' directions and lengths, which `work` has room for.
    fn units(self, work: Slot) -> ([Slot; 2], Op) {
        let (count, d) = (self.count(), self.features);
        let parts = [work.part(0, count * d), work.part(count * d, count)];
        let mut op = op(UNITS, count).slots([parts[0], parts[1], self.vectors]).sizes([d]);
        op.launch = Launch { grid: [to_u32(count), 1, 1], block: [TEAM, 1, 1] };
        (parts, op)
    }

    fn work(self) -> usize {
        self.count() * (self.features + 1)
    }

    /// The product, `[features, features]`.
    pub fn multiply(self, recording: &mut Recording, into: Slot) -> [Op; 2] {
        let d = self.features;
        holds("the product of reflections", into, d * d);
        let work = recording.scratch(self.work());
        let ([units, _], first) = self.units(work);
        let mut op = op(MULTIPLY, d).slots([into, units]).sizes([self.count(), d]);
        op.launch = Launch { grid: [to_u32(d.div_ceil(4)), 1, 1], block: [32, 4, 1] };
        [first, op]
    }

    /// Adds the gradients by the vectors, from that by the product `q`.
    pub fn finish(self, recording: &mut Recording, q: Slot, by_q: Slot, by: Slot) -> [Op; 3] {
        let d = self.features;
        holds("the gradient by reflections", by, self.count() * d);
        let (work, k) = (recording.scratch(self.work()), recording.scratch(d * d));
        let pairs = recording.scratch(2 * d);
        let ([units, lengths], first) = self.units(work);
        let [q, g] = [q, by_q].map(|slot| Matrix::new(slot, d, d));
        let mut op = op(FINISH, d).slots([k, units, lengths, by, pairs]).sizes([self.count(), d]);
        op.launch = Launch { grid: [1, 1, 1], block: [TEAM, 1, 1] };
        [first, product(k, q, g.t(), Epilogue::default()), op]
    }
}
