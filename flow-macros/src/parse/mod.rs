//! Tokens → syntax tree. An error costs one item, not the flow: the parser goes on after the next
//! `;` or `}`, so that everything else is still checked.

mod header;
mod items;
mod values;

pub(crate) use values::{attribute, default_value};

use std::collections::HashSet;

use proc_macro2::extra::DelimSpan;
use proc_macro2::{TokenStream, TokenTree};
use syn::buffer::Cursor;
use syn::parse::{ParseBuffer, ParseStream, Parser};
use syn::{braced, bracketed, parenthesized};

use crate::report::{Problem, Report};
use crate::syntax::Flow;

/// One `struct` of a `flow!`, with what was wrong about it. Without a name there is no flow.
pub(crate) struct Parsed {
    pub(crate) flow: Option<Flow>,
    pub(crate) report: Report,
}

pub(crate) fn flows(tokens: TokenStream) -> Vec<Parsed> {
    let mut flows = Vec::new();
    let all = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let report = Report::new();
            let flow = header::flow(input, &report).filter(|flow| is_new(flow, &flows, &report));
            flows.push(Parsed { flow, report });
        }
        Ok(())
    };
    if let Err(error) = all.parse2(tokens) {
        // syn's own, about tokens that nobody read: of use only where nothing else is wrong.
        if flows.iter().all(|flow| flow.report.is_empty()) {
            let report = Report::new();
            report.add(explain("a flow is `struct Name: Vector<3> { … }`")(error));
            flows.push(Parsed { flow: None, report });
        }
    }
    flows
}

/// A flow is a type of its name. Two may share one where they are compiled on conditions.
fn is_new(flow: &Flow, before: &[Parsed], report: &Report) -> bool {
    let always = |flow: &Flow| !flow.attributes.iter().any(|given| given.path().is_ident("cfg"));
    let mut others = before.iter().filter_map(|parsed| parsed.flow.as_ref());
    let new = !others.any(|other| other.name == flow.name && always(other) && always(flow));
    if !new {
        let message = format!("a second flow `{}`", flow.name);
        report.error(&flow.name, message, "give one of them another name");
    }
    new
}

/// A parse error that says what to write.
type Parse<T> = Result<T, Problem>;

fn problem<T>(
    input: ParseStream<'_>,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Parse<T> {
    Err(Problem::new(input.span(), message, help))
}

/// The next token as an error message names it.
fn found(input: ParseStream<'_>) -> String {
    match input.cursor().token_tree() {
        Some((proc_macro2::TokenTree::Group(group), _)) => match group.delimiter() {
            proc_macro2::Delimiter::Parenthesis => "`(`".into(),
            proc_macro2::Delimiter::Brace => "`{`".into(),
            proc_macro2::Delimiter::Bracket => "`[`".into(),
            proc_macro2::Delimiter::None => format!("`{group}`"),
        },
        Some((token, _)) => format!("`{token}`"),
        None => "the end".into(),
    }
}

/// One token tree further, whatever it is.
fn skip(input: ParseStream<'_>) {
    // Cannot fail where the stream is not empty; where it is, nothing is to be skipped.
    let _: syn::Result<proc_macro2::TokenTree> = input.parse();
}

fn drain(input: ParseStream<'_>) {
    while !input.is_empty() {
        skip(input);
    }
}

/// What syn found wrong, and our help beside it.
fn explain(help: &str) -> impl Fn(syn::Error) -> Problem + '_ {
    move |error| Problem::new(error.span(), error.to_string(), help)
}

fn braces<'a>(input: ParseStream<'a>) -> syn::Result<(DelimSpan, ParseBuffer<'a>)> {
    let content;
    let braces = braced!(content in input);
    Ok((braces.span, content))
}

fn brackets<'a>(input: ParseStream<'a>) -> syn::Result<(DelimSpan, ParseBuffer<'a>)> {
    let content;
    let brackets = bracketed!(content in input);
    Ok((brackets.span, content))
}

fn parentheses<'a>(input: ParseStream<'a>) -> syn::Result<(DelimSpan, ParseBuffer<'a>)> {
    let content;
    let parentheses = parenthesized!(content in input);
    Ok((parentheses.span, content))
}

/// The tokens from one place to another.
fn between(mut from: Cursor<'_>, to: Cursor<'_>) -> TokenStream {
    let mut tokens = Vec::new();
    while from != to {
        let Some((token, next)) = from.token_tree() else { break };
        tokens.push(token);
        from = next;
    }
    tokens.into_iter().collect()
}

/// Every identifier, however deep.
fn words(tokens: TokenStream, found: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                found.insert(word.to_string());
            }
            TokenTree::Group(group) => words(group.stream(), found),
            _ => {}
        }
    }
}
