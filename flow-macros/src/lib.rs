//! The `flow!` macro.

mod architecture;
mod catalog;
mod check;
mod dim;
mod emit;
mod expand;
mod fallback;
mod lower;
mod parameters;
mod parse;
mod report;
mod syntax;
#[cfg(test)]
mod tests;

/// Doc later.
#[proc_macro]
pub fn flow(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(input.into()).into()
}
