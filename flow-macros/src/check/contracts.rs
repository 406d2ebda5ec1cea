//! `#[require(…)]`: what every block must satisfy.

use super::budget::{self, Direction};
use super::nets::visit;
use crate::architecture::{Architecture, ContractKind};
use crate::catalog::{Facts, LogDet};
use crate::report::Report;

pub(super) fn contracts(flow: &Architecture, report: &Report) {
    for contract in &flow.header.attributes.contracts {
        match contract.kind {
            ContractKind::Lipschitz { forward, inverse } => {
                if let Some(budget) = forward {
                    budget::within(flow, Direction::Forward, budget, contract.place, report);
                }
                if let Some(budget) = inverse {
                    budget::within(flow, Direction::Inverse, budget, contract.place, report);
                }
            }
            kind => every_block(flow, kind, report),
        }
    }
}

/// Blocks of the user's are checked by const assertions over what they state of themselves.
fn every_block(flow: &Architecture, kind: ContractKind, report: &Report) {
    visit(&flow.steps, &mut |block, _| {
        let Err(why) = holds(kind, &block.facts()) else { return };
        let (name, contract) = (block.row.name, kind.name());
        let message = format!(
            "`{name}` breaks `{contract}`: {why}\nnote: `#[require({contract})]` stands on `{}`",
            flow.header.name
        );
        report.error(block.place, message, help(kind));
    });
}

fn holds(kind: ContractKind, facts: &Facts) -> Result<(), &'static str> {
    match (kind, facts.log_det) {
        (ContractKind::AnalyticInverse, _) => facts.analytic_inverse,
        (ContractKind::BiLipschitz, _) => facts.bi_lipschitz,
        (ContractKind::MemorySaving, _) => facts.memory_saving,
        (ContractKind::VolumePreserving, LogDet::Constant) => {
            Err("its log-determinant is constant, but not 0")
        }
        (ContractKind::VolumePreserving | ContractKind::ConstantLogDet, LogDet::Varying) => {
            Err("its log-determinant varies with the input")
        }
        _ => Ok(()),
    }
}

fn help(kind: ContractKind) -> &'static str {
    match kind {
        ContractKind::AnalyticInverse => {
            "couplings, `linear(…)`, `actnorm` and `permute(…)` invert in closed form"
        }
        ContractKind::VolumePreserving => {
            "`additive_coupling`, `permute(…)` and `linear(orthogonal)` preserve volume"
        }
        ContractKind::ConstantLogDet => {
            "`additive_coupling`, `actnorm`, `linear(…)` and `permute(…)` have a constant one"
        }
        ContractKind::BiLipschitz => {
            "`additive_coupling`, `residual(…)`, `actnorm` and `linear(lu)` are bi-Lipschitz"
        }
        ContractKind::MemorySaving => {
            "couplings, `residual(…)`, `linear(…)` and `actnorm` give their inputs back"
        }
        ContractKind::Lipschitz { .. } => "",
    }
}
