//! What a program with flows usually needs. None of its names clashes with dfdx's prelude.

pub use crate::{flow, Flow, FlowError, Image, Memory, Noise, NormalizingFlow, Scalar, Vector};
