//! What a program with flows usually needs. None of its names clashes with dfdx's prelude.

pub use crate::{FlowError, Image, Memory, Noise, Result, Scalar, Vector};
