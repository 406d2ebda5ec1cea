//! The type of each block, and the expression that makes it.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use super::body::{Bodies, Field};
use super::conditioned::{autoregressive, coupling, dual_coupling};
use super::Scope;
use crate::architecture::{Block, Level, Step, StepKind};
use crate::catalog::Id;

/// One field a step; an unrolled repeat has one for each iteration.
pub(super) fn fields(
    bodies: &mut Bodies<'_>,
    parent: &Ident,
    step: &Step,
    name: Ident,
) -> Vec<Field> {
    let scope = bodies.scope;
    let (krate, site, e, segment) = (scope.krate, scope.site, &scope.e, step.segment());
    let (kind, made) = match &step.kind {
        StepKind::Block(block) => built_in(scope, block, step),
        StepKind::Use(block) => {
            let (path, values) = (&block.path, &block.arguments);
            let (input, output) = (scope.shape(&step.input), scope.shape(&step.output));
            let context = scope.context_size();
            // Where the path is no component, the error is shown at the path.
            let site = site.located_at(block.place.start);
            let made = quote_spanned! {site=>
                <#path as #krate::Component<#e>>::component(
                    builder,
                    #krate::Site { input: #input, output: #output, context: #context },
                    (#(#values,)*),
                )
            };
            (quote_spanned!(site=> <#path as #krate::Component<#e>>::Block), made)
        }
        StepKind::Repeat { count, body, .. } => {
            let body = bodies.nested(parent, std::slice::from_ref(&segment), body);
            let body_path = turbofish(&body);
            let made = quote_spanned! {site=>
                #krate::blocks::Repeat::new(builder, #count, |builder| #body_path::make(builder))
            };
            (quote!(#krate::blocks::Repeat<#body>), made)
        }
        StepKind::Unrolled(iterations) => {
            return unrolled(bodies, parent, &segment, iterations, &name);
        }
        StepKind::Multiscale(levels) => multiscale(bodies, parent, &segment, levels),
        StepKind::Hole => return Vec::new(),
    };
    let value = quote_spanned!(site=> builder.block(#segment, |builder| #made));
    vec![Field { name, kind, value }]
}

/// `Name<D, E>` as the head of a path.
fn turbofish(kind: &TokenStream) -> TokenStream {
    quote!(<#kind>)
}

fn unrolled(
    bodies: &mut Bodies<'_>,
    parent: &Ident,
    segment: &str,
    iterations: &[Vec<Step>],
    name: &Ident,
) -> Vec<Field> {
    let site = bodies.scope.site;
    iterations
        .iter()
        .enumerate()
        .map(|(iteration, steps)| {
            let inner = iteration.to_string();
            let kind = bodies.nested(parent, &[segment.to_owned(), inner.clone()], steps);
            let path = turbofish(&kind);
            let value = quote_spanned! {site=>
                builder.scope(#segment, |builder| {
                    builder.block(#inner, |builder| #path::make(builder))
                })
            };
            Field { name: format_ident!("{}_{}", name, inner), kind, value }
        })
        .collect()
}

/// `Level<Body0, Level<Body1, LastLevel<Body2>>>`.
fn multiscale(
    bodies: &mut Bodies<'_>,
    parent: &Ident,
    segment: &str,
    levels: &[Level],
) -> (TokenStream, TokenStream) {
    let (krate, site) = (bodies.scope.krate, bodies.scope.site);
    let mut kinds = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let segments = [segment.to_owned(), index.to_string()];
        kinds.push(bodies.nested(parent, &segments, &level.body));
    }
    let locals: Vec<Ident> =
        (0..levels.len()).map(|index| format_ident!("level_{}", index, span = site)).collect();
    let (mut kind, mut value) = (TokenStream::new(), TokenStream::new());
    for ((level, body), local) in levels.iter().zip(&kinds).zip(&locals).rev() {
        let output = bodies.scope.shape(&level.output);
        match &level.kept {
            None => {
                kind = quote!(#krate::blocks::LastLevel<#body>);
                value = quote_spanned!(site=> #krate::blocks::LastLevel::new(#local, #output));
            }
            Some(kept) => {
                kind = quote!(#krate::blocks::Level<#body, #kind>);
                value = quote_spanned! {site=>
                    #krate::blocks::Level::new(#local, #value?, #output, #kept)
                };
            }
        }
    }
    let paths = kinds.iter().map(turbofish);
    let names = (0..levels.len()).map(|index| index.to_string());
    let made = quote_spanned! {site=> {
        #(let #locals = builder.block(#names, |builder| #paths::make(builder))?;)*
        #value
    }};
    (kind, made)
}

fn built_in(scope: &Scope<'_>, block: &Block, step: &Step) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let shape = scope.shape(&step.input);
    let plain = |name: &str| {
        let name = format_ident!("{}", name);
        let kind = quote!(#krate::blocks::#name);
        let made = quote_spanned!(site=> #kind::new(builder, #shape));
        (kind, made)
    };
    match block.row.id {
        Id::Standardize => plain("Standardize"),
        Id::ActNorm => plain("ActNorm"),
        Id::Permute => {
            let kind = quote!(#krate::blocks::Permute);
            let order = block.arguments.choice("order");
            let made = match order.name {
                "roll" => {
                    let by = order.arguments.count("by");
                    quote_spanned!(site=> #kind::roll(builder, #shape, #by))
                }
                "shuffle" => {
                    let seed = order.arguments.seed("seed");
                    quote_spanned!(site=> #kind::shuffle(builder, #shape, #seed))
                }
                _ => quote_spanned!(site=> #kind::reverse(builder, #shape)),
            };
            (kind, made)
        }
        Id::Linear | Id::Conv1x1 => match block.arguments.choice("form").name {
            "diagonal" => plain("Diagonal"),
            "orthogonal" => {
                let kind = quote!(#krate::blocks::Householder);
                let count = step.input.features();
                let made = quote_spanned!(site=> #kind::new(builder, #shape, #count));
                (kind, made)
            }
            "householder" => {
                let kind = quote!(#krate::blocks::Householder);
                let count = block.arguments.choice("form").arguments.count("count");
                let made = quote_spanned!(site=> #kind::new(builder, #shape, #count));
                (kind, made)
            }
            "dense" => plain("LinearDense"),
            "svd" => plain("LinearSvd"),
            "lu" => plain("LinearLu"),
            form => without_code(krate, form),
        },
        Id::AdditiveCoupling | Id::AffineCoupling | Id::SplineCoupling => {
            coupling(scope, block, step)
        }
        Id::MaskedAutoregressive => autoregressive(scope, block, step),
        Id::InverseAutoregressive => {
            let (kind, made) = autoregressive(scope, block, step);
            let made = quote_spanned!(site=> #made.map(#krate::blocks::Inverted::new));
            (quote!(#krate::blocks::Inverted<#kind>), made)
        }
        Id::Tanh
        | Id::Sigmoid
        | Id::Logit
        | Id::NormalCdf
        | Id::LeakyRelu
        | Id::Softplus
        | Id::Scale => elementwise(scope, block, &shape),
        Id::SplineActivation => {
            let kind = quote!(#krate::blocks::SplineActivation);
            let bins = block.arguments.count("bins");
            let (low, high) = block.arguments.pair("slopes");
            let (low, high) = (real(low), real(high));
            let beta = match block.arguments.get("beta") {
                Some(_) => {
                    let beta = real(block.arguments.real("beta"));
                    quote!(::core::option::Option::Some(#beta))
                }
                None => quote!(::core::option::Option::None),
            };
            let made = quote_spanned! {site=>
                #kind::new(builder, #shape, #bins, (#low, #high), #beta)
            };
            (kind, made)
        }
        Id::Planar => plain("Planar"),
        Id::Radial => plain("Radial"),
        Id::Sylvester => {
            let kind = quote!(#krate::blocks::Sylvester);
            let rank = block.arguments.count("rank");
            let made = quote_spanned!(site=> #kind::new(builder, #shape, #rank));
            (kind, made)
        }
        Id::DualAffineCoupling => dual_coupling(scope, block, step),
        Id::InvertibleConv => {
            let kind = quote!(#krate::blocks::InvertibleConv);
            let kernel = block.arguments.count("kernel");
            let kappa = real(block.arguments.real("kappa"));
            let made = quote_spanned!(site=> #kind::new(builder, #shape, #kernel, #kappa));
            (kind, made)
        }
        Id::Squeeze | Id::Unsqueeze => {
            let kind = quote!(#krate::blocks::Rearrange);
            let name = format_ident!("{}", block.row.name);
            let factor = block.arguments.count("factor");
            let made = quote_spanned!(site=> #kind::#name(builder, #shape, #factor));
            (kind, made)
        }
        Id::Flatten => {
            let kind = quote!(#krate::blocks::Rearrange);
            let made = quote_spanned!(site=> #kind::flatten(builder, #shape));
            (kind, made)
        }
        Id::Haar => plain("Haar"),
        _ => without_code(krate, block.row.name),
    }
}

/// One function on every number.
fn elementwise(
    scope: &Scope<'_>,
    block: &Block,
    shape: &TokenStream,
) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let number = |name: &str| {
        let (field, value) = (format_ident!("{}", name), real(block.arguments.real(name)));
        quote!({ #field: #value })
    };
    let (name, fields) = match block.row.id {
        Id::Tanh => ("Tanh", None),
        Id::Sigmoid => ("Sigmoid", None),
        Id::NormalCdf => ("NormalCdf", None),
        Id::Softplus => ("Softplus", None),
        Id::Logit => ("Logit", Some(number("alpha"))),
        Id::LeakyRelu => ("LeakyRelu", Some(number("slope"))),
        _ => ("Scale", Some(number("factor"))),
    };
    let name = format_ident!("{}", name);
    let curve = quote!(#krate::blocks::curves::#name);
    let made = quote_spanned! {site=>
        #krate::blocks::Elementwise::new(builder, #shape, #curve #fields)
    };
    (quote!(#krate::blocks::Elementwise<#curve>), made)
}

/// A row of the catalog that says it has landed, before its code stands here: never a silent
/// stand-in. (A flow with a block that has not landed is an error earlier, and is not emitted.)
pub(super) fn without_code(krate: &TokenStream, name: &str) -> (TokenStream, TokenStream) {
    let message = format!("`{name}` has landed in the catalog, but `flow!` emits no code for it");
    (quote!(#krate::blocks::Standardize), quote!(::core::compile_error!(#message)))
}

pub(super) fn real(value: f64) -> TokenStream {
    let magnitude = Literal::f64_unsuffixed(value.abs());
    if value < 0.0 {
        quote!(-#magnitude)
    } else {
        quote!(#magnitude)
    }
}
