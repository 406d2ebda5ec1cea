//! Everything of a flow up to its braces.

use std::collections::HashSet;

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{token, Attribute, GenericParam, Generics, Ident, Token, Visibility};

use super::{between, braces, explain, found, items, problem, skip, values, words, Parse};
use crate::report::{suggest, Place, Problem, Report};
use crate::syntax::{Event, Flow};

const EXAMPLE: &str = "a flow is `struct Name: Vector<3> { … }`";

pub(super) fn flow(input: ParseStream<'_>, report: &Report) -> Option<Flow> {
    let begin = input.cursor();
    match start(input) {
        Ok((attributes, visibility, name)) => {
            let mut flow = Flow {
                attributes,
                visibility,
                name,
                parameters: Vec::new(),
                event: None,
                given: None,
                items: Vec::new(),
                words: HashSet::new(),
            };
            if let Err(error) = rest(input, &mut flow, report) {
                report.add(error);
                recover(input);
            }
            words(between(begin, input.cursor()), &mut flow.words);
            Some(flow)
        }
        Err(error) => {
            report.add(error);
            recover(input);
            None
        }
    }
}

fn start(input: ParseStream<'_>) -> Parse<(Vec<Attribute>, Visibility, Ident)> {
    let attributes = input.call(Attribute::parse_outer).map_err(explain("write `#[name(…)]`"))?;
    let visibility = input.parse::<Visibility>().map_err(explain(EXAMPLE))?;
    if !input.peek(Token![struct]) {
        let help = if input.peek(Token![;]) { "flows end with their braces" } else { EXAMPLE };
        return problem(input, format!("expected `struct`, found {}", found(input)), help);
    }
    skip(input);
    match input.parse::<Ident>() {
        Ok(name) => Ok((attributes, visibility, name)),
        Err(_) => problem(input, format!("expected a name, found {}", found(input)), EXAMPLE),
    }
}

fn rest(input: ParseStream<'_>, flow: &mut Flow, report: &Report) -> Parse<()> {
    flow.parameters = parameters(input, report)?;
    if !input.peek(Token![:]) {
        let message = format!("expected `:` and an event, found {}", found(input));
        let help = match input.cursor().ident() {
            Some((word, _)) if word == "given" => {
                "the context comes last: `: Vector<3> given Vector<2>`"
            }
            _ => "say what flows: `: Vector<3>` or `: Image<3, 32, 32>`",
        };
        return problem(input, message, help);
    }
    skip(input);
    flow.event = Some(event(input)?);
    if input.peek(Ident::peek_any) {
        let word = input.call(Ident::parse_any).expect("an identifier was seen");
        let text = word.to_string();
        if text != "given" {
            let message = format!("unexpected `{text}` after the event");
            let problem =
                Problem::new(&word, message, suggest(&text, "what may stand here is", &["given"]));
            if text == "where" {
                return Err(Problem {
                    help: "a flow has no bounds: leave them out".into(),
                    ..problem
                });
            }
            report.add(problem);
        }
        flow.given = Some(event(input)?);
    }
    if !input.peek(token::Brace) {
        let message = format!("expected `{{`, found {}", found(input));
        return problem(input, message, after_an_event(input));
    }
    let (_, content) = braces(input).map_err(explain(EXAMPLE))?;
    flow.items = items::items(&content, report, 0);
    Ok(())
}

/// What was meant by a token that cannot follow the event or the context.
fn after_an_event(input: ParseStream<'_>) -> &'static str {
    match input.cursor().ident() {
        Some((word, _)) if word == "given" => "a flow has one context: put both into one vector",
        None if input.peek(Token![,]) || input.peek(Token![+]) || input.peek(Token![:]) => {
            "a flow has one event, and then its items in braces"
        }
        None if input.peek(Token![->]) => {
            "what comes out follows from the items, which stand in braces"
        }
        _ => "the items of a flow stand in braces",
    }
}

fn parameters(input: ParseStream<'_>, report: &Report) -> Parse<Vec<syn::ConstParam>> {
    const HELP: &str = "a flow's parameters are sizes: `<const D: usize>`";
    let generics: Generics = input.parse().map_err(explain(HELP))?;
    let mut parameters: Vec<syn::ConstParam> = Vec::new();
    for parameter in generics.params {
        match parameter {
            GenericParam::Const(twin) if parameters.iter().any(|p| p.ident == twin.ident) => {
                let message = format!("the parameter `{}` stands twice", twin.ident);
                report.error(&twin.ident, message, "leave one of them out, or rename it");
            }
            GenericParam::Const(parameter) if is_usize(&parameter.ty) => parameters.push(parameter),
            GenericParam::Const(parameter) => {
                let message = format!("the parameter `{}` is not a `usize`", parameter.ident);
                report.error(Place::of(&parameter.ty), message, HELP);
                parameters.push(parameter);
            }
            other => report.error(Place::of(&other), "not a const parameter", HELP),
        }
    }
    Ok(parameters)
}

fn is_usize(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.is_ident("usize"))
}

/// `Vector<3>` or `Image<3, 32, 32>`; names are judged later.
pub(super) fn event(input: ParseStream<'_>) -> Parse<Event> {
    const HELP: &str = "an event is `Vector<features>` or `Image<channels, height, width>`";
    let Ok(name) = input.parse::<Ident>() else {
        return problem(input, format!("expected an event, found {}", found(input)), HELP);
    };
    if !input.peek(Token![<]) {
        return problem(
            input,
            format!("expected `<` after `{name}`, found {}", found(input)),
            HELP,
        );
    }
    skip(input);
    let mut dims = Vec::new();
    let close = loop {
        if let Ok(close) = input.parse::<Token![>]>() {
            break close;
        }
        dims.push(values::dim(input, "a dimension")?);
        if input.peek(Token![,]) {
            skip(input);
        } else if !input.peek(Token![>]) {
            let message = format!("expected `,` or `>`, found {}", found(input));
            return problem(
                input,
                message,
                "a dimension of several tokens needs braces: `{ 2 * N }`",
            );
        }
    };
    let place = Place::from(&name).to(close.span);
    Ok(Event { name, dims, place })
}

/// Goes on after the braces of this flow, or before the next one.
fn recover(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![struct]) {
        let last = input.peek(token::Brace);
        skip(input);
        if last || input.peek(Token![pub]) || input.peek(Token![#]) {
            return;
        }
    }
}
