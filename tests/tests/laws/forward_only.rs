//! Blocks without an inverse.
