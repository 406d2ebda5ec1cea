//! Syntax + catalog → architecture. Names and arguments are resolved first, then shapes are
//! followed through.

mod arguments;
mod attributes;
mod header;
mod items;
mod rules;
mod shapes;

use crate::architecture::Architecture;
use crate::report::Report;
use crate::syntax::Flow;

/// Always an architecture, if one with holes: errors are in the report.
pub(crate) fn lower(flow: &Flow, report: &Report) -> Architecture {
    let parameters: Vec<_> = flow.parameters.iter().map(|p| p.ident.clone()).collect();
    let header = header::header(flow, &parameters, report);
    let nodes = items::nodes(&flow.items, &parameters, report);
    let shapes::Placed { steps, latent, assertions } = shapes::place(&nodes, &header, report);
    Architecture { header, steps, latent, assertions }
}
