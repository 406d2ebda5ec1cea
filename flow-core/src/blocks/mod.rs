//! The built-in blocks, one file each. Their exact meaning is in the language reference of
//! [`flow!`](crate::flow).
