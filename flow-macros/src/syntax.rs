//! What the user wrote, tokens kept.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Ident, LitInt, Path, Visibility};

use crate::report::Place;

pub(crate) struct Flow {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) parameters: Vec<syn::ConstParam>,
    /// `None` where the header could not be read; the error is reported already.
    pub(crate) event: Option<Event>,
    pub(crate) given: Option<Event>,
    pub(crate) items: Vec<Item>,
    /// Every identifier that stands in the flow.
    pub(crate) words: HashSet<String>,
}

/// `Vector<3>`, `Image<3, 32, 32>`; whether the name is known is not yet decided.
pub(crate) struct Event {
    pub(crate) name: Ident,
    pub(crate) dims: Vec<Dim>,
    pub(crate) place: Place,
}

/// A dimension or a count.
#[derive(Clone)]
pub(crate) struct Dim {
    pub(crate) value: DimValue,
    pub(crate) place: Place,
}

#[derive(Clone)]
pub(crate) enum DimValue {
    Literal(LitInt),
    Negative(LitInt),
    Path(Path),
    Expression(Expr),
}

pub(crate) struct Item {
    pub(crate) label: Option<Ident>,
    pub(crate) kind: ItemKind,
}

pub(crate) enum ItemKind {
    Block(Call),
    Use(UseBlock),
    Repeat { keyword: Ident, count: Dim, items: Vec<Item> },
    Multiscale { keyword: Ident, levels: Dim, arguments: Vec<Argument>, items: Vec<Item> },
}

/// `name(argument, …)`; a bare name has no arguments.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) name: Ident,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) place: Place,
    /// The call as written, for summaries.
    pub(crate) text: TokenStream,
}

/// `use Path(expression, …) -> event`.
pub(crate) struct UseBlock {
    pub(crate) path: Path,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) event: Option<Event>,
    /// The item as written, for summaries.
    pub(crate) text: TokenStream,
}

#[derive(Clone)]
pub(crate) struct Argument {
    pub(crate) name: Option<Ident>,
    pub(crate) value: Value,
}

#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) kind: ValueKind,
    pub(crate) place: Place,
}

#[derive(Clone)]
pub(crate) enum ValueKind {
    /// An integer or a float, its sign included.
    Number {
        text: String,
        integer: bool,
    },
    Bool(bool),
    Text,
    Fraction(LitInt, LitInt),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Name(Call),
    /// A path of several segments, or `{ expression }`: a constant of the user's.
    Constant(DimValue),
    Use(Path),
}

impl Value {
    /// What the user wrote, in words, for "found …".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            ValueKind::Number { text, .. } => format!("`{text}`"),
            ValueKind::Bool(value) => format!("`{value}`"),
            ValueKind::Text => "a text".into(),
            ValueKind::Fraction(a, b) => format!("`{a}/{b}`"),
            ValueKind::List(_) => "a list".into(),
            ValueKind::Tuple(_) => "a tuple".into(),
            ValueKind::Name(call) => format!("`{}`", call.name),
            ValueKind::Constant(_) => "a constant".into(),
            ValueKind::Use(_) => "`use …`".into(),
        }
    }
}
