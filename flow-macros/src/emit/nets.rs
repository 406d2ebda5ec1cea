//! The type of each net, and a closure that makes it once the block knows its sizes.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use super::construct::{real, without_code};
use super::Scope;
use crate::architecture::{Arguments, Net, NetKind};
use crate::catalog::NetId;

/// What a module of the user's, which is sized by its types, reads beside the context, and writes.
pub(super) struct Sizes {
    pub(super) inputs: TokenStream,
    pub(super) outputs: TokenStream,
}

/// `lipschitz` is the coefficient of a block that bounds its net.
pub(super) fn net(
    scope: &Scope<'_>,
    net: &Net,
    sizes: &Sizes,
    lipschitz: Option<f64>,
) -> (TokenStream, TokenStream) {
    match &net.kind {
        NetKind::Use(module) => {
            let (krate, e) = (scope.krate, &scope.e);
            let Sizes { inputs, outputs } = sizes;
            let context = scope.context_size();
            // Where the module does not fit, the error is shown at the module.
            let site = scope.site.located_at(net.place.start);
            let kind = quote_spanned! {site=>
                #krate::nets::DfdxNet<#module, { #inputs + #context }, { #outputs }, #e>
            };
            let made = quote_spanned! {site=>
                |builder, inputs, outputs, last| {
                    #krate::nets::DfdxNet::new(builder, inputs, outputs, last)
                }
            };
            (kind, made)
        }
        NetKind::BuiltIn { row, arguments } => {
            built_in(scope, row.id, row.name, arguments, lipschitz.or(net.lipschitz()))
        }
    }
}

fn built_in(
    scope: &Scope<'_>,
    id: NetId,
    name: &str,
    arguments: &Arguments,
    lipschitz: Option<f64>,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let activation = activation(arguments);
    let options = options(krate, arguments, lipschitz);
    match id {
        NetId::Mlp => {
            let hidden = arguments.counts("hidden");
            let made = quote_spanned! {site=>
                |builder, inputs, outputs, last| {
                    #krate::nets::FeedForward::mlp(
                        builder,
                        inputs,
                        outputs,
                        last,
                        &[#(#hidden),*],
                        #krate::nets::Activation::#activation,
                        #options,
                    )
                }
            };
            (quote!(#krate::nets::FeedForward), made)
        }
        NetId::Conv => {
            let (kernels, hidden) = (arguments.counts("kernels"), arguments.count("hidden"));
            let made = quote_spanned! {site=>
                |builder, inputs, outputs, last| {
                    #krate::nets::FeedForward::conv(
                        builder,
                        inputs,
                        outputs,
                        last,
                        &[#(#kernels),*],
                        #hidden,
                        #krate::nets::Activation::#activation,
                        #options,
                    )
                }
            };
            (quote!(#krate::nets::FeedForward), made)
        }
        NetId::ResNet => {
            let (blocks, hidden) = (arguments.count("blocks"), arguments.count("hidden"));
            let attention = arguments.flag("attention");
            let made = quote_spanned! {site=>
                |builder, inputs, outputs, last| {
                    #krate::nets::ResNet::new(
                        builder,
                        inputs,
                        outputs,
                        last,
                        #blocks,
                        #hidden,
                        #krate::nets::Activation::#activation,
                        #attention,
                        #options,
                    )
                }
            };
            (quote!(#krate::nets::ResNet), made)
        }
        NetId::Made => without_code(krate, name),
    }
}

/// The closure that makes the masked net of an autoregressive block.
pub(super) fn made(scope: &Scope<'_>, net: &Net) -> TokenStream {
    let (krate, site) = (scope.krate, scope.site);
    // The checks admit no module here.
    let NetKind::BuiltIn { arguments, .. } = &net.kind else {
        return without_code(krate, "use").1;
    };
    let (hidden, activation) = (arguments.counts("hidden"), activation(arguments));
    let options = options(krate, arguments, net.lipschitz());
    quote_spanned! {site=>
        |builder, shape, context, each, last| {
            #krate::nets::Made::new(
                builder,
                shape.features(),
                context,
                each,
                last,
                &[#(#hidden),*],
                #krate::nets::Activation::#activation,
                #options,
            )
        }
    }
}

fn options(krate: &TokenStream, arguments: &Arguments, lipschitz: Option<f64>) -> TokenStream {
    let zero_init = arguments.flag("zero_init");
    let weight_norm = arguments.flag("weight_norm");
    let lipschitz = match lipschitz {
        Some(c) => {
            let c = real(c);
            quote!(::core::option::Option::Some(#c))
        }
        None => quote!(::core::option::Option::None),
    };
    quote! {
        #krate::nets::NetOptions {
            zero_init: #zero_init,
            lipschitz: #lipschitz,
            weight_norm: #weight_norm,
        }
    }
}

fn activation(arguments: &Arguments) -> Ident {
    let name = match arguments.choice("activation").name {
        "elu" => "Elu",
        "leaky_relu" => "LeakyRelu",
        "tanh" => "Tanh",
        "swish" => "Swish",
        "gelu" => "Gelu",
        "softplus" => "Softplus",
        _ => "Relu",
    };
    format_ident!("{}", name)
}
