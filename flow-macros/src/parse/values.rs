//! Arguments, and what can stand in them.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{ParseBuffer, ParseStream, Parser};
use syn::{token, Expr, Ident, Lit, LitInt, Path, Token};

use super::{braces, brackets, drain, explain, found, parentheses, problem, skip, Parse};
use crate::report::{Place, Problem};
use crate::syntax::{Argument, Call, Dim, DimValue, Value, ValueKind};

const GROUP: &str = "the brackets must match";

/// A dimension or a count: an integer, a constant, or `{ constant expression }`.
pub(super) fn dim(input: ParseStream<'_>, what: &str) -> Parse<Dim> {
    let help = "write an integer, the name of a constant, or `{ constant expression }`";
    let start = input.span();
    if input.peek(Token![-]) && input.peek2(LitInt) {
        skip(input);
        let literal: LitInt = input.parse().expect("an integer was seen");
        let place = Place::from(start).to(literal.span());
        return Ok(Dim { value: DimValue::Negative(literal), place });
    }
    if input.peek(Lit) {
        return match input.parse::<Lit>() {
            Ok(Lit::Int(literal)) => {
                Ok(Dim { place: literal.span().into(), value: DimValue::Literal(literal) })
            }
            Ok(other) => {
                let message = format!("{what} cannot be `{}`", quote::quote!(#other));
                Err(Problem::new(other.span(), message, help))
            }
            Err(error) => Err(Problem::new(error.span(), error.to_string(), help)),
        };
    }
    if input.peek(token::Brace) {
        return constant_block(input);
    }
    match path(input) {
        Some(path) => {
            let place = Place::of(&path);
            if input.peek(token::Paren) || input.peek(Token![.]) {
                let message = format!("{what} must be constant, and this is computed");
                return Err(Problem::new(place, message, help));
            }
            Ok(Dim { value: DimValue::Path(path), place })
        }
        None => problem(input, format!("expected {what}, found {}", found(input)), help),
    }
}

fn constant_block(input: ParseStream<'_>) -> Parse<Dim> {
    let (span, content) = braces(input).map_err(explain(GROUP))?;
    let place = Place::from(span.open()).to(span.close());
    let expression = content.parse::<Expr>();
    let complete = content.is_empty();
    drain(&content);
    match expression {
        Ok(expression) if complete => Ok(Dim { value: DimValue::Expression(expression), place }),
        _ => Err(Problem::new(
            place,
            "not a constant expression",
            "write one expression between the braces, for example `{ 2 * N }`",
        )),
    }
}

/// `NAME` or `module::NAME`, without generics.
fn path(input: ParseStream<'_>) -> Option<Path> {
    let ahead = input.fork();
    let path = ahead.call(Path::parse_mod_style).ok()?;
    syn::parse::discouraged::Speculative::advance_to(input, &ahead);
    Some(path)
}

/// What stands between the parentheses of a call. The rest is drained on error, for the buffer
/// would otherwise complain by itself.
pub(super) fn arguments(content: &ParseBuffer<'_>) -> Parse<Vec<Argument>> {
    let list = separated(content, argument);
    drain(content);
    list
}

fn separated<T>(
    content: ParseStream<'_>,
    one: impl Fn(ParseStream<'_>) -> Parse<T>,
) -> Parse<Vec<T>> {
    let mut list = Vec::new();
    while !content.is_empty() {
        list.push(one(content)?);
        if content.peek(Token![,]) {
            skip(content);
            if content.peek(Token![,]) {
                return problem(content, "a second `,`", "leave one of them out");
            }
        } else if !content.is_empty() {
            let message = format!("expected `,`, found {}", found(content));
            return problem(content, message, after_a_value(content));
        }
    }
    Ok(list)
}

/// What was meant by a token that cannot follow a value.
fn after_a_value(content: ParseStream<'_>) -> &'static str {
    if content.peek(Token![:]) && !content.peek(Token![::]) {
        "an argument is named with `=`, as in `net = mlp([128, 128], swish)`"
    } else if content.peek(token::Bracket) {
        "arguments stand in parentheses, as in `mlp([128, 128], swish)`"
    } else {
        "arguments are separated by commas"
    }
}

fn argument(input: ParseStream<'_>) -> Parse<Argument> {
    let mut name = None;
    if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
        let seen = input.call(Ident::parse_any).expect("an identifier was seen");
        skip(input);
        if input.peek(Token![=]) {
            return problem(input, "a second `=`", format!("write `{seen} = …`"));
        }
        name = Some(seen);
    }
    Ok(Argument { name, value: value(input)? })
}

fn value(input: ParseStream<'_>) -> Parse<Value> {
    let start = Place::from(input.span());
    if input.peek(Token![use]) {
        skip(input);
        let help = "`use` is followed by the path of a dfdx module of yours";
        let path: Path = input.parse().map_err(explain(help))?;
        let place = start.to(Place::of(&path));
        return Ok(Value { kind: ValueKind::Use(path), place });
    }
    if input.peek(token::Bracket) {
        let (span, content) = brackets(input).map_err(explain(GROUP))?;
        let values = separated(&content, value);
        drain(&content);
        let place = Place::from(span.open()).to(span.close());
        return Ok(Value { kind: ValueKind::List(values?), place });
    }
    if input.peek(token::Paren) {
        let (span, content) = parentheses(input).map_err(explain(GROUP))?;
        let values = separated(&content, value);
        drain(&content);
        let place = Place::from(span.open()).to(span.close());
        return Ok(Value { kind: ValueKind::Tuple(values?), place });
    }
    if input.peek(token::Brace) {
        let dim = constant_block(input)?;
        return Ok(Value { kind: ValueKind::Constant(dim.value), place: dim.place });
    }
    if input.peek(Token![-]) || input.peek(Lit) {
        return number(input, start);
    }
    named(input)
}

fn number(input: ParseStream<'_>, start: Place) -> Parse<Value> {
    const HELP: &str = "write a number such as `2`, `0.5` or `1/2`";
    let negative = input.peek(Token![-]);
    if negative {
        skip(input);
    }
    let literal: Lit = match input.parse() {
        Ok(literal) => literal,
        Err(_) => {
            return problem(input, format!("expected a number, found {}", found(input)), HELP)
        }
    };
    let place = start.to(literal.span());
    let sign = if negative { "-" } else { "" };
    let kind = match literal {
        Lit::Int(top) if input.peek(Token![/]) && !negative => {
            skip(input);
            let Ok(bottom) = input.parse::<LitInt>() else {
                let message = format!("expected an integer under the `/`, found {}", found(input));
                return problem(input, message, "a fraction is written `1/2`");
            };
            let place = place.to(bottom.span());
            return Ok(Value { kind: ValueKind::Fraction(top, bottom), place });
        }
        Lit::Int(literal) => {
            suffix(literal.suffix(), place)?;
            ValueKind::Number { text: format!("{sign}{}", literal.base10_digits()), integer: true }
        }
        Lit::Float(literal) => {
            suffix(literal.suffix(), place)?;
            ValueKind::Number { text: format!("{sign}{}", literal.base10_digits()), integer: false }
        }
        Lit::Bool(value) if !negative => ValueKind::Bool(value.value),
        _ if negative => return Err(Problem::new(place, "a sign without a number", HELP)),
        _ => ValueKind::Text,
    };
    Ok(Value { kind, place })
}

fn suffix(suffix: &str, place: Place) -> Parse<()> {
    match suffix {
        "" | "usize" | "u32" | "u64" | "i32" | "i64" | "f32" | "f64" => Ok(()),
        other => Err(Problem::new(
            place,
            format!("a number with the suffix `{other}`"),
            "numbers in a flow need no suffix",
        )),
    }
}

/// `name`, `name(…)`, or `a::constant`.
fn named(input: ParseStream<'_>) -> Parse<Value> {
    const HELP: &str = "write a number, a name, a list `[…]`, or `use Path`";
    if input.peek2(Token![::]) || input.peek(Token![::]) {
        if let Some(path) = path(input) {
            let place = Place::of(&path);
            return Ok(Value { kind: ValueKind::Constant(DimValue::Path(path)), place });
        }
    }
    let Ok(name) = input.call(Ident::parse_any) else {
        return problem(input, format!("expected a value, found {}", found(input)), HELP);
    };
    let place = Place::from(&name);
    let mut call = Call { name, arguments: Vec::new(), place, text: TokenStream::new() };
    if input.peek(token::Paren) {
        let (span, content) = parentheses(input).map_err(explain(GROUP))?;
        call.place = call.place.to(span.close());
        call.arguments = arguments(&content)?;
    }
    let place = call.place;
    Ok(Value { kind: ValueKind::Name(call), place })
}

/// The arguments of one of our own attributes, read by the same grammar.
pub(crate) fn attribute(list: &syn::MetaList) -> Parse<Vec<Argument>> {
    let parser = |input: ParseStream<'_>| Ok(arguments(input));
    parser.parse2(list.tokens.clone()).map_err(explain("attributes of a flow take arguments"))?
}

/// A default of the catalog, as if the user had written it. The catalog's tests parse them all.
pub(crate) fn default_value(text: &str, place: Place) -> Value {
    let parser = |input: ParseStream<'_>| Ok(value(input));
    match parser.parse_str(text) {
        Ok(Ok(value)) => Value { place, ..value },
        _ => Value { kind: ValueKind::Text, place },
    }
}
