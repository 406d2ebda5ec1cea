//! Architecture → code. Cannot fail: whatever could has been checked before.

mod assertions;
mod body;
mod conditioned;
mod construct;
mod docs;
mod dynamics;
mod facts;
mod levels;
mod nets;
mod unasked;
mod wrapper;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::Ident;

use crate::architecture::{Architecture, Context, Header, Shape};

pub(crate) use wrapper::wrapper;

pub(crate) fn emit(flow: &Architecture) -> TokenStream {
    let scope = Scope::new(&flow.header);
    let blocks = scope.root();
    let Scope { arguments, e, .. } = &scope;
    let wrapper = wrapper(&scope, &quote!(#blocks<#arguments #e>), &docs::table(flow));
    let bodies = body::bodies(&scope, flow);
    let architecture = body::architecture(&scope, flow);
    let component = body::component(&scope, flow);
    let levels = levels::levels(&scope, flow);
    let assertions = assertions::module(&scope, flow);
    quote!(#wrapper #bodies #architecture #component #levels #assertions)
}

/// What every part of the generated code needs of the flow.
pub(crate) struct Scope<'a> {
    pub(crate) header: &'a Header,
    pub(crate) krate: &'a TokenStream,
    /// `const D: usize,` …
    pub(crate) parameters: TokenStream,
    /// `D,` …
    pub(crate) arguments: TokenStream,
    /// Locals of generated code: no name of the user's can meet them.
    pub(crate) site: Span,
    /// The type parameters `E` (scalar), `B` (device), and `F` (the scalar of a flow around this
    /// one), by other names where the user's own words would meet them: items have no hygiene.
    pub(crate) e: Ident,
    pub(crate) b: Ident,
    pub(crate) f: Ident,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(header: &'a Header) -> Self {
        let names: Vec<&Ident> = header.parameters.iter().map(|p| &p.ident).collect();
        Self {
            header,
            krate: &header.attributes.krate,
            parameters: quote!(#(const #names: usize,)*),
            arguments: quote!(#(#names,)*),
            site: Span::mixed_site(),
            e: free("E", header),
            b: free("B", header),
            f: free("F", header),
        }
    }

    /// `cfg` and lint levels of the user's, for every item.
    fn everywhere(&self) -> TokenStream {
        let attributes = &self.header.attributes.everywhere;
        quote!(#(#attributes)*)
    }

    fn root(&self) -> Ident {
        format_ident!("{}Blocks", self.header.name.unraw(), span = self.header.name.span())
    }

    /// As a type: `Vector<3>`.
    pub(crate) fn event(&self, shape: &Shape) -> TokenStream {
        let krate = self.krate;
        let dims: Vec<TokenStream> = shape.dims().iter().map(|dim| dim.argument()).collect();
        match shape {
            Shape::Unknown => quote!(#krate::Vector<1>),
            Shape::Vector(_) => quote!(#krate::Vector<#(#dims),*>),
            Shape::Image(_) => quote!(#krate::Image<#(#dims),*>),
        }
    }

    pub(crate) fn context(&self) -> TokenStream {
        let krate = self.krate;
        match &self.header.context {
            Context::None => quote!(#krate::Unconditional),
            Context::Unknown => quote!(#krate::Vector<1>),
            Context::Size(size) => {
                let size = size.argument();
                quote!(#krate::Vector<#size>)
            }
        }
    }

    /// The numbers a row of the context, as an expression.
    fn context_size(&self) -> TokenStream {
        match self.header.context.size() {
            Some(size) => quote!(#size),
            None => quote!(0),
        }
    }

    /// As a value: `Shape::vector(3)`.
    fn shape(&self, shape: &Shape) -> TokenStream {
        let (krate, dims) = (self.krate, shape.dims());
        let constructor = match shape {
            Shape::Image(_) => quote!(image),
            _ => quote!(vector),
        };
        quote_spanned!(self.site=> #krate::Shape::#constructor(#(#dims),*))
    }
}

fn free(name: &str, header: &Header) -> Ident {
    let mut name = name.to_owned();
    while header.words.contains(&name) {
        name.push('_');
    }
    Ident::new(&name, Span::mixed_site())
}
