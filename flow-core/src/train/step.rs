//! Which update of a run it is.

use crate::Noise;

/// An update of a run: its number, and the random numbers that belong to it.
///
/// Both are functions of the trainer's seed and the number alone, so a run that goes on from a
/// checkpoint does the same as one that was never interrupted.
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::train::Step;
///
/// let step = Step::new(20, Noise::seed(1));
/// assert!(step.is_due(10) && !step.is_due(3));
/// assert_eq!(step.noise("directions").uniform(0), step.noise("directions").uniform(0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    index: u64,
    noise: Noise,
}

impl Step {
    /// The update after `index` others.
    pub fn new(index: u64, noise: Noise) -> Self {
        Self { index, noise }
    }

    /// Update `index` of a training with that seed.
    pub(crate) fn of_training(seed: u64, index: u64) -> Self {
        Self::new(index, Noise::seed(seed).named("pass").at(index))
    }

    /// The one that held-out rows are judged as: number 0, on which everything is due, always with
    /// the same random numbers.
    pub(super) fn of_validation(seed: u64) -> Self {
        Self::new(0, Noise::seed(seed).named("validation"))
    }

    /// Updates done before.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The stream of that name in this step.
    pub fn noise(&self, name: &str) -> Noise {
        self.noise.named(name)
    }

    /// The stream that the flow's blocks draw from.
    pub(crate) fn of_blocks(&self) -> &Noise {
        &self.noise
    }

    /// Whether what happens once every so many steps, from the first step on, happens in this one.
    pub fn is_due(&self, every: u64) -> bool {
        self.index.is_multiple_of(every.max(1))
    }
}
