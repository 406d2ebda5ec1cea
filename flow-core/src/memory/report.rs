use std::fmt;

/// Explosions that a report prints one by one.
const PRINTED: usize = 8;

/// What the [`Guard`](super::Guard) of a backward pass saw: [`Flow::guard_report`](crate::Flow::guard_report).
///
/// ```
/// use flow_core::memory::{Explosion, GuardReport};
///
/// let explosion = Explosion {
///     block: "0.37.1".into(),
///     sample: 12,
///     error: 3e-2,
///     samples: 5,
///     recomputed: 4,
///     copy: "0.36.0".into(),
/// };
/// let report = GuardReport { explosions: vec![explosion], ..GuardReport::default() };
/// assert_eq!(
///     report.to_string(),
///     "inverse exploded at 0.37.1, worst sample 12, error 3e-2 (5 samples); \
///      4 blocks recomputed from the copy at 0.36.0"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardReport {
    /// Blocks of the flow.
    pub blocks: usize,
    /// The inverse's explosions in the order of the backward pass, at most one a block.
    pub explosions: Vec<Explosion>,
    /// Whether the rest of the pass was computed from the copies, and later ones will be recomputed
    /// ([`Policy::SwitchToRecomputing`](super::Policy::SwitchToRecomputing)).
    pub switched: bool,
    /// Bytes of fingerprints and copies.
    pub bytes: usize,
}

/// A block whose input the inverse did not bring back.
#[derive(Clone, Debug, PartialEq)]
pub struct Explosion {
    /// The block's path.
    pub block: String,
    /// The sample of the batch with the largest error.
    pub sample: usize,
    /// Its relative error; infinite where it holds a number that is not finite, or where the block
    /// refused to invert it.
    pub error: f64,
    /// Samples with an error above the threshold.
    pub samples: usize,
    /// Blocks that were computed again.
    pub recomputed: usize,
    /// The path of the block whose input was kept, from which they were.
    pub copy: String,
}

impl GuardReport {
    /// Whether the inverse brought every input back.
    pub fn held(&self) -> bool {
        self.explosions.is_empty()
    }

    /// Blocks that were computed again, all explosions together.
    pub fn recomputed(&self) -> usize {
        self.explosions.iter().map(|explosion| explosion.recomputed).sum()
    }

    /// The explosion with the largest error.
    pub fn worst(&self) -> Option<&Explosion> {
        self.explosions.iter().max_by(|a, b| a.error.total_cmp(&b.error))
    }
}

impl fmt::Display for GuardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held() {
            return write!(f, "the inverse held at all {} blocks", self.blocks);
        }
        for (i, explosion) in self.explosions.iter().take(PRINTED).enumerate() {
            let line = if i == 0 { "" } else { "\n" };
            write!(f, "{line}{explosion}")?;
        }
        if self.explosions.len() > PRINTED {
            write!(f, "\n… and at {} more blocks", self.explosions.len() - PRINTED)?;
        }
        if self.switched {
            write!(f, "\nfrom now on blocks are recomputed instead")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explosion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, sample, error, samples, recomputed, copy } = self;
        let (are, blocks) = (plural(*samples, "sample"), plural(*recomputed, "block"));
        write!(
            f,
            "inverse exploded at {block}, worst sample {sample}, error {error:.0e} ({are}); \
             {blocks} recomputed from the copy at {copy}"
        )
    }
}

fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_happened() {
        let mut report = GuardReport { blocks: 40, ..GuardReport::default() };
        assert_eq!(report.to_string(), "the inverse held at all 40 blocks");
        let explosion = |i: usize| Explosion {
            block: format!("0.{i}"),
            sample: i,
            error: if i == 3 { f64::INFINITY } else { 0.1 },
            samples: 1,
            recomputed: 2,
            copy: "0.0".into(),
        };
        report.explosions = (0..11).map(explosion).collect();
        report.switched = true;
        let text = report.to_string();
        assert_eq!(text.lines().count(), 10);
        assert!(text.contains("0.3, worst sample 3, error inf (1 sample); 2 blocks"), "{text}");
        assert!(text.contains("and at 3 more blocks") && text.ends_with("instead"), "{text}");
        assert_eq!(report.worst().map(|worst| worst.sample), Some(3));
        assert_eq!(report.recomputed(), 22);
    }
}
