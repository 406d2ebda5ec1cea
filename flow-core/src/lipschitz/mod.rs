//! Lipschitz bounds.

pub(crate) mod limit;
pub(crate) mod norm;
