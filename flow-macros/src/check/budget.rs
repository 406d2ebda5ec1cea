//! Lipschitz budgets: architectural bounds, multiplied through the flow as logarithms.

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};
use quote::quote;

use super::nets::visit;
use crate::architecture::{Architecture, Block, Step, StepKind};
use crate::catalog::{Bound, Facts};
use crate::report::{Place, Report};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Inverse,
}

impl Direction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Inverse => "inverse",
        }
    }

    fn of(self, facts: &Facts) -> Bound {
        match self {
            Self::Forward => facts.forward,
            Self::Inverse => facts.inverse,
        }
    }
}

/// The product of all bounds is within the budget; where it is not, the block is named that
/// carries it over.
pub(super) fn within(
    flow: &Architecture,
    direction: Direction,
    budget: f64,
    place: Place,
    report: &Report,
) {
    let way = direction.name();
    let contract = format!("`#[require(lipschitz({way} <= {budget}))]`");
    let name = &flow.header.name;
    let mut bounded = true;
    visit(&flow.steps, &mut |block, _| {
        let Bound::None(why) = direction.of(&block.facts()) else { return };
        bounded = false;
        let message = format!(
            "`{}` has no {way} bound that holds for all weights: {why}\nnote: {contract} stands on `{name}`",
            block.row.name
        );
        report.error(block.place, message, bound_help(block));
    });
    if !bounded {
        return;
    }
    let limit = budget.ln();
    let mut walk = Walk { direction, limit, crossing: None };
    // Unknown pieces (blocks of the user's, counts that only rustc knows) are left to an assertion.
    let Some(total) = walk.through(&flow.steps, 0.0) else { return };
    if !exceeds(total, limit) {
        return;
    }
    let total = number(total);
    let Some(crossing) = walk.crossing else {
        // A budget below 1, which an empty flow would break too: no block is to blame.
        let message = format!(
            "the product of the {way} bounds through `{name}` is {total}, over the budget of {budget}"
        );
        report.error(place, message, format!("allow `{way} <= {total}`, or contract further"));
        return;
    };
    let block = crossing.block;
    let message = format!(
        "`{}` has the {way} bound {}, which brings the product through the flow to {}, over the budget of {budget}\nnote: the whole of `{name}` comes to {total}, {contract} allows {budget}",
        block.row.name,
        number(crossing.bound),
        number(crossing.product),
    );
    let help = format!("lower the bounds, take fewer blocks, or allow `{way} <= {total}`");
    report.error(block.place, message, help);
}

fn bound_help(block: &Block) -> String {
    let id = block.row.id;
    if id == crate::catalog::Id::AdditiveCoupling || id == crate::catalog::Id::Ode {
        return "write `lipschitz = 1.0` in its net".into();
    }
    "`additive_coupling` with `lipschitz = c` on its net, `residual(…)` and `linear(orthogonal)` have one".into()
}

/// Rounding of logarithms must not break a budget that is met exactly.
fn exceeds(log: f64, limit: f64) -> bool {
    log > limit + 1e-12 * (1.0 + limit.abs())
}

struct Walk<'a> {
    direction: Direction,
    limit: f64,
    /// The last block that took the product over the limit.
    crossing: Option<Crossing<'a>>,
}

struct Crossing<'a> {
    block: &'a Block,
    bound: f64,
    product: f64,
}

impl<'a> Walk<'a> {
    /// The product after the steps, from the product before them; `None` where a piece is unknown.
    fn through(&mut self, steps: &'a [Step], mut product: f64) -> Option<f64> {
        for step in steps {
            product = match &step.kind {
                StepKind::Block(block) => {
                    let bound = self.direction.of(&block.facts()).log()?;
                    let after = product + bound;
                    if exceeds(after, self.limit) && !exceeds(product, self.limit) {
                        self.crossing = Some(Crossing { block, bound, product: after });
                    }
                    after
                }
                StepKind::Repeat { count, body, .. } => self.repeat(count.value?, body, product)?,
                StepKind::Unrolled(iterations) => iterations
                    .iter()
                    .try_fold(product, |product, body| self.through(body, product))?,
                // What leaves at a level is stretched by the levels so far alone.
                StepKind::Multiscale(levels) => {
                    let mut most = f64::NEG_INFINITY;
                    for level in levels {
                        product = self.through(&level.body, product)?;
                        most = most.max(product);
                    }
                    most
                }
                StepKind::Use(_) | StepKind::Hole => return None,
            };
        }
        Some(product)
    }

    /// Without walking every iteration: the one in which the limit is passed is computed.
    fn repeat(&mut self, count: u64, body: &'a [Step], product: f64) -> Option<f64> {
        let mut silent = Walk { direction: self.direction, limit: f64::INFINITY, crossing: None };
        let once = silent.through(body, 0.0)?;
        let passing = ((self.limit - product) / once).floor();
        let last = (count - 1) as f64;
        let iteration = if once > 0.0 { passing.clamp(0.0, last) } else { 0.0 };
        for iteration in [iteration, (iteration + 1.0).min(last)] {
            self.through(body, product + iteration * once)?;
        }
        Some(product + count as f64 * once)
    }
}

/// The bound of the steps as a constant expression, in which blocks of the user's and counts that
/// only rustc knows stand by name.
pub(crate) fn through(steps: &[Step], direction: Direction, krate: &TokenStream) -> TokenStream {
    let mut silent = Walk { direction, limit: f64::INFINITY, crossing: None };
    if let Some(log) = silent.through(steps, 0.0) {
        return constant(log.exp());
    }
    let factors = steps.iter().map(|step| factor(step, direction, krate));
    quote!(1.0 #(* #factors)*)
}

fn factor(step: &Step, direction: Direction, krate: &TokenStream) -> TokenStream {
    match &step.kind {
        StepKind::Block(block) => match direction.of(&block.facts()) {
            Bound::At { value, .. } => constant(value),
            Bound::None(_) => quote!(f64::INFINITY),
        },
        StepKind::Use(block) => {
            let (path, way) = (&block.path, quote::format_ident!("{}", direction.name()));
            quote!(<#path as #krate::Component<f32>>::FACTS.#way)
        }
        StepKind::Repeat { count, body, .. } => {
            let once = through(body, direction, krate);
            quote!({
                let mut product = 1.0;
                let mut iteration = 0;
                while iteration < #count {
                    product *= #once;
                    iteration += 1;
                }
                product
            })
        }
        StepKind::Unrolled(iterations) => {
            let factors = iterations.iter().map(|body| through(body, direction, krate));
            quote!(#(#factors)**)
        }
        StepKind::Multiscale(levels) => {
            let bodies: Vec<_> =
                levels.iter().map(|level| through(&level.body, direction, krate)).collect();
            quote!({
                let mut product = 1.0;
                let mut most = 0.0;
                #(
                    product *= #bodies;
                    if product > most {
                        most = product;
                    }
                )*
                most
            })
        }
        StepKind::Hole => quote!(f64::INFINITY),
    }
}

/// A constant of that value, as one tree. What has more digits than people write is written by its
/// bits: of a number such as 2.718281828459045 clippy would say that it is a constant's.
pub(crate) fn constant(value: f64) -> TokenStream {
    let digits = format!("{value:?}").chars().filter(char::is_ascii_digit).count();
    if !value.is_finite() {
        return quote!(f64::INFINITY);
    }
    if digits <= 6 {
        return TokenTree::from(Literal::f64_unsuffixed(value)).into();
    }
    let bits = Literal::u64_unsuffixed(value.to_bits());
    TokenTree::from(Group::new(Delimiter::None, quote!(f64::from_bits(#bits)))).into()
}

/// Four digits of a number that is known by its logarithm.
pub(crate) fn number(log: f64) -> String {
    let value = log.exp();
    if value.is_finite() && (1e-3..1e6).contains(&value) {
        let digits = (3 - value.log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
        return text;
    }
    let exponent = (log / std::f64::consts::LN_10).floor();
    let mantissa = (log - exponent * std::f64::consts::LN_10).exp();
    format!("{mantissa:.2}e{exponent}")
}
