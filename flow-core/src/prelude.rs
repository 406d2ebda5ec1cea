//! What a program with flows usually needs. None of its names clashes with dfdx's prelude.

pub use crate::train::{
    evaluate, Adam, AdamW, Adamax, Batches, Clip, OnDivergence, Rows, Schedule, Sgd, Trainer,
};
pub use crate::{flow, Flow, FlowError, Image, Memory, Noise, NormalizingFlow, Scalar, Vector};
