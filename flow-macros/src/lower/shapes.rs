//! Follows the shape through the items. After an error the shape is unknown, and nothing that
//! follows is blamed for it.

use std::rc::Rc;

use quote::quote;
use syn::Ident;

use super::rules;
use crate::architecture::{
    Assertion, Block, Fraction, Header, Level, Node, NodeKind, Shape, Step, StepKind, UseBlock,
};
use crate::dim::{Dim, MOST};
use crate::report::{Place, Report};

/// Unrolled bodies each become code; beyond this the compiler would suffer.
const MOST_UNROLLED: u64 = 64;
const MOST_STEPS: usize = 4096;

pub(super) struct Placed {
    pub(super) steps: Vec<Step>,
    pub(super) latent: Shape,
    pub(super) assertions: Vec<Assertion>,
}

pub(super) fn place(nodes: &[Node], header: &Header, report: &Report) -> Placed {
    let mut placer = Placer { report, assertions: Vec::new(), steps: 0, iterations: 1 };
    for dim in header.event.dims().into_iter().chain(header.context.size()) {
        placer.at_least(dim, 1, "a dimension of 0".into());
    }
    if nodes.is_empty() && report.is_empty() {
        let message = format!("`{}` has no items", header.name);
        report.error(&header.name, message, "put blocks between the braces: `actnorm;`");
    }
    let (steps, latent) = placer.sequence(nodes, header.event.clone());
    Placed { steps, latent, assertions: placer.assertions }
}

pub(super) struct Placer<'a> {
    pub(super) report: &'a Report,
    assertions: Vec<Assertion>,
    steps: usize,
    /// How often the body at hand runs, as far as the counts around it are numbers.
    iterations: u64,
}

impl Placer<'_> {
    fn sequence(&mut self, nodes: &[Node], mut shape: Shape) -> (Vec<Step>, Shape) {
        let mut steps = Vec::new();
        for (position, node) in nodes.iter().enumerate() {
            let input = shape;
            let kind;
            (kind, shape) = self.step(&node.kind, &input);
            let label = node.label.clone();
            steps.push(Step { label, position, input, output: shape.clone(), kind });
        }
        (steps, shape)
    }

    fn step(&mut self, node: &NodeKind, input: &Shape) -> (StepKind, Shape) {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return (StepKind::Hole, Shape::Unknown);
        }
        match node {
            NodeKind::Block(block) => (StepKind::Block(block.clone()), self.block(block, input)),
            NodeKind::Use(block) => self.use_block(block, input),
            NodeKind::Repeat { keyword, count, body } => self.repeat(keyword, count, body, input),
            NodeKind::Multiscale { keyword, levels, keep, body } => {
                self.multiscale(keyword, *levels, *keep, body, input)
            }
            NodeKind::Hole { keeps_shape: true } => (StepKind::Hole, input.clone()),
            NodeKind::Hole { keeps_shape: false } => (StepKind::Hole, Shape::Unknown),
        }
    }

    fn block(&mut self, block: &Block, input: &Shape) -> Shape {
        rules::constants(self, block);
        rules::shape(self, block, input).unwrap_or(Shape::Unknown)
    }

    /// A bijection keeps the number of elements, whatever it does to the shape.
    fn use_block(&mut self, block: &Rc<UseBlock>, input: &Shape) -> (StepKind, Shape) {
        let output = block.event.clone().unwrap_or_else(|| input.clone());
        if let (Some(before), Some(after)) = (input.elements(), output.elements()) {
            let message =
                |a: &Dim, b: &Dim| format!("a block that takes {a} elements and gives {b}");
            let help = "an invertible block keeps the number of elements";
            match (before.value, after.value) {
                (Some(a), Some(b)) if a != b => {
                    self.report.error(block.place, message(&before, &after), help);
                    return (StepKind::Use(block.clone()), Shape::Unknown);
                }
                (Some(_), Some(_)) => {}
                _ if before.same(&after) => {}
                _ => self.assert(
                    quote!(#before == #after),
                    message(&before, &after),
                    before.generic || after.generic,
                    block.place,
                ),
            }
        }
        (StepKind::Use(block.clone()), output)
    }

    fn repeat(
        &mut self,
        keyword: &Ident,
        count: &Dim,
        body: &[Node],
        input: &Shape,
    ) -> (StepKind, Shape) {
        self.at_least(count, 1, "a count of 0".into());
        let around = self.iterations;
        let fits = self.multiply(count);
        let (first, output) = self.sequence(body, input.clone());
        self.iterations = around;
        if !fits {
            return (StepKind::Repeat { count: count.clone(), body: first }, Shape::Unknown);
        }
        if matches!(output, Shape::Unknown) || output.same(input) {
            let kind = StepKind::Repeat { count: count.clone(), body: first };
            return (kind, output);
        }
        let count = match count.value {
            Some(count) if count <= MOST_UNROLLED => count,
            Some(count) => {
                let message =
                    format!("{count} iterations of a body that turns {input} into {output}");
                let help = format!(
                    "a body that changes the shape is unrolled: at most {MOST_UNROLLED} times"
                );
                self.report.error(keyword, message, help);
                return (StepKind::Hole, Shape::Unknown);
            }
            None => {
                self.report.error(
                    count.place,
                    format!(
                        "the count of a body that turns {input} into {output} is not a literal"
                    ),
                    "a body that changes the shape is unrolled: write its count out",
                );
                return (StepKind::Hole, Shape::Unknown);
            }
        };
        let mut iterations = vec![first];
        let mut shape = output;
        for _ in 1..count {
            let iteration;
            (iteration, shape) = self.sequence(body, shape);
            iterations.push(iteration);
            if matches!(shape, Shape::Unknown) {
                break;
            }
        }
        self.limit(keyword);
        (StepKind::Unrolled(iterations), shape)
    }

    /// Enters a body: counts that are too many together are an error at the inner one.
    fn multiply(&mut self, count: &Dim) -> bool {
        let (around, Some(value)) = (self.iterations, count.value) else { return true };
        self.iterations = around.saturating_mul(value);
        let fits = self.iterations <= MOST;
        if !fits {
            let message = format!("`repeat {value}` inside of {around} iterations");
            let help = format!("counts of nested repeats multiply to at most {MOST}");
            self.report.error(count.place, message, help);
            // Those inside have been told enough.
            self.iterations = 0;
        }
        fits
    }

    fn multiscale(
        &mut self,
        keyword: &Ident,
        levels: u64,
        keep: Fraction,
        body: &[Node],
        input: &Shape,
    ) -> (StepKind, Shape) {
        if matches!(input, Shape::Image(_)) && input.is_generic() {
            rules::needs_numbers(self, keyword, input);
            return (StepKind::Hole, Shape::Unknown);
        }
        let mut shape = input.clone();
        let mut placed = Vec::new();
        for level in 0..levels {
            let (body, output) = self.sequence(body, shape);
            let last = level + 1 == levels;
            let kept = if last { None } else { self.kept(keyword, level, keep, &output) };
            shape = match (&output, &kept) {
                (Shape::Vector(_), Some(kept)) => Shape::Vector(kept.clone()),
                (Shape::Image([_, h, w]), Some(kept)) => {
                    Shape::Image([kept.clone(), h.clone(), w.clone()])
                }
                _ => Shape::Unknown,
            };
            let stop = !last && kept.is_none();
            placed.push(Level { body, output: output.clone(), kept });
            if stop || matches!(output, Shape::Unknown) {
                return (StepKind::Multiscale(placed), Shape::Unknown);
            }
        }
        self.limit(keyword);
        let latent = input.elements().map_or(Shape::Unknown, Shape::Vector);
        (StepKind::Multiscale(placed), latent)
    }

    /// The share of the features that goes on is a whole number, at least one, and not all.
    fn kept(&mut self, keyword: &Ident, level: u64, keep: Fraction, output: &Shape) -> Option<Dim> {
        let features = output.features()?;
        let Fraction { top, bottom, place } = keep;
        let [numerator, denominator] = [top, bottom].map(|n| Dim::number(n, place));
        let scaled = features.times(&numerator)?;
        let what = if matches!(output, Shape::Image(_)) { "channels" } else { "features" };
        match features.value {
            Some(1) => {
                let message =
                    format!("level {level} ends with {output}, of which no part can leave");
                let help = "take fewer levels, or make channels in the body with `squeeze(2)`";
                self.report.error(keyword, message, help);
                return None;
            }
            Some(count) if scaled.value.is_none_or(|scaled| scaled % bottom != 0) => {
                let message = format!(
                    "level {level} keeps {top}/{bottom} of {count} {what}, which is no whole number"
                );
                let whole = (2..=count).find(|part| count % part == 0).unwrap_or(count);
                let help = format!("write for example `keep = 1/{whole}`, or take fewer levels");
                self.report.error(place, message, help);
                return None;
            }
            Some(_) => {}
            None => {
                let message = format!(
                    "level {level} keeps {top}/{bottom} of its {what}, which is no whole number"
                );
                let condition =
                    quote!((#scaled) % #denominator == 0 && (#scaled) / #denominator >= 1);
                self.assert(condition, message, features.generic, place);
            }
        }
        scaled.over(&denominator)
    }

    fn limit(&mut self, keyword: &Ident) {
        if self.steps > MOST_STEPS {
            let message = format!("more than {MOST_STEPS} items after unrolling");
            let help = "bodies that keep the shape are not unrolled: move them into a `repeat` of their own";
            self.report.error(keyword, message, help);
        }
    }

    pub(super) fn at_least(&mut self, dim: &Dim, least: u64, message: String) {
        if dim.value.is_none() {
            // Lints have nothing to say of this form, whatever the user's expression is.
            let below = Dim::number(least.saturating_sub(1), dim.place);
            self.assert(quote!(#dim > #below), message, dim.generic, dim.place);
        }
    }

    pub(super) fn assert(
        &mut self,
        condition: proc_macro2::TokenStream,
        message: String,
        generic: bool,
        place: Place,
    ) {
        let known = self.assertions.iter().any(|one| {
            one.message == message && one.condition.to_string() == condition.to_string()
        });
        if !known {
            self.assertions.push(Assertion { condition, message, generic, place });
        }
    }
}
