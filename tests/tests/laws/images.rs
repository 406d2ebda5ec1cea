//! Blocks on images.
