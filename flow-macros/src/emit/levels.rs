//! The shapes of a multi-scale flow's latents, where they are those of one `multiscale`.

use proc_macro2::TokenStream;
use quote::quote_spanned;

use super::body::iterations;
use super::Scope;
use crate::architecture::{Architecture, Level, Shape, Step, StepKind};

/// The longest tuple that the runtime knows.
const MOST: usize = 12;

/// `MultiScale` for the struct of the flow's blocks, where the last item is the only `multiscale`.
pub(super) fn levels(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let Some(Step { kind: StepKind::Multiscale(levels), .. }) = flow.steps.last() else {
        return TokenStream::new();
    };
    let parts: Option<Vec<Shape>> = levels.iter().map(part).collect();
    let Some(parts) = parts.filter(|parts| parts.len() <= MOST && count(&flow.steps) == 1) else {
        return TokenStream::new();
    };
    let Scope { krate, parameters, arguments, site, e, .. } = scope;
    let (root, everywhere) = (scope.root(), scope.everywhere());
    let events = parts.iter().map(|part| scope.event(part));
    quote_spanned! {*site=>
        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar> #krate::MultiScale for #root<#arguments #e> {
            type Levels = (#(#events,)*);
        }
    }
}

/// What a level factors out; `None` where its size would be arithmetic on a parameter, which types
/// cannot hold on stable Rust.
fn part(level: &Level) -> Option<Shape> {
    let part = match (&level.output, &level.kept) {
        (output, None) => output.clone(),
        (Shape::Vector(features), Some(kept)) => Shape::Vector(features.minus(kept)?),
        (Shape::Image([channels, height, width]), Some(kept)) => {
            Shape::Image([channels.minus(kept)?, height.clone(), width.clone()])
        }
        (Shape::Unknown, Some(_)) => return None,
    };
    let possible = part.dims().iter().all(|dim| !dim.is_generic_arithmetic());
    possible.then_some(part)
}

fn count(steps: &[Step]) -> usize {
    let within = |step: &Step| iterations(step).into_iter().map(count).sum::<usize>();
    let own = |step: &Step| usize::from(matches!(step.kind, StepKind::Multiscale(_)));
    steps.iter().map(|step| own(step) + within(step)).sum()
}
