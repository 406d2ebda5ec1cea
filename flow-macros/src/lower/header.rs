//! Event, context and parameters.

use quote::ToTokens;
use syn::Ident;

use super::attributes;
use crate::architecture::{Context, Header, Shape};
use crate::dim::{evaluate, Dim, MOST};
use crate::report::{suggest, Place, Report};
use crate::syntax::{self, DimValue, Flow};

pub(super) fn header(flow: &Flow, parameters: &[Ident], report: &Report) -> Header {
    let attributes = attributes::attributes(flow, parameters, report);
    let event = flow.event.as_ref().and_then(|event| self::event(event, parameters, report));
    let context = match &flow.given {
        None => Context::None,
        Some(given) => context(given, parameters, report).map_or(Context::Unknown, Context::Size),
    };
    Header {
        attributes,
        visibility: flow.visibility.clone(),
        name: flow.name.clone(),
        parameters: flow.parameters.clone(),
        words: flow.words.clone(),
        event: event.unwrap_or(Shape::Unknown),
        context,
    }
}

pub(super) fn event(event: &syntax::Event, parameters: &[Ident], report: &Report) -> Option<Shape> {
    let wanted = match event.name.to_string().as_str() {
        "Vector" => 1,
        "Image" => 3,
        other => {
            let message = format!("unknown event `{other}`");
            let help = suggest(other, "an event is", &["Vector", "Image"]);
            report.error(&event.name, message, help);
            return None;
        }
    };
    if event.dims.len() != wanted {
        let found = event.dims.len();
        let (message, help) = if wanted == 1 {
            (format!("a vector has one size, found {found}"), "write `Vector<features>`")
        } else {
            (
                format!("an image has three sizes, found {found}"),
                "write `Image<channels, height, width>`",
            )
        };
        report.error(event.place, message, help);
        return None;
    }
    let dims: Option<Vec<Dim>> =
        event.dims.iter().map(|dim| size(dim, "a dimension", parameters, report)).collect();
    let dims = dims?;
    for dim in &dims {
        only_plain(dim, report)?;
    }
    let shape = match dims.as_slice() {
        [features] => Shape::Vector(features.clone()),
        [c, h, w] => Shape::Image([c.clone(), h.clone(), w.clone()]),
        _ => return None,
    };
    let fits = shape.elements().is_some_and(|all| all.value.is_none_or(|all| all <= MOST));
    if !fits {
        let message = format!("`{shape}` has more than {MOST} elements");
        report.error(event.place, message, "choose sizes that fit a machine's memory");
        return None;
    }
    Some(shape)
}

/// Stable Rust has no arithmetic on const parameters in types.
pub(super) fn only_plain(dim: &Dim, report: &Report) -> Option<()> {
    if !dim.is_generic_arithmetic() {
        return Some(());
    }
    let message = format!("the size `{dim}` is computed from a parameter");
    report.error(
        dim.place,
        message,
        "stable Rust has no arithmetic on const parameters: make it one of its own",
    );
    None
}

/// A context is a vector in this version.
fn context(event: &syntax::Event, parameters: &[Ident], report: &Report) -> Option<Dim> {
    if event.name == "Image" {
        report.error(
            event.place,
            "a context cannot be an image in this version",
            "embed the image with a dfdx net, and give the flow its output: `given Vector<64>`",
        );
        return None;
    }
    match self::event(event, parameters, report)? {
        Shape::Vector(size) => Some(size),
        _ => None,
    }
}

/// A positive size that fits.
pub(super) fn size(
    dim: &syntax::Dim,
    what: &str,
    parameters: &[Ident],
    report: &Report,
) -> Option<Dim> {
    let dim = number(dim, what, parameters, report)?;
    if dim.is(0) {
        let help = if what == "a count" {
            "a count is at least 1; leave the item out where it is not wanted"
        } else {
            "it must be at least 1"
        };
        report.error(dim.place, format!("{what} of 0"), help);
        return None;
    }
    Some(dim)
}

/// A number from 0 to [`MOST`], or a constant.
pub(super) fn number(
    dim: &syntax::Dim,
    what: &str,
    parameters: &[Ident],
    report: &Report,
) -> Option<Dim> {
    let place = dim.place;
    let literal = match &dim.value {
        DimValue::Negative(literal) => {
            let message = format!("{what} cannot be negative, found -{}", literal.base10_digits());
            report.error(place, message, "write a positive integer");
            return None;
        }
        DimValue::Path(path) => {
            return Some(Dim::constant(path.to_token_stream(), parameters, place))
        }
        DimValue::Expression(expression) => match evaluate(expression) {
            Some(value) => value.to_string(),
            None => return Some(Dim::constant(expression.to_token_stream(), parameters, place)),
        },
        DimValue::Literal(literal) => {
            if !matches!(literal.suffix(), "" | "usize") {
                let message =
                    format!("{what} is a `usize`, found the suffix `{}`", literal.suffix());
                report.error(place, message, "leave the suffix out");
                return None;
            }
            literal.base10_digits().to_owned()
        }
    };
    bounded(&literal, what, place, report).map(|value| Dim::number(value, place))
}

pub(super) fn bounded(digits: &str, what: &str, place: Place, report: &Report) -> Option<u64> {
    match digits.parse::<u64>() {
        Ok(value) if value <= MOST => Some(value),
        _ => {
            let message = format!("{what} of {digits} overflows");
            report.error(place, message, format!("the largest is {MOST}"));
            None
        }
    }
}
