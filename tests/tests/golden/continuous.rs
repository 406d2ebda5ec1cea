//! Continuous blocks.
