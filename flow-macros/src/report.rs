//! The error collector, and the hints that errors carry.

use std::cell::{Cell, RefCell};

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote_spanned, ToTokens};

/// The tokens that an error underlines: from the first to the last.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: Span,
    pub(crate) end: Span,
}

impl Place {
    pub(crate) fn of(tokens: &impl ToTokens) -> Self {
        let tokens: Vec<TokenTree> = tokens.to_token_stream().into_iter().collect();
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => Self { start: first_span(first), end: last_span(last) },
            _ => Span::call_site().into(),
        }
    }

    pub(crate) fn to(self, end: impl Into<Self>) -> Self {
        Self { start: self.start, end: end.into().end }
    }
}

fn first_span(token: &TokenTree) -> Span {
    match token {
        TokenTree::Group(group) => group.span_open(),
        other => other.span(),
    }
}

fn last_span(token: &TokenTree) -> Span {
    match token {
        TokenTree::Group(group) => group.span_close(),
        other => other.span(),
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self { start: span, end: span }
    }
}

impl From<&syn::Ident> for Place {
    fn from(name: &syn::Ident) -> Self {
        name.span().into()
    }
}

/// One error: what was found and what decided it, then what to write instead.
pub(crate) struct Problem {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(
        place: impl Into<Place>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), message: message.into(), help: help.into() }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\nhelp: {}", self.message, self.help)
    }
}

impl ToTokens for Problem {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        // rustc underlines an invocation from its first token to its last.
        let (start, end) = (self.place.start, self.place.end);
        let text = syn::LitStr::new(&self.text(), end);
        let path = quote_spanned!(start=> ::core::compile_error!);
        let body = quote_spanned!(end=> { #text });
        tokens.extend(path);
        tokens.extend(body);
    }
}

/// Collects the errors of one flow. Dropping it without [`Report::finish`] is a bug of ours, and
/// panics, so that no error can be forgotten.
pub(crate) struct Report {
    problems: RefCell<Vec<Problem>>,
    looked_at: Cell<bool>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { problems: RefCell::new(Vec::new()), looked_at: Cell::new(false) }
    }

    /// Every error says what to do about it: there is no variant without `help`.
    pub(crate) fn error(
        &self,
        place: impl Into<Place>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Problem::new(place, message, help));
    }

    pub(crate) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    pub(crate) fn finish(self) -> Vec<Problem> {
        self.looked_at.set(true);
        self.problems.take()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.looked_at.get() && !std::thread::panicking() {
            panic!("the errors of a flow were never looked at");
        }
    }
}

/// `did you mean …?`, or the whole list where nothing is near.
pub(crate) fn suggest(found: &str, kind: &str, known: &[&str]) -> String {
    match nearest(found, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let conjunction = if kind.ends_with("are") { "and" } else { "or" };
            format!("{kind} {}", list(known, conjunction))
        }
    }
}

/// The known name closest to `found`, where it is close enough to be a slip.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase();
    let (distance, name) = known.iter().map(|name| (distance(&found, name), *name)).min()?;
    (distance <= (found.chars().count().max(name.len()) / 3).max(1)).then_some(name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn list(names: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}
