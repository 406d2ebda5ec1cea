//! Blocks whose log-determinant is made of their net's Jacobian: residual and continuous ones.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::construct::real;
use super::nets::{net, Sizes};
use super::Scope;
use crate::architecture::{Block, Choice, Step};

pub(super) fn residual(
    scope: &Scope<'_>,
    block: &Block,
    step: &Step,
) -> (TokenStream, TokenStream) {
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

pub(super) fn ode(scope: &Scope<'_>, block: &Block, step: &Step) -> (TokenStream, TokenStream) {
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
