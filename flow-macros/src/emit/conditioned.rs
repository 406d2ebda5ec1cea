//! Blocks that a net steers: couplings and autoregressive blocks.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::construct::real;
use super::nets::{made, net, Sizes};
use super::Scope;
use crate::architecture::{Arguments, Block, Choice, Keep, Shape, Step};
use crate::catalog::Id;
use crate::dim::Dim;

pub(super) fn coupling(
    scope: &Scope<'_>,
    block: &Block,
    step: &Step,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let (transform, value, each) = match block.row.id {
        Id::AffineCoupling => affine(scope, block),
        Id::SplineCoupling => spline(krate, &block.arguments),
        _ => (quote!(Additive), quote!(#krate::transforms::Additive::new()), quote!(1)),
    };
    let keep = block.keep.unwrap_or(Keep::First);
    let split = format_ident!("{}", split(keep));
    let (net_kind, net) = conditioner(scope, block, step, keep, &each);
    let kind = quote!(#krate::blocks::Coupling<#net_kind, #krate::transforms::#transform>);
    let (shape, context) = (scope.shape(&step.input), scope.context_size());
    let made = quote_spanned! {site=>
        #krate::blocks::Coupling::new(
            builder,
            #shape,
            #context,
            #krate::blocks::Split::#split,
            #value,
            #net,
        )
    };
    (kind, made)
}

pub(super) fn autoregressive(
    scope: &Scope<'_>,
    block: &Block,
    step: &Step,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let choice = block.arguments.choice("transform");
    let (transform, value, _) = match choice.name {
        "spline" => spline(krate, &choice.arguments),
        _ => affine(scope, block),
    };
    let net = made(scope, block.arguments.net());
    let (shape, context) = (scope.shape(&step.input), scope.context_size());
    let kind = quote!(#krate::blocks::MaskedAutoregressive<#krate::transforms::#transform>);
    let made = quote_spanned! {site=>
        #krate::blocks::MaskedAutoregressive::new(builder, #shape, #context, #value, #net)
    };
    (kind, made)
}

/// Two couplings in one block: the first keeps the second half.
pub(super) fn dual_coupling(
    scope: &Scope<'_>,
    block: &Block,
    step: &Step,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let (transform, value, each) = affine(scope, block);
    let (first_kind, first) = conditioner(scope, block, step, Keep::Second, &each);
    let (second_kind, second) = conditioner(scope, block, step, Keep::First, &each);
    let kind = quote! {
        #krate::blocks::DualCoupling<#first_kind, #second_kind, #krate::transforms::#transform>
    };
    let (shape, context) = (scope.shape(&step.input), scope.context_size());
    let made = quote_spanned! {site=>
        #krate::blocks::DualCoupling::new(builder, #shape, #context, #value, #first, #second)
    };
    (kind, made)
}

/// An affine transform: its name, its value, and the numbers that each feature takes of the net.
fn affine(scope: &Scope<'_>, block: &Block) -> (TokenStream, TokenStream, TokenStream) {
    let krate = scope.krate;
    let scale = scale(krate, block.arguments.choice("scale"));
    (quote!(Affine), quote!(#krate::transforms::Affine::new(#scale)), quote!(2))
}

/// The same of a spline.
fn spline(krate: &TokenStream, arguments: &Arguments) -> (TokenStream, TokenStream, TokenStream) {
    let (bins, bound) = (arguments.count("bins"), real(arguments.real("bound")));
    let value = quote!(#krate::transforms::Spline::new(#bins, #bound));
    (quote!(Spline), value, quote!((3 * (#bins) - 1)))
}

/// The net of a coupling with the hats of its scale, if it has any.
fn conditioner(
    scope: &Scope<'_>,
    block: &Block,
    step: &Step,
    keep: Keep,
    each: &TokenStream,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let (inputs, outputs) = sizes(&step.input, keep);
    let sizes = Sizes { inputs: quote!(#inputs), outputs: quote!((#outputs) * #each) };
    let (kind, made) = net(scope, block.arguments.net(), &sizes, None);
    let hats = block.arguments.get("scale").map(|_| block.arguments.choice("scale"));
    let Some(hats) = hats.filter(|scale| scale.name == "mexican_hat") else { return (kind, made) };
    let (m, beta) = (hats.arguments.count("m"), real(hats.arguments.real("beta")));
    let made = quote_spanned! {site=>
        |builder, inputs, outputs, last| {
            #krate::nets::MexicanHat::new(builder, inputs, outputs, last, #m, #beta, #made)
        }
    };
    (quote!(#krate::nets::MexicanHat<#kind>), made)
}

fn split(keep: Keep) -> &'static str {
    match keep {
        Keep::First => "First",
        Keep::Second => "Second",
        Keep::Even => "Even",
        Keep::Odd => "Odd",
        Keep::CheckerEven => "CheckerEven",
        Keep::CheckerOdd => "CheckerOdd",
    }
}

fn scale(krate: &TokenStream, scale: &Choice) -> TokenStream {
    let number = |name| real(scale.arguments.real(name));
    match scale.name {
        "tanh" => {
            let limit = number("limit");
            quote!(#krate::transforms::Scale::Tanh { limit: #limit })
        }
        "sigmoid" => {
            let (low, high, shift) = (number("low"), number("high"), number("shift"));
            quote!(#krate::transforms::Scale::Sigmoid { low: #low, high: #high, shift: #shift })
        }
        _ => quote!(#krate::transforms::Scale::Exp),
    }
}

/// Features that pass and that are transformed.
fn sizes(input: &Shape, keep: Keep) -> (Option<Dim>, Option<Dim>) {
    let Some(features) = input.features() else { return (None, None) };
    let larger = matches!(keep, Keep::Second | Keep::Even);
    (features.half(larger), features.half(!larger))
}
