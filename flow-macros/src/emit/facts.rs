//! What the generated code states of itself: facts, and the lines of the summary.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::body::iterations;
use super::Scope;
use crate::architecture::{Step, StepKind};
use crate::catalog::{Bound, Facts, LogDet};
use crate::check::{constant, through, Direction};

/// The facts of steps in a row, as a constant expression.
pub(super) fn of_steps(scope: &Scope<'_>, steps: &[Step]) -> TokenStream {
    let krate = scope.krate;
    let mut each = Vec::new();
    collect(scope, steps, &mut each);
    let forward = through(steps, Direction::Forward, krate);
    let inverse = through(steps, Direction::Inverse, krate);
    quote! {
        #krate::Facts {
            forward: #forward,
            inverse: #inverse,
            ..#krate::Facts::ISOMETRY #(.then(#each))*
        }
    }
}

/// Iterations and levels are alike, so one of each speaks for all.
fn collect(scope: &Scope<'_>, steps: &[Step], each: &mut Vec<TokenStream>) {
    for step in steps {
        match &step.kind {
            StepKind::Block(_) | StepKind::Use(_) => {
                let facts = of_step(scope, step);
                if !each.iter().any(|known| known.to_string() == facts.to_string()) {
                    each.push(facts);
                }
            }
            _ => {
                for body in iterations(step) {
                    collect(scope, body, each);
                }
            }
        }
    }
}

fn of_step(scope: &Scope<'_>, step: &Step) -> TokenStream {
    let krate = scope.krate;
    match &step.kind {
        StepKind::Block(block) => literal(krate, &block.facts()),
        StepKind::Use(block) => {
            let (path, e) = (&block.path, &scope.e);
            quote!(<#path as #krate::Component<#e>>::FACTS)
        }
        _ => quote!(#krate::Facts::UNKNOWN),
    }
}

fn literal(krate: &TokenStream, facts: &Facts) -> TokenStream {
    let log_det = format_ident!(
        "{}",
        match facts.log_det {
            LogDet::Zero => "Zero",
            LogDet::Constant => "Constant",
            LogDet::Varying => "Varying",
        }
    );
    let (analytic, memory) = (facts.analytic_inverse.is_ok(), facts.memory_saving.is_ok());
    let (finite, invertible) = (facts.bi_lipschitz.is_ok(), facts.invertible);
    let (forward, inverse) = (bound(facts.forward), bound(facts.inverse));
    quote! {
        #krate::Facts {
            analytic_inverse: #analytic,
            log_det: #krate::LogDet::#log_det,
            bi_lipschitz: #finite,
            memory_saving: #memory,
            invertible: #invertible,
            forward: #forward,
            inverse: #inverse,
        }
    }
}

fn bound(bound: Bound) -> TokenStream {
    match bound {
        Bound::At { value, .. } => constant(value),
        Bound::None(_) => constant(f64::INFINITY),
    }
}

/// One line a block, in order.
pub(super) fn items(scope: &Scope<'_>, steps: &[Step]) -> Vec<TokenStream> {
    let mut lines = Vec::new();
    append(scope, steps, "", &quote!(1), &mut lines);
    lines
}

fn append(
    scope: &Scope<'_>,
    steps: &[Step],
    prefix: &str,
    count: &TokenStream,
    lines: &mut Vec<TokenStream>,
) {
    for step in steps {
        let path = format!("{prefix}{}", step.segment());
        match &step.kind {
            StepKind::Repeat { count: times, body, .. } => {
                let count = if count.to_string() == "1" {
                    quote!(#times)
                } else {
                    quote!(#count * (#times))
                };
                append(scope, body, &format!("{path}.*."), &count, lines);
            }
            StepKind::Unrolled(_) | StepKind::Multiscale(_) => {
                for (index, body) in iterations(step).into_iter().enumerate() {
                    append(scope, body, &format!("{path}.{index}."), count, lines);
                }
            }
            StepKind::Block(_) | StepKind::Use(_) => {
                lines.push(line(scope, step, &path, count));
            }
            StepKind::Hole => {}
        }
    }
}

fn line(scope: &Scope<'_>, step: &Step, path: &str, count: &TokenStream) -> TokenStream {
    let krate = scope.krate;
    let text = match &step.kind {
        StepKind::Block(block) => &block.text,
        StepKind::Use(block) => &block.text,
        _ => "",
    };
    let (input, output) = (scope.shape(&step.input), scope.shape(&step.output));
    let facts = of_step(scope, step);
    quote_spanned! {scope.site=>
        #krate::Item {
            path: #path,
            text: #text,
            count: #count,
            input: #input,
            output: #output,
            facts: #facts,
        }
    }
}
