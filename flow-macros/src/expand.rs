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
    let (architecture, problems) = front_end(parsed);
    match architecture {
        Some(flow) if problems.is_empty() => emit::emit(&flow),
        Some(flow) => {
            let stub = fallback::stub(&flow.header);
            quote!(#(#problems)* #stub)
        }
        None => quote!(#(#problems)*),
    }
}

/// Everything but the code.
pub(crate) fn front_end(Parsed { flow, report }: Parsed) -> (Option<Architecture>, Vec<Problem>) {
    let architecture = flow.map(|flow| lower::lower(&flow, &report));
    if let Some(flow) = &architecture {
        check::check(flow, &report);
    }
    (architecture, report.finish())
}
