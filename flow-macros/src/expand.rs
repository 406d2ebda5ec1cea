//! The whole pipeline.

use proc_macro2::TokenStream;
use quote::quote;

use crate::architecture::Architecture;
use crate::parse::Parsed;
use crate::report::Problem;
use crate::{check, emit, fallback, lower, parse};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    parse::flows(input).into_iter().map(one).collect()
}

fn one(parsed: Parsed) -> TokenStream {
    let (architecture, problems) = front_end(parsed, true);
    match architecture {
        Some(flow) if problems.is_empty() => emit::emit(&flow),
        Some(flow) => {
            let stub = fallback::stub(&flow.header);
            quote!(#(#problems)* #stub)
        }
        None => quote!(#(#problems)*),
    }
}

/// Everything but the code. `landed`: whether the runtime must be able to run it, which comes last,
/// so that a flow of blocks that have not landed yet is still checked in full.
pub(crate) fn front_end(
    Parsed { flow, report }: Parsed,
    landed: bool,
) -> (Option<Architecture>, Vec<Problem>) {
    let architecture = flow.map(|flow| lower::lower(&flow, &report));
    if let Some(flow) = &architecture {
        check::check(flow, &report);
        if landed && report.is_empty() {
            check::landed(flow, &report);
        }
    }
    (architecture, report.finish())
}
