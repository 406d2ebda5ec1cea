//! `#[require(…)]`, `#[base(…)]`, `#[flow(…)]`; everything else passes through.

use proc_macro2::{TokenStream, TokenTree};
use quote::{quote, ToTokens};
use syn::{Attribute, Ident, Meta};

use super::{arguments, header};
use crate::architecture::{Attributes, Base, Contract, ContractKind};
use crate::catalog::{Argument, Kind, Variant};
use crate::dim::readable;
use crate::parse;
use crate::report::{list, nearest, suggest, Place, Report};
use crate::syntax::{self, Flow, ValueKind};

const OURS: [&str; 3] = ["require", "base", "flow"];

const CONTRACTS: [ContractKind; 6] = [
    ContractKind::AnalyticInverse,
    ContractKind::VolumePreserving,
    ContractKind::ConstantLogDet,
    ContractKind::BiLipschitz,
    ContractKind::MemorySaving,
    ContractKind::Lipschitz { forward: None, inverse: None },
];

const BASES: &[Variant] = &[
    Variant::plain("normal"),
    Variant::plain("uniform"),
    Variant::plain("logistic"),
    Variant::with("mixture", &[Argument::required("components", Kind::Count(1))]),
];

static BASE: &[Argument] = &[Argument::required("base", Kind::OneOf(BASES))];

pub(super) fn attributes(flow: &Flow, parameters: &[Ident], report: &Report) -> Attributes {
    let mut all = Attributes {
        docs: Vec::new(),
        everywhere: Vec::new(),
        others: Vec::new(),
        contracts: Vec::new(),
        base: Base::Normal,
        krate: quote!(::flow_core),
    };
    let mut base_seen = false;
    for attribute in &flow.attributes {
        let name = attribute.path().get_ident().map(ToString::to_string).unwrap_or_default();
        match name.as_str() {
            "require" => require(attribute, &mut all.contracts, report),
            "base" if base_seen => report.error(
                Place::of(attribute),
                "a second `#[base(…)]`",
                "a flow has one base distribution; leave one of them out",
            ),
            "base" => {
                base_seen = true;
                if let Some(base) = base(attribute, parameters, report) {
                    all.base = base;
                }
            }
            "flow" => {
                if let Some(path) = krate(attribute, report) {
                    all.krate = path;
                }
            }
            "doc" => all.docs.push(attribute.clone()),
            "cfg" | "allow" | "expect" | "warn" | "deny" | "forbid" => {
                all.everywhere.push(attribute.clone());
            }
            other => {
                // A slip of ours would otherwise reach rustc, which knows none of our names.
                match nearest(other, &OURS) {
                    Some(meant) if other.len().abs_diff(meant.len()) <= 1 && other.len() > 3 => {
                        report.error(
                            Place::of(attribute.path()),
                            format!("unknown attribute `{other}`"),
                            format!("did you mean `{meant}`?"),
                        );
                    }
                    _ => all.others.push(attribute.clone()),
                }
            }
        }
    }
    all
}

fn list_of<'a>(attribute: &'a Attribute, help: &str, report: &Report) -> Option<&'a syn::MetaList> {
    match &attribute.meta {
        Meta::List(list) if !list.tokens.is_empty() => Some(list),
        _ => {
            let name = attribute.path().to_token_stream();
            let message = match &attribute.meta {
                Meta::NameValue(_) => format!("`#[{name} = …]` is no list: write `#[{name}(…)]`"),
                _ => format!("`#[{name}]` says nothing"),
            };
            report.error(Place::of(attribute), message, help);
            None
        }
    }
}

fn require(attribute: &Attribute, contracts: &mut Vec<Contract>, report: &Report) {
    let names = CONTRACTS.map(ContractKind::name);
    let help = format!("the contracts are {}", list(&names, "and"));
    let Some(meta) = list_of(attribute, &help, report) else { return };
    // `forward <= 10` is no argument of the blocks' grammar, so contracts are split by hand.
    for tokens in split(&meta.tokens) {
        match contract(tokens) {
            Ok(contract) => {
                if contracts.iter().any(|known| known.kind.name() == contract.kind.name()) {
                    let message = format!("`{}` is required twice", contract.kind.name());
                    report.error(contract.place, message, "leave one of them out");
                } else {
                    contracts.push(contract);
                }
            }
            Err(problem) => report.add(problem),
        }
    }
}

/// At the commas of the outermost level.
fn split(tokens: &TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens.clone() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == ',' => {
                parts.push(TokenStream::new());
            }
            token => parts.last_mut().expect("never empty").extend([token]),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn contract(tokens: TokenStream) -> Result<Contract, crate::report::Problem> {
    use crate::report::Problem;
    let place = Place::of(&tokens);
    let mut tokens = tokens.into_iter();
    let names = CONTRACTS.map(ContractKind::name);
    let name = match tokens.next() {
        Some(TokenTree::Ident(name)) => name,
        _ => {
            let help = format!("the contracts are {}", list(&names, "and"));
            return Err(Problem::new(place, "not a contract", help));
        }
    };
    let found = name.to_string();
    let Some(kind) = CONTRACTS.into_iter().find(|kind| kind.name() == found) else {
        let help = suggest(&found, "the contracts are", &names);
        return Err(Problem::new(&name, format!("unknown contract `{found}`"), help));
    };
    let rest: TokenStream = tokens.collect();
    let kind = match kind {
        ContractKind::Lipschitz { .. } => lipschitz(&rest, place)?,
        _ if rest.is_empty() => kind,
        _ if !matches!(rest.clone().into_iter().next(), Some(TokenTree::Group(_))) => {
            let message = format!("expected `,` after `{found}`");
            return Err(Problem::new(
                Place::of(&rest),
                message,
                "contracts are separated by commas",
            ));
        }
        _ => {
            let message = format!("`{found}` takes no arguments");
            return Err(Problem::new(Place::of(&rest), message, format!("write `{found}`")));
        }
    };
    Ok(Contract { kind, place })
}

/// `(forward <= a, inverse <= b)`, either of them alone too.
fn lipschitz(tokens: &TokenStream, place: Place) -> Result<ContractKind, crate::report::Problem> {
    use crate::report::Problem;
    const HELP: &str = "write `lipschitz(forward <= 10, inverse <= 10)`, or one of the two";
    let group = match tokens.clone().into_iter().next() {
        Some(TokenTree::Group(group)) if !group.stream().is_empty() => group,
        _ => return Err(Problem::new(place, "`lipschitz` without a budget", HELP)),
    };
    let (mut forward, mut inverse) = (None, None);
    for part in split(&group.stream()) {
        let place = Place::of(&part);
        let bound =
            syn::parse2::<Budget>(part).map_err(|_| Problem::new(place, "not a budget", HELP))?;
        let slot = match bound.name.to_string().as_str() {
            "forward" => &mut forward,
            "inverse" => &mut inverse,
            other => {
                let help = suggest(other, "a budget is for", &["forward", "inverse"]);
                return Err(Problem::new(
                    &bound.name,
                    format!("unknown direction `{other}`"),
                    help,
                ));
            }
        };
        if slot.is_some() {
            let message = format!("`{}` has two budgets", bound.name);
            return Err(Problem::new(place, message, "leave one of them out"));
        }
        *slot = Some(bound.value?);
    }
    Ok(ContractKind::Lipschitz { forward, inverse })
}

struct Budget {
    name: syn::Ident,
    value: Result<f64, crate::report::Problem>,
}

impl syn::parse::Parse for Budget {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<syn::Token![<=]>()?;
        let found: syn::Expr = input.parse()?;
        let value = match &found {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) => {
                number.base10_parse::<f64>().ok()
            }
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Float(number), .. }) => {
                number.base10_parse::<f64>().ok()
            }
            _ => None,
        };
        let value = value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
            crate::report::Problem::new(
                Place::of(&found),
                format!("a budget cannot be `{}`", readable(&found.to_token_stream())),
                "a budget is a number above 0, written out",
            )
        });
        Ok(Self { name, value })
    }
}

fn base(attribute: &Attribute, parameters: &[Ident], report: &Report) -> Option<Base> {
    let help = "the bases are `normal`, `uniform`, `logistic` and `mixture(components)`";
    let meta = list_of(attribute, help, report)?;
    let given = match parse::attribute(meta) {
        Ok(given) => given,
        Err(problem) => {
            report.add(problem);
            return None;
        }
    };
    let call = arguments::Call { name: "base", place: Place::of(attribute), given: &given };
    let resolved = arguments::resolve(&call, BASE, parameters, report)?;
    let choice = resolved.choice("base");
    Some(match choice.name {
        "uniform" => Base::Uniform,
        "logistic" => Base::Logistic,
        "mixture" => {
            let components = choice.arguments.count("components");
            header::only_plain(components, report)?;
            Base::Mixture(components.clone())
        }
        _ => Base::Normal,
    })
}

/// `crate = path`.
fn krate(attribute: &Attribute, report: &Report) -> Option<TokenStream> {
    const HELP: &str = "write `#[flow(crate = path::of::flow_core)]`";
    let meta = list_of(attribute, HELP, report)?;
    let given = match parse::attribute(meta) {
        Ok(given) => given,
        Err(problem) => {
            report.add(problem);
            return None;
        }
    };
    match given.as_slice() {
        [syntax::Argument { name: Some(name), value }] if name == "crate" => match &value.kind {
            ValueKind::Constant(syntax::DimValue::Path(path)) => Some(path.to_token_stream()),
            ValueKind::Name(call)
                if call.arguments.is_empty()
                    && syn::parse2::<syn::Path>(call.name.to_token_stream()).is_ok() =>
            {
                Some(call.name.to_token_stream())
            }
            _ => {
                let message = format!("`crate` is {}, not a path", value.describe());
                report.error(value.place, message, HELP);
                None
            }
        },
        _ => {
            report.error(Place::of(&meta.tokens), "unknown option of `#[flow(…)]`", HELP);
            None
        }
    }
}
