//! Memory of finished passes, for the next ones.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Machine;
use crate::engine::gradients::Gradients;
use crate::engine::state::State;
use crate::engine::workspace::Workspace;
use crate::{Architecture, Scalar};

/// Workspaces and gradients that no pass uses now.
pub(super) struct Spare<E> {
    pub(super) workspaces: Mutex<Vec<Workspace<E>>>,
    pub(super) gradients: Mutex<Vec<Gradients<E>>>,
}

impl<E> Default for Spare<E> {
    fn default() -> Self {
        Self { workspaces: Mutex::default(), gradients: Mutex::default() }
    }
}

impl<A: Architecture<E>, E: Scalar> Machine<A, E> {
    pub(super) fn workspace(&self) -> Workspace<E> {
        lock(&self.spare.workspaces).pop().unwrap_or_default()
    }

    /// Room for a group's gradients: zeros, or anything where nobody will ask for them.
    pub(super) fn gradients(&self, context: usize, learning: bool) -> Gradients<E> {
        let mut gradients = lock(&self.spare.gradients).pop().unwrap_or_default();
        let State { values, derived, .. } = &*self.state;
        gradients.start([values.parameters.len(), derived.len(), context], learning);
        gradients
    }

    pub(super) fn recycle(&self, workspaces: Vec<Workspace<E>>) {
        lock(&self.spare.workspaces).extend(workspaces);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a spare buffer is taken leaves the list itself whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
