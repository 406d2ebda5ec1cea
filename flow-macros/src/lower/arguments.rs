//! Arguments of a call against the rows of the catalog.

use syn::Ident;

use super::header::{bounded, number};
use crate::architecture::{Arguments, Choice, Given, Net, NetKind, Resolved};
use crate::catalog::{self, Argument, Default, Kind, Numbers, Variant};
use crate::dim::Dim;
use crate::report::{list, suggest, Place, Report};
use crate::syntax::{self, DimValue, Value, ValueKind};

pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    /// Of the name, where missing arguments are reported.
    pub(super) place: Place,
    pub(super) given: &'a [syntax::Argument],
}

/// What resolving needs to know of its surroundings.
struct Context<'a> {
    parameters: &'a [Ident],
    report: &'a Report,
}

/// All errors of the call are reported; `None` where there was one.
pub(super) fn resolve(
    call: &Call<'_>,
    rows: &'static [Argument],
    parameters: &[Ident],
    report: &Report,
) -> Option<Arguments> {
    Context { parameters, report }.call(call, rows)
}

impl Context<'_> {
    fn call(&self, call: &Call<'_>, rows: &'static [Argument]) -> Option<Arguments> {
        let mut values: Vec<Option<&Value>> = rows.iter().map(|_| None).collect();
        let named = self.named(call, rows, &mut values);
        let positional = self.positional(call, rows, &mut values);
        let (Some(()), Some(())) = (named, positional) else { return None };
        let mut complete = true;
        let mut resolved = Vec::new();
        let scale = rows.iter().position(|row| row.name == "scale").and_then(|at| values[at]);
        let scale = scale.map(|value| value.place);
        for (row, value) in rows.iter().zip(values) {
            match self.one(call, row, value) {
                Ok(Some(given)) => resolved.push((row, given)),
                Ok(None) => {}
                Err(Reported) => complete = false,
            }
        }
        let arguments = Arguments(resolved);
        (complete && self.agree(call, &arguments, scale)).then_some(arguments)
    }

    fn named<'v>(
        &self,
        call: &Call<'v>,
        rows: &[Argument],
        values: &mut [Option<&'v Value>],
    ) -> Option<()> {
        let mut complete = Some(());
        for argument in call.given {
            let Some(name) = &argument.name else { continue };
            let found = name.to_string();
            match rows.iter().position(|row| row.name == found) {
                Some(index) if values[index].is_none() => values[index] = Some(&argument.value),
                Some(_) => {
                    let message = format!("`{found}` is given twice");
                    self.report.error(name, message, "leave one of them out");
                    complete = None;
                }
                None => {
                    let known: Vec<&str> = rows.iter().map(|row| row.name).collect();
                    let help = if known.is_empty() {
                        format!("`{}` takes no arguments", call.name)
                    } else {
                        suggest(&found, "its arguments are", &known)
                    };
                    let message = format!("`{}` has no argument `{found}`", call.name);
                    self.report.error(name, message, help);
                    complete = None;
                }
            }
        }
        complete
    }

    /// Positional arguments fill, in order, the rows that no name has filled. One that fits another
    /// row alone stands in the wrong place.
    fn positional<'v>(
        &self,
        call: &Call<'v>,
        rows: &[Argument],
        values: &mut [Option<&'v Value>],
    ) -> Option<()> {
        for argument in call.given.iter().filter(|argument| argument.name.is_none()) {
            let value = &argument.value;
            let free = (0..rows.len()).find(|&i| rows[i].positional && values[i].is_none());
            let meant = || rows.iter().find(|row| row.kind.suits(value));
            let (message, help) = match free {
                Some(index) => match meant().filter(|_| !rows[index].kind.suits(value)) {
                    Some(row) => {
                        let (name, found) = (rows[index].name, value.describe());
                        let message =
                            format!("`{}` takes its `{name}` here, found {found}", call.name);
                        (message, misplaced_help(call, rows, row, value))
                    }
                    None => {
                        values[index] = Some(value);
                        continue;
                    }
                },
                None => {
                    let message = format!("`{}` has no place for {}", call.name, value.describe());
                    let open = rows.iter().zip(&*values).filter(|(_, value)| value.is_none());
                    let open: Vec<&Argument> = open.map(|(row, _)| row).collect();
                    let meant = open.iter().find(|row| row.kind.suits(value));
                    let help = match meant {
                        Some(row) => misplaced_help(call, rows, row, value),
                        None => surplus_help(call, rows, &open),
                    };
                    (message, help)
                }
            };
            self.report.error(value.place, message, help);
            return None;
        }
        Some(())
    }

    fn one(
        &self,
        call: &Call<'_>,
        row: &'static Argument,
        value: Option<&Value>,
    ) -> Result<Option<Given>, Reported> {
        if let Some(value) = value {
            let resolved = self.value(row, value).ok_or(Reported)?;
            return Ok(Some(Given { value: resolved, place: value.place }));
        }
        match row.default {
            Default::Optional => Ok(None),
            Default::Value(text) => {
                let value = crate::parse::default_value(text, call.place);
                let resolved = self.value(row, &value).ok_or(Reported)?;
                Ok(Some(Given { value: resolved, place: call.place }))
            }
            Default::Required => {
                let message = format!("`{}` without its `{}`", call.name, row.name);
                self.report.error(call.place, message, missing_help(row));
                Err(Reported)
            }
        }
    }

    fn value(&self, row: &'static Argument, value: &Value) -> Option<Resolved> {
        match &row.kind {
            Kind::Count(least) => self.count(row, *least, value).map(Resolved::Count),
            Kind::Counts(least) => self.counts(row, *least, value).map(Resolved::Counts),
            Kind::Seed => match &value.kind {
                ValueKind::Number { text, integer: true } => match text.parse() {
                    Ok(seed) => Some(Resolved::Seed(seed)),
                    Err(_) => self.mismatch(row, value),
                },
                _ => self.mismatch(row, value),
            },
            Kind::Real(numbers) => self.real(row, *numbers, value).map(Resolved::Real),
            Kind::Pair(numbers) => match &value.kind {
                ValueKind::Tuple(values) if values.len() == 2 => {
                    let low = self.real(row, *numbers, &values[0])?;
                    let high = self.real(row, *numbers, &values[1])?;
                    self.ordered(row.name, low, high, value.place)?;
                    Some(Resolved::Pair(low, high))
                }
                _ => self.mismatch(row, value),
            },
            Kind::Bool => match value.kind {
                ValueKind::Bool(flag) => Some(Resolved::Flag(flag)),
                _ => self.mismatch(row, value),
            },
            Kind::Fraction => self.fraction(row, value),
            Kind::OneOf(variants) => self.choice(row, variants, value).map(Resolved::Choice),
            Kind::Net => self.net(row, value).map(Resolved::Net),
        }
    }

    fn mismatch<T>(&self, row: &Argument, value: &Value) -> Option<T> {
        let message = format!("`{}` cannot be {}", row.name, value.describe());
        self.report.error(value.place, message, format!("it takes {}", row.kind.describe()));
        None
    }

    fn count(&self, row: &Argument, least: u64, value: &Value) -> Option<Dim> {
        let what = format!("`{}`", row.name);
        match &value.kind {
            ValueKind::Number { text, integer: true } if !text.starts_with('-') => {
                let count = bounded(text, &what, value.place, self.report)?;
                if count < least {
                    return self.mismatch(row, value);
                }
                Some(Dim::number(count, value.place))
            }
            ValueKind::Constant(constant) => {
                let dim = syntax::Dim { value: constant.clone(), place: value.place };
                let count = number(&dim, &what, self.parameters, self.report)?;
                match count.value {
                    Some(known) if known < least => self.mismatch(row, value),
                    _ => Some(count),
                }
            }
            // Constants are upper case, names of the language are lower case.
            ValueKind::Name(call) if is_constant(call) => {
                let path = DimValue::Path(call.name.clone().into());
                let dim = syntax::Dim { value: path, place: value.place };
                number(&dim, &what, self.parameters, self.report)
            }
            _ => self.mismatch(row, value),
        }
    }

    fn counts(&self, row: &Argument, least: usize, value: &Value) -> Option<Vec<Dim>> {
        let ValueKind::List(values) = &value.kind else { return self.mismatch(row, value) };
        if values.len() < least {
            let message = format!("`{}` is empty", row.name);
            self.report.error(value.place, message, format!("it takes {}", row.kind.describe()));
            return None;
        }
        const ENTRY: Kind = Kind::Count(1);
        let entry = Argument { name: row.name, kind: ENTRY, ..Argument::required("", ENTRY) };
        // Every wrong entry is reported, not the first alone.
        let counts: Vec<Option<Dim>> = values.iter().map(|v| self.count(&entry, 1, v)).collect();
        counts.into_iter().collect()
    }

    fn real(&self, row: &Argument, numbers: Numbers, value: &Value) -> Option<f64> {
        let ValueKind::Number { text, .. } = &value.kind else {
            return self.mismatch(row, value);
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && numbers.contain(number) => Some(number),
            _ => self.mismatch(row, value),
        }
    }

    fn fraction(&self, row: &Argument, value: &Value) -> Option<Resolved> {
        let ValueKind::Fraction(top, bottom) = &value.kind else {
            return self.mismatch(row, value);
        };
        let (top_text, bottom_text) = (top.base10_digits(), bottom.base10_digits());
        let top = bounded(top_text, "a numerator", value.place, self.report)?;
        let bottom = bounded(bottom_text, "a denominator", value.place, self.report)?;
        if top == 0 || top >= bottom {
            let message = format!("`{}` of {top}/{bottom} is no part of a whole", row.name);
            self.report.error(value.place, message, "write a fraction between 0 and 1, as `1/2`");
            return None;
        }
        Some(Resolved::Fraction(top, bottom))
    }

    fn choice(
        &self,
        row: &Argument,
        variants: &'static [Variant],
        value: &Value,
    ) -> Option<Choice> {
        let ValueKind::Name(call) = &value.kind else { return self.mismatch(row, value) };
        let found = call.name.to_string();
        let Some(variant) = variants.iter().find(|variant| variant.name == found) else {
            let known: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
            let help = match found.as_str() {
                "silu" if known.contains(&"swish") => "here it is called `swish`".into(),
                _ => suggest(&found, "it is one of", &known),
            };
            self.report.error(&call.name, format!("unknown {} `{found}`", row.name), help);
            return None;
        };
        let inner = Call { name: variant.name, place: (&call.name).into(), given: &call.arguments };
        let arguments = self.call(&inner, variant.arguments)?;
        Some(Choice { name: variant.name, arguments })
    }

    fn net(&self, row: &Argument, value: &Value) -> Option<Net> {
        let call = match &value.kind {
            ValueKind::Use(path) => {
                return Some(Net { kind: NetKind::Use(path.clone()), place: value.place })
            }
            ValueKind::Name(call) => call,
            _ => return self.mismatch(row, value),
        };
        let found = call.name.to_string();
        let Some(net) = catalog::find_net(&found) else {
            let known: Vec<&str> = catalog::NETS.iter().map(|net| net.name).collect();
            let help = if is_constant(call) {
                format!("a module of your own is written `net = use {found}`")
            } else {
                suggest(&found, "the nets are", &known)
            };
            self.report.error(&call.name, format!("unknown net `{found}`"), help);
            return None;
        };
        let inner = Call { name: net.name, place: (&call.name).into(), given: &call.arguments };
        let arguments = self.call(&inner, net.arguments)?;
        Some(Net { kind: NetKind::BuiltIn { row: net, arguments }, place: (&call.name).into() })
    }

    /// What two arguments must satisfy together; `scale` is where one is written.
    fn agree(&self, call: &Call<'_>, arguments: &Arguments, scale: Option<Place>) -> bool {
        match call.name {
            "masked_autoregressive" | "inverse_autoregressive" => {
                self.scales_what_it_can(arguments, scale)
            }
            "sigmoid" if arguments.get("low").is_some() => {
                let (low, high) = (arguments.real("low"), arguments.real("high"));
                let place = arguments.get("low").map_or(call.place, |given| given.place);
                self.ordered("sigmoid", low, high, place).is_some()
            }
            "spline_activation" => self.starts_within(arguments),
            "spline" | "spline_coupling" => self.room_for_bins(arguments),
            _ => true,
        }
    }

    /// A scale is one of affine maps.
    fn scales_what_it_can(&self, arguments: &Arguments, scale: Option<Place>) -> bool {
        let transform = arguments.choice("transform").name;
        let Some(place) = scale.filter(|_| transform != "affine") else { return true };
        let message = format!("`scale` beside `{transform}`");
        let help = "leave it out: a spline scales by its slopes; `affine` takes a `scale`";
        self.report.error(place, message, help);
        false
    }

    /// A spline's slope at the start is one of those it can have.
    fn starts_within(&self, arguments: &Arguments) -> bool {
        let Some(given) = arguments.get("beta") else { return true };
        let Some(Resolved::Pair(low, high)) = arguments.get("slopes").map(|slopes| &slopes.value)
        else {
            return true;
        };
        let beta = arguments.real("beta");
        if (*low..=*high).contains(&beta) {
            return true;
        }
        let message = format!("`beta` of {beta} is not between the `slopes` {low} and {high}");
        let help = "the spline starts as the line of slope `beta`: move it or the limits";
        self.report.error(given.place, message, help);
        false
    }

    /// Each bin of a coupling's spline takes a thousandth of the whole at least.
    fn room_for_bins(&self, arguments: &Arguments) -> bool {
        let bins = arguments.count("bins");
        if bins.value.is_none_or(|bins| bins < 1000) {
            return true;
        }
        let message = format!("a spline of {bins} bins");
        self.report.error(bins.place, message, "a spline has at most 999 bins; 8 are usual");
        false
    }

    fn ordered(&self, name: &str, low: f64, high: f64, place: Place) -> Option<()> {
        if low < high {
            return Some(());
        }
        let message = format!("`{name}` from {low} to {high} is empty");
        self.report.error(
            place,
            message,
            "the lower limit comes first, and is less than the upper",
        );
        None
    }
}

/// An error that is in the report already.
struct Reported;

fn is_constant(call: &syntax::Call) -> bool {
    call.arguments.is_empty() && call.name.to_string().starts_with(|c: char| c.is_uppercase())
}

/// Of a value that no argument is left for by its place; `open` are those that have none yet.
fn surplus_help(call: &Call<'_>, rows: &[Argument], open: &[&Argument]) -> String {
    let names = |rows: &[&Argument]| {
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        list(&names, "and")
    };
    match (rows, open) {
        ([], _) => format!("`{}` takes no arguments", call.name),
        (_, []) => format!("leave it out: all arguments of `{}` are given", call.name),
        (_, [one]) => format!("leave it out; `{}` can also be given its `{}`", call.name, one.name),
        _ => format!("name the one you mean: {} are not given yet", names(open)),
    }
}

/// Of a value that belongs to another row than its place says.
fn misplaced_help(call: &Call<'_>, rows: &[Argument], row: &Argument, value: &Value) -> String {
    if !row.positional {
        let written = match &value.kind {
            ValueKind::Name(inner) if !inner.arguments.is_empty() => format!("{}(…)", inner.name),
            _ => value.describe().replace('`', ""),
        };
        return format!("name it: `{} = {written}`", row.name);
    }
    let order: Vec<&str> = rows.iter().filter(|row| row.positional).map(|row| row.name).collect();
    format!("that is its `{}`: the order is `{}({})`", row.name, call.name, order.join(", "))
}

fn missing_help(row: &Argument) -> String {
    match row.kind {
        Kind::Net => "write `net = mlp([128, 128], swish)`".into(),
        _ => format!("`{}` is {}", row.name, row.kind.describe()),
    }
}
