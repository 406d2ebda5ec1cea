//! The learning rate over a run.

use crate::{FlowError, Result};

/// How the learning rate falls after the warm-up of [`Trainer::warm_up`](super::Trainer::warm_up).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// Along half a cosine, to 0 at the end of the run (Loshchilov and Hutter 2017, "SGDR:
    /// stochastic gradient descent with warm restarts", without restarts). The run's length must
    /// be known: by [`Trainer::steps`](super::Trainer::steps), or by epochs of rows in memory.
    Cosine,
    /// By `factor` after every `every` steps.
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
        /// Steps between two changes.
        every: u64,
    },
}

impl Schedule {
    /// What the learning rate of `step` (counted from 0) is multiplied by, in a run of `total`
    /// steps of which the first `warm_up` rise linearly.
    ///
    /// ```
    /// use flow_core::prelude::*;
    /// let decay = Schedule::Exponential { factor: 0.5, every: 10 };
    /// assert_eq!(decay.multiplier(0, 0, None), 1.0);
    /// assert_eq!(decay.multiplier(25, 0, None), 0.25);
    /// assert_eq!(Schedule::Constant.multiplier(1, 4, None), 0.5);
    /// assert_eq!(Schedule::Cosine.multiplier(50, 0, Some(100)), 0.5);
    /// ```
    pub fn multiplier(self, step: u64, warm_up: u64, total: Option<u64>) -> f64 {
        if step < warm_up {
            return (step + 1) as f64 / warm_up as f64;
        }
        let step = step - warm_up;
        match (self, total) {
            (Self::Constant, _) | (Self::Cosine, None) => 1.0,
            (Self::Cosine, Some(total)) => {
                let length = total.saturating_sub(warm_up).max(1);
                let part = step.min(length) as f64 / length as f64;
                // Written so that the middle is exactly one half.
                0.5 + 0.5 * (std::f64::consts::PI * (0.5 - part)).sin()
            }
            (Self::Exponential { factor, every }, _) => factor.powf((step / every.max(1)) as f64),
        }
    }

    pub(super) fn check(self, total: Option<u64>) -> Result<()> {
        match self {
            Self::Exponential { factor, .. } if !(factor > 0.0 && factor.is_finite()) => {
                Err(FlowError::option("the decay factor", factor, "a finite number above 0"))
            }
            Self::Exponential { every: 0, .. } => {
                Err(FlowError::option("the steps between decays", 0, "at least 1"))
            }
            Self::Cosine if total.is_none() => Err(FlowError::option(
                "the length of a cosine schedule",
                "unknown",
                "a number of steps\nhelp: trainer.steps(n), since a stream does not say its length",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_that_of_the_paper() {
        for (step, total) in [(0, 10), (3, 10), (5, 10), (10, 10), (12, 10), (7, 1000)] {
            let part = f64::from(step.min(total)) / f64::from(total);
            let expected = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
            let got = Schedule::Cosine.multiplier(step as u64 + 4, 4, Some(total as u64 + 4));
            assert!((got - expected).abs() < 1e-15, "{got} {expected}");
        }
        assert_eq!(Schedule::Cosine.multiplier(0, 0, Some(7)), 1.0);
    }

    #[test]
    fn the_warm_up_rises_to_one_and_comes_before_the_schedule() {
        let schedule = Schedule::Exponential { factor: 0.1, every: 2 };
        let rates: Vec<_> = (0..8).map(|step| schedule.multiplier(step, 4, None)).collect();
        assert_eq!(rates[..6], [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        assert_eq!(rates[6], 0.1);
    }

    #[test]
    fn impossible_schedules_are_refused() {
        assert!(Schedule::Cosine.check(None).is_err());
        assert!(Schedule::Exponential { factor: 0.0, every: 1 }.check(None).is_err());
        assert!(Schedule::Exponential { factor: 0.5, every: 0 }.check(None).is_err());
        assert!(Schedule::Exponential { factor: 0.5, every: 1 }.check(None).is_ok());
    }
}
