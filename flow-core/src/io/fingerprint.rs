//! One number for what a flow's weights mean.

use crate::base::Base;
use crate::engine::{BufferKind, Layout, Role};
use crate::{Architecture, Backend, Context, Event, Flow, Scalar, Shape};

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// 32 hexadecimal digits for the architecture: the blocks as written, their shapes, event,
    /// context and base, and the names and shapes of all that is saved.
    ///
    /// Two flows with equal fingerprints can read each other's weights. It is the same on every
    /// machine and for `f32` and `f64`; the flow's own name does not count. A block's argument
    /// counts as it stands in the source, so the value of a constant that changes no shape does not.
    ///
    /// ```
    /// # use dfdx::prelude::*;
    /// # use flow_core::prelude::*;
    /// flow! { struct Narrow: Vector<2> { affine_coupling(net = mlp([8], relu)); } }
    /// flow! { struct Wide: Vector<2> { affine_coupling(net = mlp([9], relu)); } }
    /// let cpu = Cpu::default();
    /// let (narrow, wide) = (Narrow::<f32>::build(&cpu, 0)?, Wide::<f32>::build(&cpu, 0)?);
    /// assert_eq!(narrow.fingerprint(), Narrow::<f64>::build(&cpu, 1)?.fingerprint());
    /// assert_ne!(narrow.fingerprint(), wide.fingerprint());
    /// # Ok::<(), FlowError>(())
    /// ```
    pub fn fingerprint(&self) -> String {
        of::<A, E>(self.layout())
    }
}

/// The fingerprint of an architecture with a layout.
pub(super) fn of<A: Architecture<E>, E: Scalar>(layout: &Layout) -> String {
    let mut hash = Fnv::new();
    hash.text("flow 1");
    hash.shape(A::Event::SHAPE);
    hash.shape(A::Latent::SHAPE);
    hash.number(A::Context::SIZE);
    hash.text(&A::Base::name());
    hash.number(A::ITEMS.len());
    for item in A::ITEMS {
        hash.text(item.path);
        // Line breaks and indentation of the source change nothing.
        hash.text(&item.text.split_whitespace().collect::<String>());
        hash.number(item.count);
        hash.shape(item.input);
        hash.shape(item.output);
    }
    hash.number(layout.entries.len());
    for entry in &layout.entries {
        hash.text(&entry.name);
        hash.number(match entry.role {
            Role::Parameter => 0,
            Role::Buffer(BufferKind::Float) => 1,
            Role::Buffer(BufferKind::Integer) => 2,
        });
        hash.number(entry.shape.len());
        entry.shape.iter().for_each(|&side| hash.number(side));
    }
    format!("{:032x}", hash.0)
}

/// FNV-1a with 128 bits (Fowler, Noll and Vo; RFC 9923). Every part is preceded by its length or
/// has a fixed one, so that no two lists of parts run together.
struct Fnv(u128);

impl Fnv {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(Self::PRIME);
        }
    }

    fn number(&mut self, number: usize) {
        self.bytes(&(number as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }

    fn shape(&mut self, shape: Shape) {
        let (height, width) = shape.sides().unwrap_or_default();
        [shape.features(), height, width].into_iter().for_each(|side| self.number(side));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of the authors' reference implementation.
        for (text, want) in [
            ("", 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d),
            ("a", 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964),
            ("foobar", 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18),
        ] {
            let mut hash = Fnv::new();
            hash.bytes(text.as_bytes());
            assert_eq!(hash.0, want, "{text}");
        }
    }
}
