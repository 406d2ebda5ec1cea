//! What the language knows and the runtime of this version cannot run yet.

use super::nets::visit;
use crate::architecture::{Architecture, Arguments, Block, NetKind, Resolved, Shape};
use crate::catalog::{Argument, Kind, BLOCKS, NETS};
use crate::report::{list, Place, Report};

/// Every block, variant and net that is used has landed.
pub(crate) fn landed(flow: &Architecture, report: &Report) {
    visit(&flow.steps, &mut |block, input| {
        if block_landed(block, input, report) {
            arguments(&block.arguments, report);
        }
    });
}

fn block_landed(block: &Block, input: &Shape, report: &Report) -> bool {
    let on_vectors = matches!(input, Shape::Vector(_));
    let landed = |row: &crate::catalog::Block| {
        if on_vectors {
            row.landed.vectors
        } else {
            row.landed.images
        }
    };
    if landed(block.row) {
        return true;
    }
    let known: Vec<&str> = BLOCKS.iter().filter(|row| landed(row)).map(|row| row.name).collect();
    let kind = if on_vectors { "vectors" } else { "images" };
    let place = if block.row.landed.vectors { format!(" on {kind}") } else { String::new() };
    let message = format!("`{}` has no runtime{place} in this version yet", block.row.name);
    report.error(block.place, message, format!("what runs on {kind} is {}", list(&known, "and")));
    false
}

fn arguments(given: &Arguments, report: &Report) {
    for (row, given) in &given.0 {
        match &given.value {
            Resolved::Choice(choice) if !choice.landed => {
                missing(choice.name, given.place, &others(row), report);
            }
            Resolved::Choice(choice) => arguments(&choice.arguments, report),
            Resolved::Net(net) => match &net.kind {
                NetKind::BuiltIn { row, .. } if !row.landed => {
                    let known: Vec<&str> =
                        NETS.iter().filter(|net| net.landed).map(|net| net.name).collect();
                    let help =
                        format!("the nets that run are {} and `use Path`", list(&known, "and"));
                    missing(row.name, net.place, &help, report);
                }
                NetKind::BuiltIn { arguments: inner, .. } => arguments(inner, report),
                NetKind::Use(_) => {}
            },
            _ => {}
        }
    }
}

fn missing(name: &str, place: Place, help: &str, report: &Report) {
    report.error(place, format!("`{name}` has no runtime in this version yet"), help);
}

fn others(row: &Argument) -> String {
    let Kind::OneOf(variants) = row.kind else { return "leave it out".into() };
    let known: Vec<&str> = variants.iter().filter(|v| v.landed).map(|v| v.name).collect();
    format!("what runs is {}", list(&known, "and"))
}
