//! What a conditional flow says where it is asked without its context.
//!
//! It does not implement `NormalizingFlow`, so rustc would say of `flow.log_prob(x)` that the method
//! exists with bounds that do not hold. These methods have the names and types of that trait's and
//! ask for it, so that a call is an error with the trait's own help.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{free, Scope};

pub(super) fn unasked(scope: &Scope<'_>, blocks: &TokenStream) -> TokenStream {
    let Scope { header, krate, parameters, arguments, site, e, .. } = scope;
    let (name, everywhere) = (&header.name, scope.everywhere());
    let [n, t] = ["N", "T"].map(|name| free(name, header));
    let data = quote!(#krate::private::DataOf<#blocks, #e, #n, #t>);
    let latents = quote!(#krate::private::LatentsOf<#blocks, #e, #n, #t>);
    let numbers = quote!(#krate::private::NumbersOf<#e, #n, #t>);
    let batched = quote!(<#n: #krate::private::Dim, #t: #krate::private::Tape<#e, #krate::Cpu>>);
    let drawn = quote!(
        #krate::private::DataOf<#blocks, #e, usize, #krate::private::NoneTape>
    );
    let methods = [
        (quote!(forward), Some(&batched), quote!(_: #data), quote!((#latents, #numbers))),
        (quote!(inverse), Some(&batched), quote!(_: #latents), quote!((#data, #numbers))),
        (quote!(log_prob), Some(&batched), quote!(_: #data), numbers.clone()),
        (quote!(sample), None, quote!(_: usize, _: &mut #krate::Noise), drawn),
    ];
    let methods = methods.iter().map(|(method, generics, taken, given)| {
        quote_spanned! {*site=>
            pub fn #method #generics(
                &self,
                #taken
            ) -> ::core::result::Result<#given, #krate::FlowError>
            where
                Self: #krate::NormalizingFlow,
            {
                #krate::private::unasked::<#blocks, #e, _>()
            }
        }
    });
    quote_spanned! {*site=>
        #everywhere
        #[doc(hidden)]
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar> #name<#arguments #e, #krate::Cpu> {
            #(#methods)*
        }
    }
}
