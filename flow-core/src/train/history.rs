//! What a run leaves behind.

use std::path::Path;

use crate::engine::News;
use crate::io::write_atomically;
use crate::Result;

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Record {
    /// Updates done, this one included.
    pub step: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The loss of the batch before the update, for a flow in nats a row.
    pub loss: f64,
    /// The loss of the held-out rows after the update, where it was computed.
    pub validation_loss: Option<f64>,
    /// The learning rate of the update.
    pub learning_rate: f64,
    /// The gradient's Euclidean norm before clipping.
    pub gradient_norm: f64,
    /// Time since the run began, that of an interrupted one included.
    pub seconds: f64,
}

/// A loss that was not finite, after which the run went back to earlier weights.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RollBack {
    /// The step that could not be done.
    pub step: u64,
    /// Where a non-finite number first appeared.
    pub origin: String,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All its steps, epochs or batches were done.
    Complete,
    /// The validation loss did not fall any more.
    Patience,
    /// [`Trainer::watch`](super::Trainer::watch) said so.
    Stopped,
}

/// What the guards of a run saw, where its steps invert ([`Memory::Inverted`](crate::Memory)): all
/// passes of a step together, and those of all flows among the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Steps in which the inverse exploded.
    pub steps: u64,
    /// Blocks that were computed again in them.
    pub recomputed: u64,
    /// The first and the last of those steps.
    pub between: Option<(u64, u64)>,
}

/// What happened in a run, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The steps.
    pub records: Vec<Record>,
    /// Step and loss of the best validation.
    pub best: Option<(u64, f64)>,
    /// The times that the run went back to earlier weights.
    pub roll_backs: Vec<RollBack>,
    /// Explosions of the inverse.
    pub guard: Guarded,
    /// Why it ended.
    pub ending: Ending,
}

impl History {
    pub(super) fn new() -> Self {
        let (records, roll_backs) = (Vec::new(), Vec::new());
        let guard = Guarded::default();
        Self { records, best: None, roll_backs, guard, ending: Ending::Complete }
    }

    /// Takes note of a step in which inverses exploded, of one flow or several; what to tell of the
    /// first such step.
    pub(super) fn exploded(&mut self, step: u64, news: Vec<News>) -> Option<String> {
        let News { flow, report, .. } = news.first()?;
        let Guarded { steps, recomputed, between } = &mut self.guard;
        *steps += 1;
        *recomputed += news.iter().map(|news| news.recomputed as u64).sum::<u64>();
        let first = between.map_or(step, |(first, _)| first);
        *between = Some((first, step));
        (first == step).then(|| format!("step {step}, {flow}: {report}"))
    }

    /// The loss of the last step.
    pub fn last_loss(&self) -> Option<f64> {
        self.records.last().map(|record| record.loss)
    }

    /// Writes one line for each step, under the names of [`Record`]'s fields.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_atomically(path, |file| {
            let mut writer = csv::Writer::from_writer(file);
            for record in &self.records {
                writer.serialize(record)?;
            }
            writer.flush()
        })
    }
}

/// Numbers of a record in a checkpoint.
pub(super) const COLUMNS: usize = 7;

impl Record {
    pub(super) fn to_row(self) -> [f64; COLUMNS] {
        [
            self.step as f64,
            self.epoch as f64,
            self.loss,
            self.validation_loss.unwrap_or(f64::NAN),
            self.learning_rate,
            self.gradient_norm,
            self.seconds,
        ]
    }

    pub(super) fn from_row(row: &[f64]) -> Self {
        Self {
            step: row[0] as u64,
            epoch: row[1] as u64,
            loss: row[2],
            validation_loss: (!row[3].is_nan()).then_some(row[3]),
            learning_rate: row[4],
            gradient_norm: row[5],
            seconds: row[6],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_file_has_a_line_for_each_step() {
        let mut history = History::new();
        let record = Record {
            step: 1,
            epoch: 0,
            loss: 0.1,
            validation_loss: None,
            learning_rate: 1e-3,
            gradient_norm: 2.5,
            seconds: 0.25,
        };
        assert_eq!(Record::from_row(&record.to_row()), record);
        history.records.push(record);
        history.records.push(Record { step: 2, validation_loss: Some(-1.0), ..record });
        let path = std::env::temp_dir().join(format!("flow-history-{}.csv", std::process::id()));
        history.write_csv(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            text,
            "step,epoch,loss,validation_loss,learning_rate,gradient_norm,seconds\n\
             1,0,0.1,,0.001,2.5,0.25\n2,0,0.1,-1.0,0.001,2.5,0.25\n"
        );
        assert!(history.write_csv("/nowhere/at/all.csv").is_err());
    }
}
