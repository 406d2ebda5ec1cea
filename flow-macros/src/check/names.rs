//! Labels.

use crate::architecture::{Step, StepKind};
use crate::report::Report;

/// Labels name parameters, so siblings cannot share one.
pub(super) fn labels(steps: &[Step], report: &Report) {
    for (index, step) in steps.iter().enumerate() {
        if let Some(label) = &step.label {
            let twin = steps[..index].iter().find(|other| other.label.as_ref() == Some(label));
            if let Some(twin) = twin {
                report.error(
                    label,
                    format!("the label `'{label}` stands twice, first on item {}", twin.position),
                    "the items of one body have labels of their own, for they name the parameters",
                );
            }
        }
        // Every iteration and level has the same labels: the first speaks for all.
        match &step.kind {
            StepKind::Repeat { body, .. } => labels(body, report),
            StepKind::Unrolled(iterations) => labels(&iterations[0], report),
            StepKind::Multiscale(levels) => labels(&levels[0].body, report),
            _ => {}
        }
    }
}
