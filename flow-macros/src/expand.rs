//! The whole pipeline.

use proc_macro2::TokenStream;
use quote::quote;

use crate::parse::Parsed;
use crate::report::Problem;
use crate::{check, lower, parse};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    match parse::flows(input) {
        Ok(flows) => flows.into_iter().map(one).collect(),
        Err(problem) => quote!(#problem),
    }
}

fn one(parsed: Parsed) -> TokenStream {
    let Parsed { flow, report } = parsed;
    let architecture = flow.as_ref().and_then(|flow| lower::lower(flow, &report));
    if let Some(architecture) = &architecture {
        check::check(architecture, &report);
    }
    let problems: Vec<Problem> = report.finish();
    quote!(#(#problems)*)
}
