//! The `flow!` macro.

/// Placeholder until the language lands.
#[proc_macro]
pub fn flow(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    proc_macro::TokenStream::new()
}
