//! What a trainer's options come to: the length of a run, and which of them are out of range.

use std::path::Path;

use super::{Clip, OnDivergence, Trainer};
use crate::{FlowError, Result};

impl Trainer {
    pub(super) fn passes(&self) -> Option<u64> {
        self.epochs.or(self.steps.is_none().then_some(10))
    }

    /// The length of a run, where it is known.
    pub(super) fn total(&self, per_epoch: Option<u64>) -> Option<u64> {
        let by_epochs = per_epoch.zip(self.passes()).map(|(batches, n)| batches.saturating_mul(n));
        match (self.steps, by_epochs) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The checkpoint to go on from.
    pub(super) fn interrupted(&self) -> Option<&Path> {
        self.checkpoint.as_deref().filter(|path| self.resume && path.exists())
    }

    pub(super) fn check(&self, total: Option<u64>, held_out: bool) -> Result<()> {
        self.optimizer.check()?;
        self.schedule.check(total)?;
        self.clip.map_or(Ok(()), Clip::check)?;
        let least_one = [
            ("the batch size", self.batch_size as u64),
            ("the steps between checkpoints", self.checkpoint_every),
            ("the steps between validations", self.validate_every.unwrap_or(1)),
            ("the patience", self.patience.unwrap_or(1)),
        ];
        for (option, value) in least_one {
            if value == 0 {
                return Err(FlowError::option(option, 0, "at least 1"));
            }
        }
        if let Some(decay) = self.average.filter(|decay| !(0.0..1.0).contains(decay)) {
            let expected = "at least 0 and less than 1";
            return Err(FlowError::option("the decay of the average", decay, expected));
        }
        if let OnDivergence::RollBack { factor, .. } = self.on_divergence {
            if !(factor > 0.0 && factor <= 1.0) {
                let option = "the factor of a roll-back";
                return Err(FlowError::option(option, factor, "above 0 and at most 1"));
            }
        }
        if self.patience.is_some() && !held_out {
            let expected = "held-out rows\nhelp: batches.validated_by(held_out)";
            return Err(FlowError::option("the data that patience looks at", "none", expected));
        }
        let folder = self.checkpoint.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| *folder != Path::new("") && !folder.is_dir()) {
            return Err(FlowError::file(
                folder,
                "is no folder, and the checkpoint is to lie in it",
            ));
        }
        if self.resume && self.checkpoint.is_none() {
            let expected = "a file\nhelp: trainer.checkpoint(path)";
            return Err(FlowError::option("the checkpoint to resume from", "none", expected));
        }
        Ok(())
    }
}
