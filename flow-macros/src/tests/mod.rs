//! Flows as strings through the front end: no rustc involved.
//!
//! A case marks with `«…»` what an error underlines.

mod architecture;
mod arguments;
mod contracts;
mod coverage;
mod emission;
mod grammar;
mod mutation;
mod reference;
mod shapes;
mod slips;

use std::str::FromStr;

use proc_macro2::{LineColumn, TokenStream};

use crate::architecture::Architecture;
use crate::expand::front_end;
use crate::parse;
use crate::report::Problem;

/// One error: its message's first line, its help, and the text that it underlines.
#[track_caller]
fn case(marked: &str, message: &str, help: &str) {
    cases(marked, &[(message, help)]);
}

/// Several errors, in the order of what they underline.
#[track_caller]
fn cases(marked: &str, expected: &[(&str, &str)]) {
    assert_eq!(expected.len(), marked.matches('«').count(), "a mark for each error: {marked}");
    check(marked, expected);
}

fn check(marked: &str, expected: &[(&str, &str)]) {
    let text = marked.replace(['«', '»'], "");
    let (_, problems) = analyse(&text);
    let mut found: Vec<((usize, usize), &Problem)> =
        problems.iter().map(|problem| (underlined(&text, problem), problem)).collect();
    found.sort_by_key(|(range, _)| *range);
    let seen = mark(&text, found.iter().map(|(range, _)| *range));
    let report: String =
        problems.iter().map(|p| format!("\n    {:?}\n    {:?}", p.message, p.help)).collect();
    assert_eq!(seen, marked, "underlined text; the errors are:{report}");
    for ((_, problem), (message, help)) in found.iter().zip(expected) {
        let first = problem.message.lines().next().unwrap_or_default();
        let whole = if message.contains('\n') { problem.message.as_str() } else { first };
        assert_eq!((whole, problem.help.as_str()), (*message, *help), "in {marked}");
        assert_form(problem);
    }
}

/// Lower case, no full stop, help where there is any.
fn assert_form(problem: &Problem) {
    for line in problem.text().lines() {
        let line = line.trim_start_matches("help: ").trim_start_matches("note: ");
        assert!(!line.starts_with(char::is_uppercase), "upper case: {line}");
        assert!(!line.ends_with('.'), "full stop: {line}");
        assert!(!line.is_empty(), "an empty line: {}", problem.text());
    }
}

fn analyse(text: &str) -> (Vec<Architecture>, Vec<Problem>) {
    let tokens = TokenStream::from_str(text).expect("tokens");
    let mut flows = Vec::new();
    let mut problems = Vec::new();
    for parsed in parse::flows(tokens) {
        let (flow, errors) = front_end(parsed);
        flows.extend(flow);
        problems.extend(errors);
    }
    (flows, problems)
}

/// A flow without errors.
#[track_caller]
fn valid(text: &str) -> Architecture {
    let (mut flows, problems) = analyse(text);
    let texts: Vec<String> = problems.iter().map(Problem::text).collect();
    assert!(texts.is_empty(), "{text}\n{}", texts.join("\n"));
    flows.pop().expect("a flow")
}

/// The range of characters that an error underlines.
fn underlined(text: &str, problem: &Problem) -> (usize, usize) {
    let offset = |at: LineColumn| {
        let before: usize = text.lines().take(at.line - 1).map(|l| l.chars().count() + 1).sum();
        before + at.column
    };
    (offset(problem.place.start.start()), offset(problem.place.end.end()))
}

fn mark(text: &str, ranges: impl Iterator<Item = (usize, usize)>) -> String {
    let ranges: Vec<_> = ranges.collect();
    let mut marked = String::new();
    for (index, letter) in text.chars().chain(['\n']).enumerate() {
        marked.extend(ranges.iter().filter(|range| range.1 == index).map(|_| '»'));
        marked.extend(ranges.iter().filter(|range| range.0 == index).map(|_| '«'));
        marked.push(letter);
    }
    marked.pop();
    marked
}
