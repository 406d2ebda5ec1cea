//! The built-in blocks, one file each. Their exact meaning is in the language reference of
//! [`flow!`](crate::flow).

mod coupling;
mod split;

pub use coupling::Coupling;
pub use split::Split;
