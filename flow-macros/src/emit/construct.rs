//! The type of each block, and the expression that makes it.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use super::body::{Bodies, Field};
use super::nets::{net, Sizes};
use super::Scope;
use crate::architecture::{Block, Choice, Keep, Level, Shape, Step, StepKind};
use crate::catalog::Id;
use crate::dim::Dim;

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
            "lu" => plain("LinearLu"),
            form => without_code(krate, form),
        },
        Id::AdditiveCoupling | Id::AffineCoupling | Id::SplineCoupling => {
            coupling(scope, block, step)
        }
        Id::Residual => residual(scope, block, step),
        Id::Ode => ode(scope, block, step),
        _ => without_code(krate, block.row.name),
    }
}

/// A row of the catalog that says it has landed, before its code stands here: never a silent
/// stand-in. (A flow with a block that has not landed is an error earlier, and is not emitted.)
pub(super) fn without_code(krate: &TokenStream, name: &str) -> (TokenStream, TokenStream) {
    let message = format!("`{name}` has landed in the catalog, but `flow!` emits no code for it");
    (quote!(#krate::blocks::Standardize), quote!(::core::compile_error!(#message)))
}

fn coupling(scope: &Scope<'_>, block: &Block, step: &Step) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let (transform, value, each) = match block.row.id {
        Id::AffineCoupling => {
            let scale = scale(krate, block.arguments.choice("scale"));
            (quote!(Affine), quote!(#krate::transforms::Affine::new(#scale)), quote!(2))
        }
        Id::SplineCoupling => {
            let (bins, bound) =
                (block.arguments.count("bins"), real(block.arguments.real("bound")));
            let value = quote!(#krate::transforms::Spline::new(#bins, #bound));
            (quote!(Spline), value, quote!((3 * (#bins) - 1)))
        }
        _ => (quote!(Additive), quote!(#krate::transforms::Additive::new()), quote!(1)),
    };
    let keep = block.keep.unwrap_or(Keep::First);
    let split = format_ident!("{}", split(keep));
    let (inputs, outputs) = sizes(&step.input, keep);
    let sizes = Sizes { inputs: quote!(#inputs), outputs: quote!((#outputs) * #each) };
    let (net_kind, net) = net(scope, block.arguments.net(), &sizes, None);
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

fn residual(scope: &Scope<'_>, block: &Block, step: &Step) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let arguments = &block.arguments;
    let log_det = arguments.choice("log_det");
    let determinant = match log_det.name {
        "series" => {
            let terms = log_det.arguments.count("terms");
            let trace = trace(krate, log_det.arguments.choice("trace"));
            quote!(Series { terms: #terms, trace: #trace })
        }
        "roulette" => {
            let p = real(log_det.arguments.real("p"));
            let exact_terms = log_det.arguments.count("exact_terms");
            quote!(Roulette { p: #p, exact_terms: #exact_terms })
        }
        _ => quote!(Exact),
    };
    let coefficient = arguments.real("lipschitz");
    let features = step.input.features();
    let sizes = Sizes { inputs: quote!(#features), outputs: quote!(#features) };
    let (net_kind, net) = net(scope, arguments.net(), &sizes, Some(coefficient));
    let kind = quote!(#krate::blocks::Residual<#net_kind>);
    let (shape, context) = (scope.shape(&step.input), scope.context_size());
    let (coefficient, tolerance) = (real(coefficient), real(arguments.real("tolerance")));
    let made = quote_spanned! {site=>
        #krate::blocks::Residual::new(
            builder,
            #shape,
            #context,
            #coefficient,
            #krate::blocks::Determinant::#determinant,
            #tolerance,
            #net,
        )
    };
    (kind, made)
}

fn ode(scope: &Scope<'_>, block: &Block, step: &Step) -> (TokenStream, TokenStream) {
    let (krate, site) = (scope.krate, scope.site);
    let arguments = &block.arguments;
    let solver = arguments.choice("solver");
    let solver = match solver.name {
        "dopri5" => {
            let tolerance = real(solver.arguments.real("tolerance"));
            quote!(Dopri5 { tolerance: #tolerance })
        }
        _ => {
            let steps = solver.arguments.count("steps");
            quote!(Rk4 { steps: #steps })
        }
    };
    let trace = trace(krate, arguments.choice("trace"));
    let features = step.input.features();
    let sizes = Sizes { inputs: quote!(#features), outputs: quote!(#features) };
    let (net_kind, net) = net(scope, arguments.net(), &sizes, None);
    let kind = quote!(#krate::blocks::Ode<#net_kind>);
    let (shape, context) = (scope.shape(&step.input), scope.context_size());
    let time = real(arguments.real("time"));
    let made = quote_spanned! {site=>
        #krate::blocks::Ode::new(
            builder,
            #shape,
            #context,
            #time,
            #krate::blocks::Solver::#solver,
            #trace,
            #net,
        )
    };
    (kind, made)
}

fn trace(krate: &TokenStream, trace: &Choice) -> TokenStream {
    match trace.name {
        "hutchinson" => quote!(#krate::blocks::Trace::Hutchinson),
        _ => quote!(#krate::blocks::Trace::Exact),
    }
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

pub(super) fn real(value: f64) -> TokenStream {
    let magnitude = Literal::f64_unsuffixed(value.abs());
    if value < 0.0 {
        quote!(-#magnitude)
    } else {
        quote!(#magnitude)
    }
}
