//! What only rustc can compute, checked by const assertions with the macro's own words.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned, ToTokens};
use syn::Ident;

use super::body::iterations;
use super::Scope;
use crate::architecture::{
    Architecture, Assertion, ContractKind, Header, Shape, Step, StepKind, UseBlock,
};
use crate::check::{constant, through, Direction};
use crate::dim::mentions;

/// Assertions over numbers and named constants, checked even where no flow is built.
pub(super) fn module(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let everywhere = scope.everywhere();
    let all = all(scope, flow);
    let checks = all.iter().filter(|one| !one.generic).map(check);
    quote!(#(#everywhere const _: () = #checks;)*)
}

/// Assertions over const parameters, which have values only where the flow is built.
pub(super) fn associated(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let all = all(scope, flow);
    let checks = all.iter().filter(|one| one.generic).map(check);
    quote!(const ASSERTIONS: () = { #(#checks;)* };)
}

fn check(assertion: &Assertion) -> TokenStream {
    let Assertion { condition, message, place, .. } = assertion;
    quote_spanned!(place.start=> ::core::assert!(#condition, #message))
}

fn all(scope: &Scope<'_>, flow: &Architecture) -> Vec<Assertion> {
    let mut all: Vec<Assertion> = flow.assertions.clone();
    let mut uses = Vec::new();
    collect(&flow.steps, &mut uses);
    for (block, step) in &uses {
        all.extend(stands(scope, block, &step.input, &step.output));
        all.extend(contracts(scope, block));
    }
    all.extend(budgets(scope, flow, !uses.is_empty()));
    all
}

fn collect<'a>(steps: &'a [Step], uses: &mut Vec<(&'a UseBlock, &'a Step)>) {
    for step in steps {
        if let StepKind::Use(block) = &step.kind {
            uses.push((block, step));
        }
        for body in iterations(step) {
            collect(body, uses);
        }
    }
}

/// A block of the user's stands on the shape, gives the shape and sees the context that it says.
fn stands(
    scope: &Scope<'_>,
    block: &UseBlock,
    input: &Shape,
    output: &Shape,
) -> impl Iterator<Item = Assertion> {
    let (krate, path, place) = (scope.krate, &block.path, block.place);
    let component = quote!(<#path as #krate::Component<f32>>);
    let (input_shape, output_shape) = (scope.shape(input), scope.shape(output));
    let context = scope.context_size();
    let name = crate::dim::readable(&path.to_token_stream());
    let generic = is_generic(scope.header, path) || input.is_generic() || output.is_generic();
    let generic_context = scope.header.context.size().is_some_and(|size| size.generic);
    [
        (
            quote!(#krate::private::fits(#component::INPUT, #input_shape)),
            format!("`{name}` does not take {input}"),
            generic,
        ),
        (
            quote!(#krate::private::fits(#component::OUTPUT, #output_shape)),
            format!("`{name}` does not give {output}: write `use {name} -> event`"),
            generic,
        ),
        (
            quote!(#component::CONTEXT == 0 || #component::CONTEXT == #context),
            format!("`{name}` needs another context than the flow has"),
            generic || generic_context,
        ),
    ]
    .map(|(condition, message, generic)| Assertion { condition, message, generic, place })
    .into_iter()
}

fn contracts<'a>(
    scope: &'a Scope<'_>,
    block: &'a UseBlock,
) -> impl Iterator<Item = Assertion> + 'a {
    let (krate, path) = (scope.krate, &block.path);
    let name = crate::dim::readable(&path.to_token_stream());
    let facts = quote!(<#path as #krate::Component<f32>>::FACTS);
    scope.header.attributes.contracts.iter().filter_map(move |contract| {
        let condition = match contract.kind {
            ContractKind::AnalyticInverse => quote!(#facts.analytic_inverse),
            ContractKind::VolumePreserving => {
                quote!(::core::matches!(#facts.log_det, #krate::LogDet::Zero))
            }
            ContractKind::ConstantLogDet => {
                quote!(!::core::matches!(#facts.log_det, #krate::LogDet::Varying))
            }
            ContractKind::BiLipschitz => quote!(#facts.bi_lipschitz),
            ContractKind::MemorySaving => quote!(#facts.memory_saving),
            ContractKind::Lipschitz { .. } => return None,
        };
        let message = format!("`{name}` breaks `{}`, as its `FACTS` say", contract.kind.name());
        let generic = is_generic(scope.header, path);
        Some(Assertion { condition, message, generic, place: block.place })
    })
}

/// Budgets whose product the macro could not compute.
fn budgets(scope: &Scope<'_>, flow: &Architecture, has_uses: bool) -> Vec<Assertion> {
    let mut all = Vec::new();
    for contract in &flow.header.attributes.contracts {
        let ContractKind::Lipschitz { forward, inverse } = contract.kind else { continue };
        for (direction, budget) in [(Direction::Forward, forward), (Direction::Inverse, inverse)] {
            let Some(budget) = budget else { continue };
            let product = through(&flow.steps, direction, scope.krate);
            if !has_uses && product.clone().into_iter().count() == 1 {
                continue;
            }
            let way = direction.name();
            // Rounding must not break a budget that is met exactly.
            let limit = constant(budget * (1.0 + 1e-9));
            let parameters: Vec<Ident> = parameters(scope.header);
            all.push(Assertion {
                generic: mentions(&product, &parameters),
                condition: quote!(#product <= #limit),
                message: format!(
                    "the product of the {way} bounds through the flow is over the budget of {budget}"
                ),
                place: contract.place,
            });
        }
    }
    all
}

fn parameters(header: &Header) -> Vec<Ident> {
    header.parameters.iter().map(|parameter| parameter.ident.clone()).collect()
}

fn is_generic(header: &Header, path: &syn::Path) -> bool {
    mentions(&path.to_token_stream(), &parameters(header))
}
