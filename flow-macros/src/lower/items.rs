//! Items with their names and arguments resolved, couplings with their sides.

use std::rc::Rc;

use syn::Ident;

use super::arguments::{self, Call};
use super::header::{self, bounded, size};
use crate::architecture::{Block, Fraction, Keep, Node, NodeKind, Resolved, UseBlock};
use crate::catalog::{self, Argument, Kind};
use crate::dim::readable;
use crate::report::{suggest, Place, Report};
use crate::syntax::{self, DimValue, Item, ItemKind};

/// Halving more often than this leaves nothing of any size.
const MOST_LEVELS: u64 = 32;

static MULTISCALE: &[Argument] = &[Argument::with("keep", Kind::Fraction, "1/2")];

pub(super) fn nodes(items: &[Item], parameters: &[Ident], report: &Report) -> Vec<Node> {
    Lower { parameters, report, next: Keep::First }.nodes(items)
}

struct Lower<'a> {
    parameters: &'a [Ident],
    report: &'a Report,
    /// What the next coupling without `keep` keeps: couplings alternate as they stand in the text.
    next: Keep,
}

impl Lower<'_> {
    fn nodes(&mut self, items: &[Item]) -> Vec<Node> {
        items
            .iter()
            .map(|item| Node { label: item.label.clone(), kind: self.kind(&item.kind) })
            .collect()
    }

    fn kind(&mut self, kind: &ItemKind) -> NodeKind {
        match kind {
            ItemKind::Block(call) => self.block(call),
            ItemKind::Use(block) => self.use_block(block),
            ItemKind::Repeat { keyword, count, items } => {
                let count = size(count, "a count", self.parameters, self.report);
                let body = self.body(keyword, items);
                match count {
                    Some(count) => NodeKind::Repeat { keyword: keyword.clone(), count, body },
                    None => NodeKind::Hole { keeps_shape: false },
                }
            }
            ItemKind::Multiscale { keyword, levels, arguments, items } => {
                let levels = self.levels(levels);
                let keep = self.keep_share(keyword, arguments);
                let body = self.body(keyword, items);
                match (levels, keep) {
                    (Some(levels), Some(keep)) => {
                        NodeKind::Multiscale { keyword: keyword.clone(), levels, keep, body }
                    }
                    _ => NodeKind::Hole { keeps_shape: false },
                }
            }
        }
    }

    fn body(&mut self, keyword: &Ident, items: &[Item]) -> Vec<Node> {
        if items.is_empty() && self.report.is_empty() {
            let message = format!("`{keyword}` with an empty body");
            self.report.error(keyword, message, "put items between the braces, or leave it out");
        }
        self.nodes(items)
    }

    fn block(&mut self, call: &syntax::Call) -> NodeKind {
        let name = call.name.to_string();
        let Some(row) = catalog::find(&name) else {
            self.report.error(&call.name, format!("unknown block `{name}`"), block_help(&name));
            return NodeKind::Hole { keeps_shape: false };
        };
        let inner = Call { name: row.name, place: (&call.name).into(), given: &call.arguments };
        let Some(arguments) =
            arguments::resolve(&inner, row.arguments, self.parameters, self.report)
        else {
            return NodeKind::Hole { keeps_shape: row.keeps_shape };
        };
        let keep = row.id.is_coupling().then(|| match arguments.get("keep") {
            Some(given) => match &given.value {
                Resolved::Choice(choice) => Keep::parse(choice.name).unwrap_or(Keep::First),
                _ => Keep::First,
            },
            None => {
                let keep = self.next;
                self.next = keep.other();
                keep
            }
        });
        NodeKind::Block(Rc::new(Block {
            row,
            arguments,
            keep,
            name: call.name.clone(),
            text: readable(&call.text),
            place: (&call.name).into(),
        }))
    }

    fn use_block(&self, block: &syntax::UseBlock) -> NodeKind {
        let event = match &block.event {
            None => None,
            Some(event) => match header::event(event, self.parameters, self.report) {
                Some(shape) => Some(shape),
                None => return NodeKind::Hole { keeps_shape: false },
            },
        };
        NodeKind::Use(Rc::new(UseBlock {
            path: block.path.clone(),
            arguments: block.arguments.clone(),
            event,
            text: readable(&block.text),
            place: Place::of(&block.path),
        }))
    }

    fn levels(&self, levels: &syntax::Dim) -> Option<u64> {
        let DimValue::Literal(literal) = &levels.value else {
            if let DimValue::Negative(_) = levels.value {
                return size(levels, "a number of levels", &[], self.report).and(None);
            }
            let help = "each level has a shape of its own: write the number out";
            self.report.error(levels.place, "the number of levels is not a literal", help);
            return None;
        };
        let digits = literal.base10_digits();
        let count = bounded(digits, "a number of levels", levels.place, self.report)?;
        if count == 0 || count > MOST_LEVELS {
            let message = format!("{count} levels");
            let help = format!("write a number from 1 to {MOST_LEVELS}");
            self.report.error(levels.place, message, help);
            return None;
        }
        Some(count)
    }

    fn keep_share(&self, keyword: &Ident, given: &[syntax::Argument]) -> Option<Fraction> {
        let call = Call { name: "multiscale", place: keyword.into(), given };
        let resolved = arguments::resolve(&call, MULTISCALE, self.parameters, self.report)?;
        let keep = resolved.get("keep")?;
        match keep.value {
            Resolved::Fraction(top, bottom) => Some(Fraction { top, bottom, place: keep.place }),
            _ => None,
        }
    }
}

/// Names from the literature that are written otherwise here, or are no blocks.
fn block_help(name: &str) -> String {
    // `ActNorm` as a type would be written, `act_norm`.
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    if let Some(meant) = catalog::names().into_iter().find(|known| plain(known) == plain(name)) {
        return format!("did you mean `{meant}`?");
    }
    let known = match name {
        "dequantize" | "dequantise" | "pad" | "slice" => {
            return format!("`{name}` is no bijection: apply it to the data in front of the flow")
        }
        "batch_norm" | "batchnorm" | "norm" => "`actnorm`",
        "maf" => "`masked_autoregressive(affine, net = made([512, 512], relu))`",
        "iaf" => "`inverse_autoregressive(affine, net = made([512, 512], relu))`",
        "real_nvp" | "realnvp" => "`affine_coupling`",
        "nice" => "`additive_coupling`",
        "lu" | "orthogonal" | "dense" | "svd" | "householder" => {
            return format!("`{name}` is a form of a matrix: write `linear({name})`")
        }
        "reverse" => "`permute(reverse)`",
        "shuffle" => "`permute(shuffle(1))`, with a seed",
        "roll" => "`permute(roll(1))`",
        "coupling" => "`affine_coupling`, `additive_coupling` or `spline_coupling`",
        "mlp" | "conv" | "resnet" | "made" => {
            return format!(
                "`{name}` is a net: it goes into a block, as in `affine_coupling(net = {name}(…))`"
            )
        }
        _ if catalog::ACTIVATIONS.iter().any(|activation| activation.name == name) => {
            return format!(
                "`{name}` is an activation: it goes into a net, as in `mlp([128, 128], {name})`"
            )
        }
        _ if name.starts_with(|c: char| c.is_uppercase()) => {
            return format!("a block of your own is written `use {name};`")
        }
        _ => {
            let mut names = catalog::names();
            names.extend(["repeat", "multiscale"]);
            return suggest(name, "the blocks are", &names);
        }
    };
    format!("write {known}")
}
