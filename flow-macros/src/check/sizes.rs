//! Weights that no machine holds.

use super::nets::visit;
use crate::architecture::Architecture;
use crate::dim::MOST;
use crate::parameters;
use crate::report::Report;

/// Each size may be a number that fits, and a matrix of two of them not.
pub(super) fn sizes(flow: &Architecture, report: &Report) {
    visit(&flow.steps, &mut |block, input| {
        let count = parameters::count(block, input, flow.header.context.size());
        if count.is_none_or(|count| count <= MOST) {
            return;
        }
        let place = block.arguments.get("net").map_or(block.place, |net| net.place);
        let message = format!("`{}` on {input} has more than {MOST} weights", block.row.name);
        report.error(place, message, "choose sizes that fit a machine's memory");
    });
}
