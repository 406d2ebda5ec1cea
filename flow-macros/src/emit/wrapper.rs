//! The user's struct: a [`Flow`] of its blocks, with the name and attributes that the user gave.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::unasked::unasked;
use super::{free, Scope};
use crate::architecture::Context;

/// `blocks` is the architecture's type, with `E` free; `docs` follow the user's own.
pub(crate) fn wrapper(scope: &Scope<'_>, blocks: &TokenStream, docs: &str) -> TokenStream {
    let Scope { header, krate, parameters, arguments, site, e, b, .. } = scope;
    let (name, visibility) = (&header.name, &header.visibility);
    let (everywhere, declared) = (scope.everywhere(), &header.parameters);
    let (user_docs, others) = (&header.attributes.docs, &header.attributes.others);
    let docs = (!docs.is_empty()).then(|| quote!(#[doc = #docs]));
    let item = quote_spanned! {*site=>
        #(#user_docs)*
        #docs
        #everywhere
        #(#others)*
        #visibility struct #name<
            #(#declared,)*
            #e: #krate::Scalar = f32,
            #b: #krate::Backend = #krate::Cpu,
        >(#krate::Flow<#blocks, #e, #b>);

        #everywhere
        impl<#parameters #e: #krate::Scalar, #b: #krate::Backend> #name<#arguments #e, #b> {
            /// Builds the flow with starting weights drawn from `seed`.
            ///
            /// # Errors
            /// Where a block of one's own cannot stand where it does.
            pub fn build(device: &#b, seed: u64) -> ::core::result::Result<Self, #krate::FlowError> {
                ::core::result::Result::map(#krate::Flow::build(device, seed), Self)
            }

            /// The flow with the weights of a file that `save` wrote.
            ///
            /// # Errors
            /// A file that cannot be read, or that belongs to another flow.
            pub fn load(
                device: &#b,
                path: impl ::core::convert::AsRef<::std::path::Path>,
            ) -> ::core::result::Result<Self, #krate::FlowError> {
                ::core::result::Result::map(#krate::Flow::load(device, path), Self)
            }
        }

        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar, #b: #krate::Backend> ::core::ops::Deref
            for #name<#arguments #e, #b>
        {
            type Target = #krate::Flow<#blocks, #e, #b>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar, #b: #krate::Backend> ::core::ops::DerefMut
            for #name<#arguments #e, #b>
        {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.0
            }
        }

        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar, #b: #krate::Backend>
            ::core::convert::From<#krate::Flow<#blocks, #e, #b>> for #name<#arguments #e, #b>
        {
            fn from(flow: #krate::Flow<#blocks, #e, #b>) -> Self {
                Self(flow)
            }
        }
    };
    let passes = passes(scope, blocks);
    let tensors = tensors(scope);
    quote!(#item #passes #tensors)
}

/// An unconditional flow can do itself what the view of a conditional one can.
fn passes(scope: &Scope<'_>, blocks: &TokenStream) -> TokenStream {
    if !matches!(scope.header.context, Context::None) {
        return unasked(scope, blocks);
    }
    let Scope { header, krate, parameters, arguments, site, e, .. } = scope;
    let (name, everywhere) = (&header.name, scope.everywhere());
    quote_spanned! {*site=>
        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar> #krate::NormalizingFlow
            for #name<#arguments #e, #krate::Cpu>
        {
            type Scalar = #e;
            type Architecture = #blocks;
            type Tape = #krate::private::NoneTape;

            fn view(
                &self,
            ) -> ::core::result::Result<#krate::View<'_, #blocks, #e>, #krate::FlowError> {
                #krate::NormalizingFlow::view(&self.0)
            }
        }
    }
}

/// dfdx's optimisers see the weights. (`Cpu: Device<E>` does not follow from `E: Scalar`, hence one
/// for each.)
fn tensors(scope: &Scope<'_>) -> TokenStream {
    let Scope { header, krate, parameters, arguments, site, .. } = scope;
    let (name, everywhere) = (&header.name, scope.everywhere());
    let [e2, d2, v] = ["E2", "D2", "V"].map(|name| free(name, header));
    let one = |scalar: TokenStream| {
        quote_spanned! {*site=>
            #everywhere
            #[automatically_derived]
            impl<#parameters> #krate::private::TensorCollection<#scalar, #krate::Cpu>
                for #name<#arguments #scalar, #krate::Cpu>
            {
                type To<#e2: #krate::private::Dtype, #d2: #krate::private::Device<#e2>> = ();

                fn iter_tensors<#v: #krate::private::ModuleVisitor<Self, #scalar, #krate::Cpu>>(
                    visitor: &mut #v,
                ) -> ::core::result::Result<::core::option::Option<()>, #v::Err> {
                    visitor.visit_fields(
                        <Self as #krate::private::TensorCollection<#scalar, #krate::Cpu>>::module(
                            "",
                            |flow| &flow.0,
                            |flow| &mut flow.0,
                        ),
                        |_| (),
                    )
                }
            }
        }
    };
    let (single, double) = (one(quote!(f32)), one(quote!(f64)));
    quote!(#single #double)
}
