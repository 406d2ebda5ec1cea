//! Files: weights that come back bit by bit, weights of other libraries, tables of data, and a
//! flow's summary.
//!
//! Weights and tables are written beside their place and then renamed, so that a crash leaves the old
//! file; what is read is checked as a whole before anything changes.

mod atomic;
mod fingerprint;
mod import;
mod summary;
mod table;
mod tensors;
#[cfg(test)]
pub(crate) mod testing;
mod weights;

pub use import::{Import, Imported};
pub use table::{read_table, write_table, Table};

pub(crate) use atomic::write_atomically;
