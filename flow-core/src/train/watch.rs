//! A function that sees each step of a run.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Record;

#[derive(Clone)]
pub(super) struct Watch(pub(super) Arc<dyn Fn(&Record) -> ControlFlow<()> + Send + Sync>);

impl Watch {
    pub(super) fn stops(&self, record: &Record) -> bool {
        (self.0)(record).is_break()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
