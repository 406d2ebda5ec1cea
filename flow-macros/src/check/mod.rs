//! Rules over the whole flow, one commented function each. They read the architecture and write
//! to the report.

mod budget;
mod contracts;
mod coverage;
mod names;
mod nets;
mod sizes;

pub(crate) use budget::{constant, number, through, Direction};

use crate::architecture::Architecture;
use crate::report::Report;

pub(crate) fn check(flow: &Architecture, report: &Report) {
    names::labels(&flow.steps, report);
    nets::nets(flow, report);
    sizes::sizes(flow, report);
    coverage::coverage(flow, report);
    contracts::contracts(flow, report);
}
