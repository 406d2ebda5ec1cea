//! Names and places of everything a flow stores.

use std::ops::Range;

use super::turned::Turned;

/// What an entry of the layout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained, and seen by optimisers unless frozen.
    Parameter,
    /// Saved with the weights, never trained.
    Buffer(BufferKind),
}

/// How a buffer is written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// In the flow's own floating point type.
    Float,
    /// As integers (a permutation, a flag).
    Integer,
}

/// One named tensor of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path: `0.3.2.net.1.weight`.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Parameter or buffer.
    pub role: Role,
    /// Where it lies in the flat vector of its role.
    pub range: Range<usize>,
}

/// The named tensors of a flow, in the order of its blocks, and the paths of those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Parameters and buffers.
    pub entries: Vec<Entry>,
    /// The paths of the blocks that are called one by one, data to latent.
    pub leaves: Vec<String>,
    /// The matrices that are also kept transposed.
    pub(crate) turned: Vec<Turned>,
}

impl Layout {
    /// The parameters, in the order of the flat parameter vector.
    pub fn parameters(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.role == Role::Parameter)
    }

    /// The entry of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub(crate) Range<usize>);

        impl $name {
            /// Numbers in it.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether it holds nothing.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Its part of the flat vector.
            pub fn of<'a, E>(&self, all: &'a [E]) -> &'a [E] {
                &all[self.0.clone()]
            }

            /// Its part of the flat vector, to write.
            pub fn of_mut<'a, E>(&self, all: &'a mut [E]) -> &'a mut [E] {
                &mut all[self.0.clone()]
            }
        }
    };
}

slot! {
    /// Where a parameter lies in the flat vector of parameters, and of their gradients.
    Parameter
}
slot! {
    /// Where a buffer lies in the flat vector of buffers: numbers that are saved with the weights and not
    /// trained. Memory for a pass is [`Scratch`](crate::Scratch).
    Buffer
}
slot! {
    /// Where a value computed from the weights lies in the flat vector of those.
    Derived
}
