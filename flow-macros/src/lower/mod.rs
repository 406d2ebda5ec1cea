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

/// `None` where the header is broken; its errors are in the report.
pub(crate) fn lower(flow: &Flow, report: &Report) -> Option<Architecture> {
    let header = header::header(flow, report);
    let parameters: Vec<_> = flow.parameters.iter().map(|p| p.ident.clone()).collect();
    let nodes = items::nodes(&flow.items, &parameters, report);
    let header = header?;
    let placed = shapes::place(&nodes, &header, report);
    Some(Architecture {
        header,
        steps: placed.steps,
        latent: placed.latent,
        assertions: placed.assertions,
    })
}
