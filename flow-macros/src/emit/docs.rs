//! The table in the rustdoc of a flow.

use crate::architecture::{Architecture, Shape, Step, StepKind};
use crate::catalog::{Bound, Facts};
use crate::check::number;
use crate::parameters;

pub(super) fn table(flow: &Architecture) -> String {
    let mut rows = String::from(
        "\n\n| item | shape | parameters | log-determinant | Lipschitz bounds, forward and inverse |\n|---|---|---|---|---|\n",
    );
    append(flow, &flow.steps, "", &mut rows);
    rows.push_str("\nBounds hold for all weights.");
    rows
}

fn append(flow: &Architecture, steps: &[Step], prefix: &str, rows: &mut String) {
    for step in steps {
        let path = format!("{prefix}{}", step.segment());
        match &step.kind {
            StepKind::Block(block) => {
                let facts = block.facts();
                let count = parameters::count(block, &step.input, flow.header.context.size());
                let count = count.map_or("by its sizes".into(), |count| count.to_string());
                let (kind, bounds) = (facts.log_det.describe(), bounds(&facts));
                row(rows, &path, &block.text, step, &count, kind, &bounds);
            }
            StepKind::Use(block) => {
                row(rows, &path, &block.text, step, "its own", "its own", "its own");
            }
            StepKind::Repeat { count, body, .. } => {
                let text = format!("repeat {count}");
                row(rows, &path, &text, step, "", "", "");
                append(flow, body, &format!("{path}.*."), rows);
            }
            StepKind::Unrolled(iterations) => {
                for (index, body) in iterations.iter().enumerate() {
                    append(flow, body, &format!("{path}.{index}."), rows);
                }
            }
            StepKind::Multiscale(levels) => {
                let text = format!("multiscale {}", levels.len());
                row(rows, &path, &text, step, "", "", "");
                for (index, level) in levels.iter().enumerate() {
                    append(flow, &level.body, &format!("{path}.{index}."), rows);
                }
            }
            StepKind::Hole => {}
        }
    }
}

fn row(
    rows: &mut String,
    path: &str,
    text: &str,
    step: &Step,
    parameters: &str,
    log_det: &str,
    bounds: &str,
) {
    let shape = if step.input.same(&step.output) {
        shape(&step.input)
    } else {
        format!("{} → {}", shape(&step.input), shape(&step.output))
    };
    let text = text.replace('|', "\\|");
    rows.push_str(&format!(
        "| `{path}` `{text}` | {shape} | {parameters} | {log_det} | {bounds} |\n"
    ));
}

fn shape(shape: &Shape) -> String {
    format!("`{shape}`")
}

fn bounds(facts: &Facts) -> String {
    let one = |bound: Bound| bound.log().map_or("none".into(), number);
    match (facts.forward, facts.inverse) {
        (Bound::None(_), Bound::None(_)) => "none".into(),
        (forward, inverse) => format!("{}, {}", one(forward), one(inverse)),
    }
}
