//! Masked and inverse autoregressive blocks.
