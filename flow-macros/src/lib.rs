//! The `flow!` macro.

mod architecture;
mod catalog;
mod check;
mod dim;
mod expand;
mod lower;
mod parse;
mod report;
mod syntax;

/// Doc later.
#[proc_macro]
pub fn flow(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(input.into()).into()
}
