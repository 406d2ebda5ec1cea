//! Sizes: numbers where the macro knows them, constant expressions where only rustc does.

use std::fmt;

use proc_macro2::{Literal, TokenStream, TokenTree};
use quote::{quote, ToTokens};
use syn::{BinOp, Expr, Ident, Lit};

use crate::report::Place;

/// Counts, elements and weights beyond this are slips: no tensor of that size fits a machine.
pub(crate) const MOST: u64 = u32::MAX as u64;

#[derive(Clone)]
pub(crate) struct Dim {
    pub(crate) value: Option<u64>,
    tokens: TokenStream,
    /// Mentions a const parameter of the flow, so that stable Rust has no arithmetic on it in types.
    pub(crate) generic: bool,
    pub(crate) place: Place,
}

impl Dim {
    pub(crate) fn number(value: u64, place: Place) -> Self {
        let literal = Literal::u64_unsuffixed(value);
        Self { value: Some(value), tokens: quote!(#literal), generic: false, place }
    }

    pub(crate) fn constant(tokens: TokenStream, parameters: &[Ident], place: Place) -> Self {
        let generic = mentions(&tokens, parameters);
        Self { value: None, tokens, generic, place }
    }

    pub(crate) fn is(&self, value: u64) -> bool {
        self.value == Some(value)
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self.value, other.value) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.tokens.to_string() == other.tokens.to_string(),
            _ => false,
        }
    }

    /// `None` where the product of two known numbers overflows.
    pub(crate) fn times(&self, other: &Self) -> Option<Self> {
        self.combine(other, quote!(*), u64::checked_mul)
    }

    /// Exact division is the caller's to check, or to assert.
    pub(crate) fn over(&self, other: &Self) -> Option<Self> {
        self.combine(other, quote!(/), u64::checked_div)
    }

    /// That `other` is not the larger is the caller's to know.
    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        self.combine(other, quote!(-), u64::checked_sub)
    }

    fn combine(
        &self,
        other: &Self,
        operator: TokenStream,
        numbers: impl Fn(u64, u64) -> Option<u64>,
    ) -> Option<Self> {
        if let (Some(a), Some(b)) = (self.value, other.value) {
            return numbers(a, b).map(|value| Self::number(value, self.place));
        }
        if other.is(1) && matches!(operator.to_string().as_str(), "*" | "/") {
            return Some(self.clone());
        }
        if self.is(1) && operator.to_string() == "*" {
            return Some(other.clone());
        }
        let (a, b) = (self.operand(), other.operand());
        Some(Self {
            value: None,
            tokens: quote!(#a #operator #b),
            generic: self.generic || other.generic,
            place: self.place,
        })
    }

    fn operand(&self) -> TokenStream {
        let tokens = &self.tokens;
        if self.is_atom() {
            quote!(#tokens)
        } else {
            quote!((#tokens))
        }
    }

    fn is_atom(&self) -> bool {
        self.value.is_some() || syn::parse2::<syn::Path>(self.tokens.clone()).is_ok()
    }

    /// As a generic argument: `3`, a parameter `D`, `{ N }`, `{ C * 4 }`.
    pub(crate) fn argument(&self) -> TokenStream {
        let tokens = &self.tokens;
        let parameter = self.generic && tokens.clone().into_iter().count() == 1;
        // Without braces rustc would take a constant that is not there for a type.
        if self.value.is_some() || parameter {
            quote!(#tokens)
        } else {
            quote!({ #tokens })
        }
    }

    /// More than a parameter by itself: what types cannot hold on stable Rust.
    pub(crate) fn is_generic_arithmetic(&self) -> bool {
        self.generic && self.tokens.clone().into_iter().count() > 1
    }

    /// A number of features, parted as couplings part it: ⌊d/2⌋ or ⌈d/2⌉.
    pub(crate) fn half(&self, larger: bool) -> Option<Self> {
        let two = Self::number(2, self.place);
        match (larger, self.value) {
            (false, _) => self.over(&two),
            (true, Some(value)) => Some(Self::number(value.div_ceil(2), self.place)),
            (true, None) => {
                let tokens = quote!(usize::div_ceil(#self, 2));
                Some(Self { tokens, ..self.clone() })
            }
        }
    }

    /// Left to right, with blanks only where Rust writes them.
    pub(crate) fn text(&self) -> String {
        readable(&self.tokens)
    }
}

/// As an expression of type `usize`.
impl ToTokens for Dim {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.tokens.to_tokens(tokens);
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

pub(crate) fn mentions(tokens: &TokenStream, parameters: &[Ident]) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(name) => parameters.contains(&name),
        TokenTree::Group(group) => mentions(&group.stream(), parameters),
        _ => false,
    })
}

/// The value of an expression of literals alone.
pub(crate) fn evaluate(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Paren(inner) => evaluate(&inner.expr),
        Expr::Group(inner) => evaluate(&inner.expr),
        Expr::Binary(binary) => {
            let (a, b) = (evaluate(&binary.left)?, evaluate(&binary.right)?);
            match binary.op {
                BinOp::Add(_) => a.checked_add(b),
                BinOp::Sub(_) => a.checked_sub(b),
                BinOp::Mul(_) => a.checked_mul(b),
                BinOp::Div(_) => a.checked_div(b),
                BinOp::Rem(_) => a.checked_rem(b),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Tokens as a person would write them: no blanks inside calls and paths.
pub(crate) fn readable(tokens: &TokenStream) -> String {
    let mut text = String::new();
    append(tokens, &mut text);
    text.trim_end().to_owned()
}

fn append(tokens: &TokenStream, text: &mut String) {
    use proc_macro2::Delimiter;
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                if text.ends_with(|c: char| c.is_alphanumeric()) && open == "{ " {
                    text.push(' ');
                }
                text.push_str(open);
                append(&group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(mark) => match mark.as_char() {
                ',' => text.push_str(", "),
                '-' if text.is_empty()
                    || text.trim_end().ends_with(['(', '[', '{', ',', '=', '*', '/', '+', '%']) =>
                {
                    text.push('-');
                }
                '-' if mark.spacing() == proc_macro2::Spacing::Joint => text.push_str(" -"),
                '>' if text.ends_with('-') => text.push_str("> "),
                c @ ('=' | '*' | '/' | '+' | '-' | '%')
                    if mark.spacing() == proc_macro2::Spacing::Alone =>
                {
                    text.push(' ');
                    text.push(c);
                    text.push(' ');
                }
                c => text.push(c),
            },
            word => {
                if text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ')') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}
