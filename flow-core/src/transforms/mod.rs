//! The scalar bijections that couplings and autoregressive blocks share.
