//! The items between the braces.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::buffer::Cursor;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{token, Ident, Lifetime, Path, Token};

use super::{
    between, braces, drain, explain, found, header, parentheses, problem, skip, values, Parse,
};
use crate::dim::readable;
use crate::report::{Place, Problem, Report};
use crate::syntax::{Call, Item, ItemKind, UseBlock};

/// Deeper nesting than anyone writes; checks may take time exponential in it.
const DEEPEST: usize = 8;

const CALL: &str = "arguments stand in parentheses";
const BODY: &str = "items stand in braces";
const AN_ITEM: &str =
    "an item is a block such as `actnorm;`, `repeat 4 { … }`, `multiscale 3 { … }` or `use Path;`";

pub(super) fn items(input: ParseStream<'_>, report: &Report, depth: usize) -> Vec<Item> {
    let mut items = Vec::new();
    if depth > DEEPEST {
        report.error(
            input.span(),
            format!("items nested more than {DEEPEST} deep"),
            "make the inner part a flow of its own, and name it with `use`",
        );
        drain(input);
    }
    while !input.is_empty() {
        if input.peek(Token![;]) {
            skip(input);
            continue;
        }
        match item(input, report, depth) {
            Ok(item) => items.push(item),
            Err(error) => {
                report.add(error);
                recover(input);
            }
        }
    }
    items
}

/// Goes on after the next `;` or `{ … }`.
fn recover(input: ParseStream<'_>) {
    while !input.is_empty() {
        let last = input.peek(Token![;]) || input.peek(token::Brace);
        skip(input);
        if last {
            return;
        }
    }
}

fn item(input: ParseStream<'_>, report: &Report, depth: usize) -> Parse<Item> {
    if input.peek(Token![#]) {
        return problem(
            input,
            "an attribute on an item",
            "attributes stand on the flow; remarks about an item go into a `//` comment",
        );
    }
    let label = label(input)?;
    let start = input.cursor();
    let kind = if input.peek(Token![use]) {
        ItemKind::Use(use_block(input, report)?)
    } else {
        let Ok(name) = input.call(Ident::parse_any) else {
            return problem(input, format!("expected an item, found {}", found(input)), AN_ITEM);
        };
        match name.to_string().as_str() {
            "repeat" => repeat(input, name, report, depth)?,
            "multiscale" => multiscale(input, name, report, depth)?,
            word if is_keyword(&name) => return Err(keyword(&name, word)),
            word if input.peek(Token![:]) => {
                let message = format!("a label without its `'`: `{word}:`");
                return Err(Problem::new(&name, message, format!("write `'{word}: …`")));
            }
            _ => ItemKind::Block(block(input, start, name, report)?),
        }
    };
    Ok(Item { label, kind })
}

/// A word that names nothing in Rust, and so no block.
fn is_keyword(word: &Ident) -> bool {
    syn::parse2::<Ident>(word.into_token_stream()).is_err()
}

fn keyword(place: &Ident, word: &str) -> Problem {
    let help = match word {
        "for" | "while" | "loop" => "items are repeated by `repeat 4 { … }`",
        _ => AN_ITEM,
    };
    Problem::new(place, format!("expected an item, found `{word}`"), help)
}

fn label(input: ParseStream<'_>) -> Parse<Option<Ident>> {
    if !input.peek(Lifetime) {
        return Ok(None);
    }
    let label: Lifetime = input.parse().expect("a label was seen");
    if !input.peek(Token![:]) {
        let message = format!("expected `:` after the label `{label}`, found {}", found(input));
        return problem(input, message, format!("write `{label}: actnorm;`"));
    }
    skip(input);
    Ok(Some(label.ident))
}

fn block(input: ParseStream<'_>, start: Cursor<'_>, name: Ident, report: &Report) -> Parse<Call> {
    let place = Place::from(&name);
    let mut call = Call { name, arguments: Vec::new(), place, text: TokenStream::new() };
    if input.peek(token::Paren) {
        let (span, content) = parentheses(input).map_err(explain(CALL))?;
        call.place = call.place.to(span.close());
        call.arguments = values::arguments(&content)?;
    } else if input.peek(token::Bracket) {
        let name = &call.name;
        let message = format!("expected `(` after `{name}`, found `[`");
        return problem(input, message, format!("arguments stand in parentheses: `{name}(…)`"));
    } else if input.peek(token::Brace) {
        return problem(
            input,
            format!("`{}` has no body", call.name),
            "only `repeat count { … }` and `multiscale levels { … }` have items of their own",
        );
    }
    call.text = between(start, input.cursor());
    semicolon(input, &call.name.to_string(), call.place, report);
    Ok(call)
}

/// A missing `;` is reported, and read as if it were there.
fn semicolon(input: ParseStream<'_>, name: &str, item: Place, report: &Report) {
    if input.peek(Token![;]) {
        skip(input);
        return;
    }
    let place = if input.is_empty() { item } else { input.span().into() };
    let message = if input.is_empty() {
        format!("expected `;` after `{name}`")
    } else {
        format!("expected `;` after `{name}`, found {}", found(input))
    };
    report.error(place, message, "every block ends with `;`");
    if !input.peek(Ident) && !input.peek(Token![use]) && !input.peek(Lifetime) {
        recover(input);
    }
}

fn use_block(input: ParseStream<'_>, report: &Report) -> Parse<UseBlock> {
    let start = input.cursor();
    let keyword: Token![use] = input.parse().expect("`use` was seen");
    let help = "`use` is followed by the path of a block of yours: `use blocks::MyBlock;`";
    let path: Path = input.parse().map_err(explain(help))?;
    let mut arguments = Vec::new();
    if input.peek(token::Paren) {
        let (_, content) = parentheses(input).map_err(explain(CALL))?;
        let list = content.parse_terminated(<syn::Expr as syn::parse::Parse>::parse, Token![,]);
        drain(&content);
        let help = "the arguments of a `use` are Rust expressions";
        arguments = list.map_err(explain(help))?.into_iter().collect();
    }
    let mut event = None;
    if input.peek(Token![->]) {
        // Two punctuation marks.
        skip(input);
        skip(input);
        event = Some(header::event(input)?);
    }
    let text = between(start, input.cursor());
    let place = Place::from(keyword.span).to(Place::of(&path));
    semicolon(input, &format!("use {}", readable(&path.to_token_stream())), place, report);
    Ok(UseBlock { path, arguments, event, text })
}

fn repeat(
    input: ParseStream<'_>,
    keyword: Ident,
    report: &Report,
    depth: usize,
) -> Parse<ItemKind> {
    if input.peek(token::Brace) && {
        let ahead = input.fork();
        skip(&ahead);
        !ahead.peek(token::Brace)
    } {
        report.error(&keyword, "`repeat` without a count", "write `repeat 4 { … }`");
        skip(input);
        return Ok(ItemKind::Repeat { count: one(&keyword), keyword, items: Vec::new() });
    }
    if input.peek(token::Paren) || input.peek(Token![=]) {
        let message = format!("expected a count, found {}", found(input));
        return problem(input, message, "a count stands by itself: `repeat 4 { … }`");
    }
    let count = values::dim(input, "a count")?;
    let items = body(input, "repeat", report, depth)?;
    Ok(ItemKind::Repeat { keyword, count, items })
}

fn one(keyword: &Ident) -> crate::syntax::Dim {
    let literal = syn::LitInt::new("1", keyword.span());
    crate::syntax::Dim { value: crate::syntax::DimValue::Literal(literal), place: keyword.into() }
}

fn multiscale(
    input: ParseStream<'_>,
    keyword: Ident,
    report: &Report,
    depth: usize,
) -> Parse<ItemKind> {
    if input.peek(token::Brace) || input.peek(token::Paren) {
        let help = match input.peek(token::Paren) {
            true => "it comes first: `multiscale 3 (keep = 1/2) { … }`",
            false => "write `multiscale 3 { … }`: three levels",
        };
        return Err(Problem::new(&keyword, "`multiscale` without its number of levels", help));
    }
    let levels = values::dim(input, "a number of levels")?;
    let mut arguments = Vec::new();
    if input.peek(token::Paren) {
        let (_, content) = parentheses(input).map_err(explain(CALL))?;
        arguments = values::arguments(&content)?;
    }
    let items = body(input, "multiscale", report, depth)?;
    Ok(ItemKind::Multiscale { keyword, levels, arguments, items })
}

fn body(input: ParseStream<'_>, name: &str, report: &Report, depth: usize) -> Parse<Vec<Item>> {
    if !input.peek(token::Brace) {
        let message = format!("expected the body of `{name}`, found {}", found(input));
        return problem(input, message, format!("the items of a `{name}` stand in braces"));
    }
    let (_, content) = braces(input).map_err(explain(BODY))?;
    Ok(items(&content, report, depth + 1))
}
