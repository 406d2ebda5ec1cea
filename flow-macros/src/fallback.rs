//! What a flow with errors leaves behind: a type of the same name and methods, so that its other
//! uses are no errors of their own.

use proc_macro2::TokenStream;
use quote::quote;

use crate::architecture::Header;
use crate::emit::{self, Scope};

pub(crate) fn stub(header: &Header) -> TokenStream {
    let scope = Scope::new(header);
    let (krate, event, context) = (scope.krate, scope.event(&header.event), scope.context());
    emit::wrapper(&scope, &quote!(#krate::private::Stub<#event, #context>), "")
}
