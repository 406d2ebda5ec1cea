//! What a program with flows usually needs. None of its names clashes with dfdx's prelude,
//! which a program takes in beside it where it makes or reads tensors: `use dfdx::prelude::*`.

pub use crate::lipschitz::Region;
pub use crate::train::{
    evaluate, Adam, AdamW, Adamax, Batches, Clip, OnDivergence, Rows, Schedule, Sgd, Trainer,
};
pub use crate::{
    flow, Cpu, Flow, FlowError, Image, Memory, Noise, NormalizingFlow, Scalar, Vector,
};
