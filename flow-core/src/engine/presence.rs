//! Which flows stand among models that somebody walks through.
//!
//! What visits a dfdx model sees its tensors and nothing else. A flow that is reached for in such a
//! walk answers for itself.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use super::watch::Watch;
use crate::FlowError;

/// A flow that was met on a walk.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) watch: Arc<Watch>,
    pub(crate) last_error: Arc<Mutex<Option<FlowError>>>,
}

thread_local! {
    /// The flows met so far, while somebody calls.
    static MET: RefCell<Option<Vec<Present>>> = const { RefCell::new(None) };
}

/// Walks, and says which flows were met, in the order of the walk.
pub(crate) fn call<R>(walk: impl FnOnce() -> R) -> (R, Vec<Present>) {
    let before = MET.replace(Some(Vec::new()));
    let walked = walk();
    (walked, MET.replace(before).unwrap_or_default())
}

/// A flow is reached for.
pub(crate) fn answer(present: impl FnOnce() -> Present) {
    MET.with_borrow_mut(|met| {
        if let Some(met) = met {
            met.push(present());
        }
    });
}
